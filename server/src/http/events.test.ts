import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { EventReader, asker } from '../../support/http.ts'
import { served } from '../../support/served.ts'
import { until } from '../../support/until.ts'
import { Access } from '../authorize.ts'
import { openBackend } from '../backends/open-backend.ts'
import { noCounts } from '../socket/counters.ts'
import { HttpApi } from './api.ts'

async function started(...options: Parameters<typeof served>) {
  const server = await served(...options)
  const events = (id: string, headers = {}) => EventReader.open(`${server.url}/v1/contexts/${id}/events`, headers)
  return { ...server, events, ask: asker(server.url) }
}
const idOf = ({ version, revision }: { version: number; revision: string }): string => `${version}-${revision}`

test('a stream begins with everything, and goes on with every commit', async () => {
  const { contexts, events } = await started()
  const first = (await contexts.set('a', { n: 1 })).context
  const stream = await events('a')
  expect([stream.status, stream.headers.get('content-type'), stream.headers.get('cache-control')]).toEqual([
    200,
    'text/event-stream; charset=utf-8',
    'no-cache',
  ])
  expect(await stream.next()).toEqual({ id: idOf(first), data: { type: 'full_context', context: first } })
  for (let n = 2; n <= 30; n += 1) {
    const { context } = await contexts.set('a', { n })
    expect(await stream.next()).toMatchObject({
      id: idOf(context),
      data: { type: 'delta', delta: { version: n, changes: [{ path: ['n'], action: 'modified', value: n, oldValue: n - 1 }] } },
    })
  }
})

test('who comes back with the last id gets what was missed, as one delta', async () => {
  const { contexts, events } = await started()
  const first = (await contexts.set('a', { n: 1 })).context
  const before = await events('a')
  await before.next()
  before.close()
  await contexts.set('a', { n: 2 })
  const third = (await contexts.update('a', { m: 1 })).context
  const stream = await events('a', { 'last-event-id': idOf(first) })
  expect(await stream.next()).toMatchObject({ id: idOf(third), data: { type: 'delta', delta: { baseVersion: 1, version: 3 } } })
  const again = await events('a', { 'last-event-id': idOf(third) })
  expect(await again.next()).toEqual({ id: idOf(third), data: { type: 'no_change', version: 3, revision: third.revision } })
  const lost = await events('a', { 'last-event-id': '2-elsewhere' })
  expect(await lost.next()).toMatchObject({ data: { type: 'full_context', context: { version: 3 } } })
  const asked = await EventReader.open(`${(await started({}, {})).url}/v1/contexts/none/events?since=1-x`)
  expect(asked.status).toBe(404)
})

test.each(['x', '1', '-1-a', '1-a b'])('Last-Event-ID %j is refused', async (id) => {
  const { contexts, events } = await started()
  await contexts.set('a', {})
  expect((await events('a', { 'last-event-id': id })).status).toBe(400)
})

/** Nothing is told by the beacon. */
const noBeacon = { beaconMs: 3_600_000 }

test('commits of one batch are events of their own', async () => {
  const { contexts, events } = await started({}, {}, noBeacon)
  await contexts.set('a', { n: 0 })
  const stream = await events('a')
  await stream.next()
  await Promise.all(Array.from({ length: 20 }, () => contexts.apply('a', [{ type: 'increment', path: ['n'], by: 1 }])))
  for (let version = 2; version <= 21; version += 1) {
    expect(await stream.next()).toMatchObject({ data: { type: 'delta', delta: { baseVersion: version - 1, version } } })
  }
})

test('a stream of what is absent is not found, and a delete ends it', async () => {
  const { contexts, events } = await started({}, {}, noBeacon)
  expect((await events('a')).status).toBe(404)
  await contexts.set('a', { n: 1 })
  const stream = await events('a')
  await stream.next()
  await contexts.delete('a')
  expect(await stream.next()).toEqual({ event: 'error', data: { code: 'not_found', message: 'There is no context a.' } })
  expect(await stream.next()).toBe(null)
})

test('who comes back to a context that was created anew gets the whole of it', async () => {
  const { contexts, events } = await started()
  const old = (await contexts.set('a', { n: 1 })).context
  await contexts.delete('a')
  await contexts.set('a', { n: 2 })
  const stream = await events('a', { 'last-event-id': idOf(old) })
  expect(await stream.next()).toMatchObject({ data: { type: 'full_context', context: { version: 1, state: { n: 2 } } } })
})

test('commits of another process are told', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'contextd-events-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = path.join(folder, 'x.db')
  const here = await started({}, { backend: openBackend(`sqlite:${file}`) })
  const there = await started({}, { backend: openBackend(`sqlite:${file}`) })
  await here.contexts.set('a', { n: 1 })
  const stream = await here.events('a')
  await stream.next()
  await there.contexts.set('a', { n: 2 })
  expect(await stream.next()).toMatchObject({ data: { type: 'delta', delta: { version: 2 } } })
})

test('a caller that does not read is not waited for: what it missed comes as one piece, and memory stays bounded', async () => {
  const { contexts, url } = await started({ limits: { socketBufferBytes: 65_536 } }, {}, noBeacon)
  await contexts.set('a', { n: 0, text: '' })
  const { hostname, port } = new URL(url)
  const socket = connectSocket(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  socket.write('GET /v1/contexts/a/events HTTP/1.1\r\nhost: localhost\r\n\r\n')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await until(() => text.includes('full_context'))
  socket.pause()
  for (let n = 1; n <= 200; n += 1) await contexts.set('a', { n, text: String(n % 10).repeat(100_000) })
  socket.resume()
  await until(() => text.includes('"version":201'))
  // 200 states of 100 kB, old and new, would be 40 MB; what fits in the buffers of the system was sent, and then one answer.
  expect(text.length).toBeLessThan(20_000_000)
  expect((text.match(/"type":"(delta|full_context)"/g) ?? []).length).toBeLessThan(200)
})

test('who is revoked is sent away, and comes back as nobody', async () => {
  const revoked = new Set<string>()
  const { contexts, url, server } = await started({
    authenticate: ({ auth }) => ({ id: auth.token! }),
    authorize: ({ user, contextId }) => !revoked.has(`${user?.id} ${contextId}`),
  })
  await contexts.set('a', { n: 1 })
  await contexts.set('b', { n: 1 })
  const open = (id: string, who: string) => EventReader.open(`${url}/v1/contexts/${id}/events`, { authorization: `Bearer ${who}` })
  const [ada, bob, other] = await Promise.all([open('a', 'ada'), open('a', 'bob'), open('b', 'ada')])
  for (const stream of [ada, bob, other]) await stream.next()
  revoked.add('ada a')
  await server.revoke('ada', 'a')
  expect(await ada.next()).toMatchObject({ retry: expect.stringMatching(/^\d+$/) })
  expect(await ada.next()).toBe(null)
  expect((await open('a', 'ada')).status).toBe(403)
  await contexts.set('a', { n: 2 })
  await contexts.set('b', { n: 2 })
  expect(await bob.next()).toMatchObject({ data: { delta: { version: 2 } } })
  expect(await other.next()).toMatchObject({ data: { delta: { version: 2 } } })
  await server.revoke('ada')
  expect(await other.next()).toHaveProperty('retry')
})

test('a stream ends with the login', async () => {
  const { contexts, url } = await started({ authenticate: () => ({ id: 'ada', expiresAt: Date.now() + 150 }) })
  await contexts.set('a', { n: 1 })
  const stream = await EventReader.open(`${url}/v1/contexts/a/events`)
  await stream.next()
  expect(await stream.next()).toHaveProperty('retry')
  expect(await stream.next()).toBe(null)
})

test('streams are counted by address, and one that ends makes room', async () => {
  const { contexts, events, ask } = await started({ limits: { socketsPerAddress: 2 } })
  await contexts.set('a', { n: 1 })
  const [first] = await Promise.all([events('a'), events('a')])
  const refused = await events('a')
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '5'])
  expect((await ask('GET', 'contexts/a')).status).toBe(200)
  first.close()
  await until(async () => (await events('a')).status === 200)
})

function promised<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let settle: (value: T) => void
  const promise = new Promise<T>((resolve) => (settle = resolve))
  return { promise, resolve: (value) => settle(value) }
}

test('a server that closes sends its streams away, answers what is under way, and takes nothing new', async () => {
  const asked = promised<void>()
  const permitted = promised<boolean>()
  const { contexts, events, ask, server } = await started({
    authorize: ({ action }) => {
      if (action === 'read') return true
      asked.resolve()
      return permitted.promise
    },
  })
  await contexts.set('a', { n: 1 })
  const stream = await events('a')
  await stream.next()
  const write = ask('PUT', 'contexts/a', { body: { n: 2 } })
  await asked.promise
  const closing = server.close({ drainMs: 10_000 })
  expect(await stream.next()).toHaveProperty('retry')
  expect(await stream.next()).toBe(null)
  permitted.resolve(true)
  expect(await write).toMatchObject({ status: 200, body: { context: { version: 2 } } })
  await closing
  await expect(ask('GET', 'contexts/a')).rejects.toThrow('fetch failed')
})

/** A server of nothing but the API, with a timing of its own. */
async function timed(streamTiming: { heartbeatMs: number; patienceMs: number }) {
  const { engine, contexts } = await served()
  const limits = { ...engine.limits, socketBufferBytes: 1_000 }
  const options = { limits, access: new Access(undefined), authenticate: undefined, origins: [], anonymous: false, counts: noCounts() }
  const api = new HttpApi(engine, { ...options, streamTiming })
  const http = createServer((request, response) => void api.handle(request, response)).listen(0, '127.0.0.1')
  await new Promise((resolve) => http.once('listening', resolve))
  onTestFinished(() => {
    http.close()
    http.closeAllConnections()
  })
  return { contexts, api, http, port: (http.address() as { port: number }).port }
}

test('a stream without news shows that it is there', async () => {
  const { contexts, port } = await timed({ heartbeatMs: 5, patienceMs: 60_000 })
  await contexts.set('a', { n: 1 })
  const stream = await EventReader.open(`http://127.0.0.1:${port}/v1/contexts/a/events`)
  await stream.next()
  const told = stream.next()
  await until(() => stream.comments >= 3)
  await contexts.set('a', { n: 2 })
  expect(await told).toMatchObject({ data: { delta: { version: 2 } } })
})

test('a caller that never reads on is cut off', async () => {
  const { contexts, api, http, port } = await timed({ heartbeatMs: 60_000, patienceMs: 50 })
  await contexts.set('a', { text: 'x'.repeat(4_000_000) })
  const gone = new Promise((resolve) => http.once('connection', (socket) => socket.once('close', () => resolve('gone'))))
  const caller = connectSocket(port, '127.0.0.1').pause()
  onTestFinished(() => void caller.destroy())
  // What comes before fills the buffers of the system.
  for (let n = 0; n < 6; n += 1) caller.write('GET /v1/contexts/a HTTP/1.1\r\nhost: localhost\r\n\r\n')
  caller.write('GET /v1/contexts/a/events HTTP/1.1\r\nhost: localhost\r\n\r\n')
  expect(await gone).toBe('gone')
  await api.drain()
})
