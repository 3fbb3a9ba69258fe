import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { playwrightCounts, vitestCounts } from './results.mjs'
import { has, root, run } from './shell.mjs'

const results = path.join(root, '.results')
const at = (...parts) => path.join(root, ...parts)

/** Installs the dependencies, unless the ones there come from this lockfile and this Node. */
export function install() {
  const stampFile = at('node_modules/.install-stamp')
  const stamp = createHash('sha256')
    .update(readFileSync(at('pnpm-lock.yaml')))
    .update(process.version)
    .digest('hex')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return true
  const { packageManager } = JSON.parse(readFileSync(at('package.json'), 'utf8'))
  // CI: a node_modules of another Node or lockfile is replaced without a question.
  const installed = run('npx', ['--yes', packageManager, 'install', '--frozen-lockfile'], { CI: 'true' })
  if (installed) writeFileSync(stampFile, stamp)
  return installed
}

/** Puts the system packages in place that the tests drive: a real Redis, a real S3 server and a real browser. */
export function systemPackages() {
  // Each has a program of its own name in it. openssl makes the certificates of the tests.
  const missing = ['redis-server', 'curl', 'openssl', 'ceph-mon', 'ceph-osd', 'radosgw'].filter((name) => !has(name))
  if (!process.env.CHROMIUM_PATH && !has('chromium')) missing.push('chromium')
  if (missing.length === 0) return true
  if (process.getuid?.() !== 0 || !has('apt-get')) {
    console.error(`Missing for the tests: sudo apt-get install ${missing.join(' ')}`)
    return false
  }
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
  return run('apt-get', ['-q', 'update'], quiet) && run('apt-get', ['-q', 'install', '-y', '--no-install-recommends', ...missing], quiet)
}

export const compile = () => run('tsc', ['-b'])
export const buildBrowser = () => run('node', ['client/scripts/build-browser.mjs'])
export const buildBoard = () => run('vite', ['build', 'examples/board'])
export const buildBench = () => run('node', ['bench/scripts/build.mjs'])
export const build = () => compile() && buildBrowser() && buildBoard() && buildBench()

export const types = () => run('tsc', ['--noEmit', '-p', 'tsconfig.check.json'])
export const lint = () => run('oxlint', ['--type-aware', '--deny-warnings'])
export const formatCheck = () => run('oxfmt', ['--check', '.'])
export const format = () => run('oxfmt', ['.'])

/** Runs vitest, on all its projects or on the files whose path has one of `filters` in it. Returns `{ passed, failed }`. */
export function unitTests(filters = []) {
  const file = freshResult('vitest.json')
  const ok = run('vitest', ['run', '--passWithNoTests', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...filters])
  return vitestCounts(file, ok)
}

/** Runs Playwright over `e2e/tests`. Returns `{ passed, failed }`. */
export function browserTests() {
  const file = freshResult('playwright.json')
  const ok = run('playwright', ['test', '-c', 'e2e/playwright.config.ts', '--pass-with-no-tests'])
  return playwrightCounts(file, ok)
}

// A report left over from the last run must not speak for a run that wrote none.
function freshResult(name) {
  mkdirSync(results, { recursive: true })
  const file = path.join(results, name)
  rmSync(file, { force: true })
  return file
}
