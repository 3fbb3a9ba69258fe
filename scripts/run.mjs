import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { root } from './shell.mjs'
import * as steps from './steps.mjs'

const libraries = ['protocol/src/', 'server/src/', 'client/src/', 'react/src/']

const commands = {
  start: () => orFail(steps.install() && steps.build()) && spawnNode(['examples/start.mjs', ...rest]),
  test,
  check,
  build: () => orFail(steps.install() && steps.build()),
  types: () => orFail(steps.install() && steps.compile() && steps.types()),
  lint: () => orFail(steps.install() && steps.lint()),
  format: () => orFail(steps.install() && steps.format()),
  sim: () => orFail(steps.install() && steps.buildBench()) && spawnNode(['bench/dist/sim.js', ...rest]),
  bench: () => orFail(steps.install() && steps.build()) && spawnNode(['bench/dist/bench.js', ...rest]),
}

/** Everything there is to prove, ending with the line `N passed, N failed`. */
function test() {
  if (!steps.install()) return close([failure('install')])
  if (!steps.systemPackages()) return orFail(false)
  const built = steps.build()
  const tallies = [step('build', built), ...statics(), steps.unitTests()]
  // The browser tests run on what was built: without it they could only tell about an older build.
  if (built) tallies.push(steps.browserTests())
  else console.error('browser tests not run: the build failed')
  return close(tallies)
}

/** The part of `test` for between two edits: no browser, no bundles. */
function check() {
  if (!steps.install()) return close([failure('install')])
  return close([step('build', steps.compile()), ...statics(), steps.unitTests(libraries)])
}

const statics = () => [step('types', steps.types()), step('lint', steps.lint()), step('format', steps.formatCheck())]
const step = (name, ok) => (ok ? { passed: 0, failed: 0 } : failure(name))

function failure(name) {
  console.error(`${name} failed`)
  return { name, passed: 0, failed: 1 }
}

function close(tallies) {
  const sum = (key) => tallies.reduce((total, tally) => total + tally[key], 0)
  const broken = tallies.flatMap(({ name }) => name ?? [])
  if (broken.length > 0) console.error(`\nfailed steps: ${broken.join(', ')}`)
  console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`)
  return orFail(sum('failed') === 0)
}

function orFail(ok) {
  if (!ok) process.exitCode = 1
  return ok
}

/** Hands over to another Node process: its output, its exit code, and the signals meant for it. */
function spawnNode(args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the child as well; a second one could mean "now, at once" to it.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  }
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

const [name, ...rest] = process.argv.slice(2)
if (!Object.hasOwn(commands, name ?? '')) {
  console.error(`usage: node scripts/run.mjs ${Object.keys(commands).join('|')}`)
  process.exit(2)
}
commands[name]()
