import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { defaultLimits } from '@contextd/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { served } from '../../support/served.ts'
import { serveFlags } from './options.ts'
import { verbs } from './verbs.ts'

const guide = readFileSync(new URL('../../../docs/guides/server.md', import.meta.url), 'utf8')
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

test('every command of the guide does what it says, on a server that asks for tokens', async () => {
  const commands = [...guide.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block!)
  expect(commands.length).toBeGreaterThan(6)
  const { url, contexts } = await served({ authenticate: ({ auth }) => (auth.token === 'let-me-in' ? { id: 'ada' } : null) })
  const folder = mkdtempSync(path.join(tmpdir(), 'contextd-guide-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const script = `
    curl() { command curl -sS --fail-with-body "$@"; }
    contextd() { '${process.execPath}' '${main}' "$@"; }
    export -f curl
    ${commands.join('\n').replaceAll('timeout 1 curl', 'timeout 1 curl -sS').replaceAll('http://127.0.0.1:4000', url)}`
  const env = { ...process.env, TOKEN: 'let-me-in', CONTEXTD_TOKEN: 'let-me-in', CONTEXTD_URL: url }
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder, env })
  for (const told of ['"version":1', 'etag: "1-', '"type":"full_context"', '"deltas":[', 'board:1 is at version 2', 'board:2 is deleted']) {
    expect(stdout).toContain(told)
  }
  expect(await contexts.get('board:1')).toMatchObject({ state: { title: 'Plan', votes: 2 }, updatedBy: { userId: 'ada' } })
  expect(await contexts.get('board:2')).toBe(null)
})

test('the guide knows every limit, verb and flag', () => {
  for (const name of Object.keys(defaultLimits)) expect(guide).toContain(`| \`${name}\` |`)
  for (const name of Object.keys(verbs)) expect(guide).toMatch(new RegExp(`^\\|.*\`${name}\\b.*\\|`, 'm'))
  const flags = Object.keys(serveFlags).filter((name) => name !== 'help')
  for (const name of flags) expect(guide).toContain(`\`--${name}\``)
})
