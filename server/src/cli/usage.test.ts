import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runCli } from '../../support/cli.ts'
import { served } from '../../support/served.ts'
import { verbs } from './verbs.ts'

test.each([
  [['gte', 'a'], /^contextd: unknown command: gte; did you mean get\?/],
  [['dance'], /^contextd: unknown command: dance\n/],
  [['constructor'], /^contextd: unknown command: constructor\n/],
  [['get'], /^contextd: get needs ID\n/],
  [['get', 'a', 'b'], /^contextd: unexpected argument: b\n/],
  [['set', 'a', '{}', 'x'], /unexpected argument: x/],
  [['set', 'a', 'text'], /the state is no JSON/],
  [['set', 'a', '[]'], /the state is no JSON object/],
  [['update', 'a', '1'], /the patch is no JSON object/],
  [['get', 'a', '--jsno'], /Unknown option '--jsno'; did you mean --json\?/],
  [['get', 'a', '--port', '1'], /Unknown option '--port'/],
  [['get', 'a', '--version', '0'], /--version: 0 is no whole number of at least 1/],
  [['get', 'a', '--url'], /--url/],
  [['get', 'a', '--url', 'localhost:4000'], /--url: localhost:4000 is no address/],
  [['get', 'a', '--url', 'http://x', '--store', 'memory:'], /--url and --store exclude each other/],
  [['get', 'a', '--store', 'http://x'], /a server is named with --url/],
  [['get', 'a', '--store', 'mongodb://user:s3cret@host'], /memory:, sqlite:FILE/],
  [['list', '--limit', '0'], /--limit/],
  [['list', '--limit', '10001'], /--limit: at most 10000/],
  [['list', '--order', 'up'], /--order: up is neither asc nor desc/],
  [['list', 'x'], /unexpected argument: x/],
  [['export', 'a', '--prefix', 'b'], /give either an id or --prefix/],
  [['restore'], /say with --from/],
  [['set', 'a', '{}', '--if-version', '-1'], /--if-version/],
  [['--config', '/nowhere/contextd.json', 'get', 'a'], /--config: .* cannot be read: ENOENT/],
])('%j is misuse', async (args, message) => {
  const { code, out, err } = await runCli(args, { env: { CONTEXTD_URL: 'http://127.0.0.1:1' } })
  expect([code, out]).toEqual([2, ''])
  expect(err).toMatch(message)
  expect(err).not.toContain('s3cret')
  expect(err).not.toMatch(/^\s+at /m)
})

test.each(Object.keys(verbs))('%s has a usage, with every flag', async (verb) => {
  const { code, out, err } = await runCli([verb, '--help'])
  expect([code, err]).toEqual([0, ''])
  for (const flag of Object.keys(verbs[verb]!.flags)) expect(out).toContain(`--${flag}`)
})

test('the usage names every verb, and flags may come before the verb', async () => {
  const { out } = await runCli(['--help'])
  for (const verb of Object.keys(verbs)) expect(out).toContain(`  ${verb}`)
  const { url, contexts } = await served()
  await contexts.set('a', { n: 1 })
  expect(await runCli(['--url', url, '--json', 'get', 'a'])).toMatchObject({ code: 0, out: expect.stringContaining('"n":1') })
})

/** A file of options. */
function config(value: unknown): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'contextd-config-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'contextd.json')
  writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value))
  return file
}

test('a file says what the line does not, and may say more than a verb needs', async () => {
  const { url, contexts } = await served({ authenticate: ({ auth }) => ({ id: auth.token ?? 'nobody' }) })
  const file = config({ url, token: 'ada', port: 4000, limit: { depth: 8 }, cors: ['https://a.example'], anonymous: true })
  expect(await runCli(['set', 'a', '{}', '--config', file])).toMatchObject({ code: 0 })
  expect(await contexts.get('a')).toMatchObject({ updatedBy: { userId: 'ada' } })
  await runCli(['set', 'a', '{"n":1}', '--config', file, '--token', 'bob'])
  expect(await contexts.get('a')).toMatchObject({ updatedBy: { userId: 'bob' } })
  // One place on the line takes the place of another one in the file.
  expect(await runCli(['list', '--json', '--config', file, '--store', 'memory:'])).toMatchObject({ code: 0, out: '[]\n' })
})

test.each([
  ['{', /is no JSON/],
  ['[]', /holds no object/],
  [{ prot: 1 }, /there is no option prot; did you mean port\?/],
  [{ config: 'x' }, /there is no option config/],
  [{ __proto__x: 1 }, /there is no option/],
  [{ anonymous: 'yes' }, /anonymous must be true or false/],
  [{ url: true }, /url must be a text or a number/],
  [{ cors: [1, {}] }, /cors must be a text or a number/],
])('the file %j is refused', async (value, message) => {
  const { code, err } = await runCli(['list', '--config', config(value)])
  expect(code).toBe(2)
  expect(err).toMatch(message)
})
