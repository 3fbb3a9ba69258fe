import { execFile, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DatabaseSync } from '@photostructure/sqlite'
import { createContexts } from 'contextd'
import { sqliteBackend } from 'contextd/backends/sqlite'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startServer } from '../support/child.ts'
import type { ServerProcess } from '../support/child.ts'

const main = fileURLToPath(new URL('../../server/dist/cli/main.js', import.meta.url))
const appending = fileURLToPath(new URL('children/append.mjs', import.meta.url))

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'contextd-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function serving(file: string): Promise<ServerProcess> {
  const server = await startServer(`sqlite:${file}`)
  onTestFinished(() => server.stop())
  return server
}

/** Asks the server; the status, and what it says. */
async function ask(server: ServerProcess, method: string, path: string, body?: unknown): Promise<[number, { [name: string]: unknown }]> {
  const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  const response = await fetch(`${server.url}${path}`, { method, ...sent, signal: AbortSignal.timeout(20_000) })
  return [response.status, JSON.parse(await response.text().then((text) => (text.startsWith('{') ? text : '{}'))) as never]
}

/** What a command prints on a store that it cannot use, and how it ends. */
const runOn = (store: string): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, 'get', 'a', '--store', store], { timeout: 20_000 }, (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), output: out + err }),
    )
  })

test('F5, G4: a disk that takes no more holds commits whole, while reads go on; once it does, they are stored', async () => {
  const file = join(temporaryFolder(), 'contexts.db')
  const server = await serving(file)
  expect((await ask(server, 'PUT', '/v1/contexts/a', { n: 1 }))[0]).toBe(201)
  // As a quota does: the kernel refuses each write of the process.
  const limit = (bytes: string): unknown => execFileSync('prlimit', ['--pid', String(server.pid), `--fsize=${bytes}:`])
  limit('0')
  for (const id of ['a', 'b']) {
    const [status, problem] = await ask(server, 'PUT', `/v1/contexts/${id}`, { n: 2 })
    expect([status, problem['code']]).toEqual([503, 'backend_unavailable'])
    expect(problem['detail']).toMatch(/Nothing was written/)
  }
  expect(await ask(server, 'GET', '/v1/contexts/a')).toMatchObject([200, { version: 1, state: { n: 1 } }])
  expect((await ask(server, 'GET', '/v1/contexts/b'))[0]).toBe(404)
  limit('unlimited')
  expect(await ask(server, 'PUT', '/v1/contexts/a', { n: 3 })).toMatchObject([200, { context: { version: 2 } }])
  await server.crash()
  await server.restart()
  expect(await ask(server, 'GET', '/v1/contexts/a')).toMatchObject([200, { version: 2, state: { n: 3 } }])
})

test('F12, G4: a server whose file is moved away takes no commit and is not ready, until the file is back', async () => {
  const file = join(temporaryFolder(), 'contexts.db')
  const server = await serving(file)
  expect((await ask(server, 'PUT', '/v1/contexts/a', { n: 1 }))[0]).toBe(201)
  renameSync(file, `${file}.away`)
  const [status, problem] = await ask(server, 'PUT', '/v1/contexts/a', { n: 2 })
  expect([status, problem['code']]).toEqual([503, 'backend_unavailable'])
  expect(problem['detail']).toMatch(/removed or replaced/)
  const isReady = async (wanted: number): Promise<boolean> => (await ask(server, 'GET', '/readyz'))[0] === wanted
  // What it last found counts for a moment.
  await vi.waitUntil(() => isReady(503), { timeout: 10_000 })
  // No other is made in its place.
  expect(existsSync(file)).toBe(false)
  renameSync(`${file}.away`, file)
  expect(await ask(server, 'PUT', '/v1/contexts/a', { n: 2 })).toMatchObject([200, { context: { version: 2 } }])
  await vi.waitUntil(() => isReady(200), { timeout: 10_000 })
})

test('F1, G3: processes that are killed while they commit to one file: what was acknowledged is there once, what was not once or not at all', async () => {
  const file = join(temporaryFolder(), 'contexts.db')
  const setUp = createContexts({ backend: sqliteBackend(file) })
  await setUp.set('list', { list: [] })
  const acknowledged = new Map<string, number>()
  const crash = async (name: string): Promise<void> => {
    const child = fork(appending, [`sqlite:${file}`, 'list', name, '4'], { execArgv: [] })
    child.on('message', (message) => {
      const [writer, n] = message as [number, number]
      acknowledged.set(`${name}-${writer}`, n)
    })
    const ended = once(child, 'exit')
    await Promise.race([once(child, 'message'), ended])
    setTimeout(() => child.kill('SIGKILL'), Math.random() * 40)
    expect(await ended).toEqual([null, 'SIGKILL'])
    // What it sent before is told until then.
    if (child.connected) await once(child, 'disconnect')
  }
  for (const pair of ['a', 'b', 'c']) await Promise.all([crash(`${pair}1`), crash(`${pair}2`)])
  await setUp.close()
  // What the last ones wrote ahead is found by the next to open it.
  const contexts = createContexts({ backend: sqliteBackend(file) })
  onTestFinished(() => contexts.close())
  const { state, version } = (await contexts.get('list')) as unknown as { state: { list: string[] }; version: number }
  expect(version).toBe(state.list.length + 1)
  expect(new Set(state.list).size).toBe(state.list.length)
  for (const [writer, last] of acknowledged) {
    const numbers = state.list.filter((item) => item.startsWith(`${writer}-`)).map((item) => Number(item.split('-')[2]))
    expect(numbers).toEqual(numbers.map((_, n) => n))
    expect([last + 1, last + 2]).toContain(numbers.length)
  }
  expect(new Set([...acknowledged.keys()].map((writer) => writer.split('-')[0])).size).toBe(6)
})

test('F33: a file that cannot be used is one clear line of the command, and is left as it is', async () => {
  const folder = temporaryFolder()
  const make = (name: string, set: (database: InstanceType<typeof DatabaseSync>) => void): string => {
    const database = new DatabaseSync(join(folder, name))
    set(database)
    database.close()
    return name
  }
  const damaged = make('damaged.db', (database) => database.exec('CREATE TABLE contextd (schema INTEGER)'))
  writeFileSync(join(folder, damaged), readFileSync(join(folder, damaged)).fill(0xa5, 100, 4_096))
  writeFileSync(join(folder, 'text.db'), 'no database '.repeat(400))
  const cases = [
    [damaged, /damaged\.db is damaged\. Restore it from a copy, or use another file/],
    ['text.db', /text\.db is not an SQLite database\. Use another file/],
    [
      make('foreign.db', (database) => database.exec('CREATE TABLE notes (text)')),
      /foreign\.db belongs to another program\. Use another file/,
    ],
    [
      make('newer.db', (database) => database.exec('CREATE TABLE contextd (schema INTEGER); INSERT INTO contextd VALUES (2)')),
      /newer\.db was written by a newer contextd \(schema 2, this one knows 1\)\. Update contextd/,
    ],
  ] as const
  const refused = async ([name, line]: (typeof cases)[number]): Promise<void> => {
    const before = readFileSync(join(folder, name))
    const { code, output } = await runOn(`sqlite:${join(folder, name)}`)
    expect([name, code]).toEqual([name, 1])
    expect(output).toMatch(line)
    expect(output).toMatch(/^contextd: .*\n$/)
    expect(readFileSync(join(folder, name)).equals(before)).toBe(true)
  }
  await Promise.all(cases.map(refused))
})
