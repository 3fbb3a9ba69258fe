import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { runCli } from '../../support/cli.ts'
import type { Around, Ran } from '../../support/cli.ts'
import { served } from '../../support/served.ts'
import { openBackend } from '../backends/open-backend.ts'
import { createContexts } from '../contexts/contexts.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'contextd-verbs-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
const fileOf = (name: string): string => path.join(folder, `${(files += 1)}-${name}`)

interface Place {
  /** Runs a command on this place. */
  readonly cli: (args: readonly string[], around?: Around) => Promise<Ran>
  /** The engine on the same store. */
  readonly contexts: ReturnType<typeof createContexts>
}

/** A store in a file, opened by the command itself; the test looks in from beside. */
async function store(): Promise<Place> {
  const url = `sqlite:${fileOf('x.db')}`
  const contexts = createContexts({ backend: openBackend(url) })
  onTestFinished(() => contexts.close())
  return { contexts, cli: (args, around) => runCli([...args, '--store', url], around) }
}

/** A server on a store in a file. */
async function server(): Promise<Place> {
  const { url, contexts } = await served({}, { backend: openBackend(`sqlite:${fileOf('x.db')}`) })
  return { contexts: contexts as Place['contexts'], cli: (args, around) => runCli([...args, '--url', url], around) }
}

const lines = (text: string): unknown[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)

describe.each([
  ['--store', store],
  ['--url', server],
])('%s', (_where, place) => {
  test('set, get, update and delete, for people and for programs', async () => {
    const { cli, contexts } = await place()
    expect(await cli(['set', 'a', '{"n":1,"tags":["x"]}'])).toEqual({ code: 0, out: 'a is at version 1  created\n', err: '' })
    expect(await cli(['set', 'a', '{"n":1,"tags":["x"]}'])).toMatchObject({ out: 'a is at version 1  nothing changed\n' })
    expect(await cli(['update', 'a', '{"n":2,"tags":null,"m":{"k":1}}'])).toMatchObject({ code: 0, out: 'a is at version 2  3 changes\n' })
    expect(await cli(['get', 'a'])).toEqual({ code: 0, out: '{\n  "n": 2,\n  "m": {\n    "k": 1\n  }\n}\n', err: '' })
    const { out } = await cli(['get', 'a', '--json'])
    expect(lines(out)).toEqual([await contexts.get('a')])
    expect(lines((await cli(['get', 'a', '--json', '--version', '1'])).out)).toMatchObject([{ version: 1, state: { n: 1 } }])
    expect(lines((await cli(['update', 'a', '{"n":3}', '--json'])).out)).toMatchObject([
      { context: { version: 3 }, delta: { changes: [{ path: ['n'], action: 'modified', value: 3, oldValue: 2 }] } },
    ])
    expect(await cli(['delete', 'a', '--json'])).toMatchObject({ code: 0, out: '{"contextId":"a","deleted":true}\n' })
    expect(await contexts.get('a')).toBe(null)
    expect(await cli(['delete', 'a'])).toMatchObject({ code: 0, out: 'a is deleted\n' })
  })

  test('what fails is one line on standard error, and 1', async () => {
    const { cli } = await place()
    expect(await cli(['get', 'a'])).toEqual({ code: 1, out: '', err: 'contextd: There is no context a.\n' })
    expect(await cli(['update', 'a', '{}'])).toMatchObject({ code: 1, out: '' })
    expect(await cli(['get', 'a b'])).toMatchObject({ code: 1, err: expect.stringContaining('is not a context id') })
    expect(await cli(['history', 'a'])).toMatchObject({ code: 1 })
    expect(await cli(['watch', 'a'])).toMatchObject({ code: 1, err: 'contextd: There is no context a.\n' })
    expect(await cli(['export', 'a'])).toMatchObject({ code: 1, out: '' })
    expect(await cli(['restore', 'a'])).toMatchObject({ code: 1, out: '' })
    expect(await cli(['set', 'a', '{"__proto__":{"x":1}}'])).toMatchObject({ code: expect.any(Number) as number, out: '' })
  })

  test('a state of megabytes comes in on standard input', async () => {
    const { cli, contexts } = await place()
    const state = { text: 'ä'.repeat(1_500_000) }
    expect(await cli(['set', 'a', '-'], { input: JSON.stringify(state) })).toMatchObject({ code: 0 })
    expect((await contexts.get('a'))!.state).toEqual(state)
    expect(await cli(['update', 'a'], { input: '{"text":null}' })).toMatchObject({ code: 0, out: 'a is at version 2  1 change\n' })
    for (const input of ['', '[]', '{', 'null']) expect(await cli(['set', 'a', '-'], { input })).toMatchObject({ code: 2, out: '' })
    expect(await cli(['set', 'a'])).toMatchObject({ code: 2, err: expect.stringContaining('the state is missing') })
    expect((await contexts.get('a'))!.version).toBe(2)
  })

  test('conditions: a write on another version fails, and changes nothing', async () => {
    const { cli, contexts } = await place()
    expect(await cli(['set', 'a', '{"n":1}', '--if-version', '0'])).toMatchObject({ code: 0 })
    expect(await cli(['set', 'a', '{"n":2}', '--if-version', '0'])).toMatchObject({ code: 1, out: '' })
    const { revision } = (await contexts.get('a'))!
    expect(await cli(['update', 'a', '{"n":2}', '--if-revision', '-not-this'])).toMatchObject({ code: 1, out: '' })
    expect(await cli(['update', 'a', '{"n":2}', '--if-version', '1', '--if-revision', revision])).toMatchObject({ code: 0 })
    expect(await cli(['delete', 'a', '--if-revision', revision])).toMatchObject({ code: 1 })
    expect(await contexts.get('a')).toMatchObject({ version: 2 })
    expect(await cli(['delete', 'a', '--if-version', '2'])).toMatchObject({ code: 0 })
  })

  test('list and history: tables and lines for people, one value for programs', async () => {
    const { cli, contexts } = await place()
    expect(await cli(['list'])).toEqual({ code: 0, out: '', err: 'no contexts\n' })
    expect(await cli(['list', '--json'])).toEqual({ code: 0, out: '[]\n', err: '' })
    for (const id of ['board:1', 'board:long-name', 'chat:1']) await contexts.set(id, { n: 1 })
    await contexts.update('board:1', { n: 2, m: 'x' })
    const { out } = await cli(['list', '--prefix', 'board:'])
    expect(out.split('\n').map((line) => line.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'TIME'))).toEqual([
      'context          version  changed              created',
      'board:1                2  TIME  TIME',
      'board:long-name        1  TIME  TIME',
      '',
    ])
    expect(await cli(['list', '--limit', '1'])).toMatchObject({ err: 'there may be more: --offset 1\n' })
    const [listed] = lines((await cli(['list', '--json', '--order', 'desc', '--limit', '2', '--offset', '1'])).out) as [
      { contextId: string }[],
    ]
    expect(listed.map(({ contextId }) => contextId)).toEqual(['board:long-name', 'board:1'])
    const history = await cli(['history', 'board:1'])
    expect(history.out.replaceAll(/\d{4}-\S+ \S+/g, 'TIME')).toBe(
      'version 2  TIME  server\n  ~ n  1 → 2\n  + m  "x"\nversion 1  TIME  server\n  + n  1\n',
    )
    expect(lines((await cli(['history', 'board:1', '--limit', '1', '--json'])).out)).toMatchObject([[{ version: 2 }]])
  })

  test('watch prints what is there and every commit, until it is deleted', async () => {
    const { cli, contexts } = await place()
    await contexts.set('a', { n: 1 })
    const waiting: { readonly text: string; readonly resolve: () => void }[] = []
    const has = (text: string): Promise<void> => new Promise((resolve) => waiting.push({ text, resolve }))
    const onOut = (out: string): void => {
      for (const { text, resolve } of waiting) if (out.includes(text)) resolve()
    }
    const first = has('"full_context"')
    const watching = cli(['watch', 'a', '--json'], { onOut })
    await first
    const second = has('"version":2')
    await contexts.update('a', { n: 2 })
    await second
    const third = has('"version":3')
    await contexts.update('a', { n: 3 })
    await third
    await contexts.delete('a')
    const { code, out, err } = await watching
    expect([code, err]).toEqual([0, 'contextd: a was deleted\n'])
    expect(lines(out)).toMatchObject([
      { type: 'full_context', context: { version: 1, state: { n: 1 } } },
      { type: 'delta', delta: { version: 2, changes: [{ path: ['n'], value: 2 }] } },
      { type: 'delta', delta: { version: 3 } },
    ])
  })

  test('watch for people, ended by them, is no failure', async () => {
    const { cli, contexts } = await place()
    await contexts.set('a', { n: 1 })
    const controller = new AbortController()
    const { code, out, err } = await cli(['watch', 'a'], {
      signal: controller.signal,
      onOut: (text) => {
        if (text.includes('1 → 2')) controller.abort()
        else if (text.includes('"n": 1')) void contexts.update('a', { n: 2 })
      },
    })
    expect([code, err]).toEqual([0, ''])
    expect(out.replaceAll(/\d{4}-\S+ \S+/g, 'TIME')).toBe('version 1  TIME\n{\n  "n": 1\n}\nversion 2  TIME  server\n  ~ n  1 → 2\n')
  })

  test('export and restore: to a file and back, all of them, some, one', async () => {
    const { cli, contexts } = await place()
    for (let n = 1; n <= 25; n += 1) await contexts.set(`${n % 2 ? 'odd' : 'even'}:${n}`, { n })
    await contexts.update('odd:1', { m: 1 })
    const file = fileOf('all.ndjson')
    expect(await cli(['export', '--to', file])).toEqual({ code: 0, out: '', err: 'exported 25 contexts\n' })
    const before = (await contexts.get('odd:1'))!
    expect(lines(readFileSync(file, 'utf8'))).toHaveLength(25)
    expect(lines((await cli(['export', '--prefix', 'even:'])).out)).toHaveLength(12)
    expect(lines((await cli(['export', 'odd:1'])).out)).toMatchObject([{ ...before, streams: expect.any(Object) as object }])

    for (const { contextId } of await contexts.list()) await contexts.delete(contextId)
    expect(await cli(['restore', 'odd:3', '--from', file])).toEqual({ code: 0, out: '', err: 'restored 1 context\n' })
    expect(await contexts.list()).toHaveLength(1)
    expect(await cli(['restore', '--from', '-'], { input: readFileSync(file, 'utf8') })).toMatchObject({
      code: 0,
      err: 'restored 25 contexts\n',
    })
    const after = (await contexts.get('odd:1'))!
    expect(after).toMatchObject({ version: 2, incarnation: before.incarnation, state: { n: 1, m: 1 }, createdAt: before.createdAt })
    expect(await contexts.list()).toHaveLength(25)
    expect(await cli(['restore', 'none', '--from', file])).toMatchObject({ code: 1, err: expect.stringContaining('has no context none') })
  })

  test('export into another store, and restore from it', async () => {
    const { cli, contexts } = await place()
    for (const n of [1, 2, 3]) await contexts.set(`c:${n}`, { n })
    const other = `sqlite:${fileOf('other.db')}`
    expect(await cli(['export', '--to', other])).toMatchObject({ code: 0, err: 'exported 3 contexts\n' })
    expect(lines((await runCli(['list', '--json', '--store', other])).out)[0]).toMatchObject([
      { contextId: 'c:1' },
      { contextId: 'c:2' },
      { contextId: 'c:3' },
    ])
    await contexts.set('c:2', { n: 'overwritten' })
    expect(await cli(['restore', 'c:2', '--from', other])).toMatchObject({ code: 0, err: 'restored 1 context\n' })
    expect(await contexts.get('c:2')).toMatchObject({ version: 1, state: { n: 2 } })
    expect(await cli(['restore', '--from', other])).toMatchObject({ code: 0, err: 'restored 3 contexts\n' })
  })

  test('a damaged file stops where it is damaged, and says how far it came', async () => {
    const { cli, contexts } = await place()
    const good = '{"contextId":"a","version":3,"state":{"n":1}}'
    for (const [bad, why] of [
      ['{"contextId":', 'line 2 is no JSON'],
      ['[]', 'line 2 is no exported context'],
      ['{"contextId":"b","version":0,"state":{}}', 'line 2 (b): '],
      ['{"contextId":"b","version":1,"state":[]}', 'line 2 (b): '],
      ['{"contextId":"b b","version":1,"state":{}}', 'line 2 (b b): '],
    ] as const) {
      const file = fileOf('bad.ndjson')
      writeFileSync(file, `${good}\n${bad}\n`)
      const { code, out, err } = await cli(['restore', '--from', file])
      expect([code, out]).toEqual([1, ''])
      expect(err).toContain(why)
      expect(err.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
    }
    expect(await contexts.get('a')).toMatchObject({ version: 3, state: { n: 1 } })
    expect(await contexts.get('b')).toBe(null)
  })

  test('cleanup says how much went', async () => {
    const { cli } = await place()
    expect(await cli(['cleanup', '--json'])).toEqual({ code: 0, out: '{"contexts":0,"deltas":0}\n', err: '' })
    expect(await cli(['cleanup'])).toMatchObject({ code: 0, out: '0 contexts expired, 0 deltas pruned\n' })
  })
})

test('cleanup of a store expires contexts of an age', async () => {
  const { cli, contexts } = await store()
  await contexts.set('a', { n: 1 })
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(await cli(['cleanup', '--context-ttl-ms', '1', '--json'])).toMatchObject({ code: 0, out: expect.stringContaining('"contexts":1') })
  expect(lines((await cli(['list', '--json'])).out)).toEqual([[]])
})

test('a token goes with every request, from the line or the environment', async () => {
  const { url, contexts } = await served({ authenticate: ({ auth }) => (auth.token === 'let-me-in' ? { id: 'ada' } : null) })
  expect(await runCli(['set', 'a', '{}', '--url', url])).toMatchObject({
    code: 1,
    err: expect.stringContaining('does not know who this is'),
  })
  expect(await runCli(['set', 'a', '{}', '--url', url, '--token', 'let-me-in'])).toMatchObject({ code: 0 })
  expect(await runCli(['get', 'a'], { env: { CONTEXTD_URL: url, CONTEXTD_TOKEN: 'let-me-in' } })).toMatchObject({ code: 0, out: '{}\n' })
  expect(await contexts.get('a')).toMatchObject({ updatedBy: { userId: 'ada' } })
})

test('colours and bars on a terminal, none elsewhere or where nobody wants them', async () => {
  const { url, contexts } = await served()
  await contexts.set('a', { n: 1, text: 'x', ok: true })
  const seen = async (around: Around): Promise<string> => (await runCli(['get', 'a', '--url', url], around)).out
  const coloured = await seen({ tty: true })
  expect(coloured).toContain('\u001b[36m"n"\u001b[39m: \u001b[33m1\u001b[39m')
  expect(coloured).toContain('\u001b[1ma\u001b[22m  version 1')
  expect(await seen({ tty: true, env: { NO_COLOR: '1' } })).not.toContain('\u001b')
  expect(await seen({ tty: true, env: { TERM: 'dumb' } })).not.toContain('\u001b')
  expect(await seen({})).not.toContain('\u001b')
  expect(await seen({ env: { FORCE_COLOR: '1' } })).toContain('\u001b[36m')
  const exported = await runCli(['export', '--to', fileOf('x.ndjson'), '--url', url], { tty: true, env: { NO_COLOR: '1' } })
  const bar = `\r${'█'.repeat(24)} 100 %  exported 1  N/s\u001b[K`
  expect(exported.err.replace(/[\d,]+\/s/, 'N/s')).toBe(`${bar}\r\u001b[Kexported 1 context\n`)
})

test('what a state says is no command to the terminal', async () => {
  const { url, contexts } = await served()
  await contexts.set('a', { 'k\u001b[2J': '\u001b]0;title\u0007\u009b31m\u202e' })
  for (const verb of ['get', 'history']) {
    // oxlint-disable-next-line no-control-regex
    expect((await runCli([verb, 'a', '--url', url])).out).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/)
  }
})

test('a server that is not there is said so', async () => {
  const { code, out, err } = await runCli(['get', 'a', '--url', 'http://127.0.0.1:1'])
  expect([code, out]).toEqual([1, ''])
  expect(err).toMatch(/^contextd: No server answers at http:\/\/127\.0\.0\.1:1\. .*\n$/)
})

test('a store is no place for its own contexts', async () => {
  const url = `sqlite:${fileOf('own.db')}`
  const cli = (...args: string[]): Promise<Ran> => runCli([...args, '--store', url])
  expect(await cli('set', 'a', '{}')).toMatchObject({ code: 0 })
  for (const args of [
    ['export', '--to', url],
    ['restore', '--from', url],
  ]) {
    expect(await cli(...args)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/^contextd: --\w+: that is where the contexts are/),
    })
  }
})

test('a file that cannot be written or read is misuse, and a broken export leaves none', async () => {
  const { cli, contexts } = await store()
  await contexts.set('a', { n: 1 })
  expect(await cli(['export', '--to', path.join(folder, 'no/such/file')])).toMatchObject({
    code: 2,
    err: expect.stringContaining('ENOENT'),
  })
  expect(await cli(['restore', '--from', path.join(folder, 'nothing')])).toMatchObject({ code: 2, err: expect.stringContaining('ENOENT') })
  expect(await cli(['restore', '--from', folder])).toMatchObject({ code: 2, err: expect.stringContaining('is a folder') })
  const file = fileOf('none.ndjson')
  expect(await cli(['export', 'none', '--to', file])).toMatchObject({ code: 1 })
  expect(() => readFileSync(file)).toThrow('ENOENT')
  expect(() => readFileSync(`${file}.part`)).toThrow('ENOENT')
})
