import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isContextdError } from '@contextd/protocol'
import type { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { io as connectSocket } from 'socket.io-client'
import type { Socket as ClientSocket } from 'socket.io-client'
import { expect, onTestFinished, test } from 'vitest'
import { FaultyProxy } from '../../../support/faulty-proxy.ts'
import { opened, redisFor } from '../../../support/redis-store.ts'
import { turn, until } from '../../../support/until.ts'
import { batchOf, contextId, store } from '../../testing/contract/kit.ts'
import { noHead } from '../backend.ts'
import type { ContextBackend } from '../backend.ts'
import type { StorePublishing } from '../publishing.ts'
import { namesOf } from './keys.ts'
import { RedisBackend } from './redis.ts'

const names = namesOf('contextd', 'contextd')
const channel = names.channel(contextId)
const publishingOf = (backend: ContextBackend): StorePublishing => backend.publishing as StorePublishing

/** A Socket.IO server on a backend's adapter; a client joins the room of a context by `join`, and is answered when the subscription is confirmed. */
async function nodeOf(backend: ContextBackend): Promise<{ io: Server; client: () => Promise<Client> }> {
  const { sockets } = publishingOf(backend)
  const http = createServer()
  const io = new Server(http, { adapter: sockets.adapter() as never, transports: ['websocket'], serveClient: false })
  io.on('connection', (socket) => {
    socket.on('join', async (id: string, done: () => void) => {
      await socket.join(sockets.room(id))
      await sockets.confirm(id)
      done()
    })
    socket.on('leave', (id: string) => socket.leave(sockets.room(id)))
  })
  await once(http.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => io.close())
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  return { io, client: () => clientOf(url) }
}

interface Client {
  readonly socket: ClientSocket
  /** What has come, in order. */
  readonly got: unknown[]
}

/** A client that has joined the room of the context. */
async function clientOf(url: string): Promise<Client> {
  const socket = connectSocket(url, { transports: ['websocket'], forceNew: true })
  onTestFinished(() => void socket.disconnect())
  const got: unknown[] = []
  socket.on('d', (frame) => got.push(frame))
  await socket.emitWithAck('join', contextId)
  return { socket, got }
}

const frame = (value: unknown): string => JSON.stringify(['d', value])

/** Commits what others have not; returns when it is stored. */
async function commit(backend: ContextBackend, value: unknown): Promise<void> {
  let [base] = await backend.heads([contextId])
  for (;;) {
    const result = await backend.commit(batchOf({ base: base!, message: frame(value) }))
    if (result.type === 'committed') return
    base = result.type === 'conflict' ? result.head : noHead
  }
}

/** Waits until a value that is committed now comes to a client: the ones before it have come by then, or never will. */
async function settled(backend: ContextBackend, ...clients: Client[]): Promise<void> {
  const last = `last ${Math.random()}`
  await commit(backend, last)
  await until(() => clients.every(({ got }) => got.at(-1) === last))
  for (const { got } of clients) got.pop()
}

const subscribers = async (admin: Redis): Promise<number> => Number(((await admin.call('PUBSUB', 'SHARDNUMSUB', channel)) as unknown[])[1])

test('G1, G2: commits of two nodes come to the sockets of both, each once, all in the order of their versions', async () => {
  const { server } = await redisFor()
  const backends = await Promise.all([opened(server.url), opened(server.url)])
  const nodes = await Promise.all(backends.map(nodeOf))
  const clients = await Promise.all(nodes.flatMap(({ client }) => [client(), client()]))
  const odd = ['é\u2028😀', '__proto__', { ['__proto__']: 1e21, a: [] }, '}}}', -0.1]
  const writers = backends.flatMap((backend, node) =>
    [0, 1].map(async (writer) => {
      for (let count = 0; count < 50; count += 1) await commit(backend, [node, writer, count, odd[count % odd.length]])
    }),
  )
  await Promise.all(writers)
  await settled(backends[0]!, ...clients)
  expect(clients[0]!.got).toHaveLength(200)
  for (const { got } of clients) expect(got).toEqual(clients[0]!.got)
  for (const writer of ['0,0', '0,1', '1,0', '1,1']) {
    const own = clients[0]!.got.filter((value) => String((value as unknown[]).slice(0, 2)) === writer)
    expect(own).toEqual(Array.from({ length: 50 }, (_, count) => [...writer.split(',').map(Number), count, odd[count % odd.length]]))
  }
})

test('a join that is confirmed misses nothing, from the first commit after it', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const writer = await opened(server.url)
  const node = await nodeOf(backend)
  for (let round = 0; round < 20; round += 1) {
    const { socket, got } = await node.client()
    expect(await subscribers(admin)).toBe(1)
    await commit(writer, round)
    await until(() => got.length === 1)
    socket.disconnect()
    await until(async () => (await subscribers(admin)) === 0)
  }
})

test('a subscription is confirmed by Redis, not before', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const publishing = publishingOf(backend)
  const { sockets } = publishing
  publishing.subscribe('warm', () => {})
  await sockets.confirm('warm')
  server.freeze()
  publishing.subscribe(contextId, () => {})
  const confirming = sockets.confirm(contextId).then(() => 'confirmed')
  const turns = (async () => {
    for (let count = 0; count < 2_000; count += 1) await turn()
    return 'not yet'
  })()
  expect(await Promise.race([confirming, turns])).toBe('not yet')
  server.thaw()
  expect(await confirming).toBe('confirmed')
})

test('a node listens to the channel of a context once, for as long as a room or a listener needs it', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const node = await nodeOf(backend)
  const [one, two] = [await node.client(), await node.client()]
  const heard: string[] = []
  const stop = publishingOf(backend).subscribe(contextId, (message) => heard.push(message))
  await publishingOf(backend).sockets.confirm(contextId)
  expect(await subscribers(admin)).toBe(1)
  one.socket.disconnect()
  await commit(backend, 'first')
  await until(() => two.got.length === 1 && heard.length === 1)
  two.socket.emit('leave', contextId)
  await until(() => node.io.of('/').adapter.rooms.get(`{ctx:${contextId}}`) === undefined)
  await commit(backend, 'second')
  await until(() => heard.length === 2)
  expect(heard).toEqual([frame('first'), frame('second')])
  stop()
  await until(async () => (await subscribers(admin)) === 0)
  await commit(backend, 'third')
  expect([two.got, heard.length]).toEqual([['first'], 2])
})

/** What others might publish. `node` is the uid of nobody. (A well-formed order to disconnect everybody would be obeyed.) */
const disconnect = 6
const types = Array.from({ length: 15 }, (_, type) => type)
const garbage = [
  '',
  'x',
  '{',
  '{}',
  'null',
  '[]',
  '"text"',
  '\u0000\u0001\u00c1',
  '{"uid":"node","nsp":"/"}',
  ...types.map((type) => `{"uid":"node","nsp":"/","type":${type}}`),
  ...types.map((type) => `{"uid":"node","nsp":"/","type":${type},"data":{}}`),
  ...types
    .filter((type) => type !== disconnect)
    .map((type) => `{"uid":"node","nsp":"/","type":${type},"data":{"requestId":"r","opts":{"rooms":[],"except":[]},"rooms":7,"packet":7}}`),
  '{"uid":"node","nsp":"/","type":3,"data":{"opts":{"rooms":7,"except":8},"packet":{"type":2,"data":["d"]}}}',
  `{"uid":"node","nsp":"/","type":3,"data":{"opts":{"rooms":[],"except":[]},"packet":{"type":2,"data":["x",${'['.repeat(20_000)}${']'.repeat(20_000)}]}}}`,
  '{"uid":"node","nsp":"/","type":9,"data":{"packet":{"length":-1}}}',
  '{"uid":"node","nsp":"/","type":9,"data":{"packet":["error"]}}',
  '{"uid":"contextd","nsp":"/","type":3,"data":{"opts":{"rooms":["{ctx:contract:1}"],"except":[]},"packet":{"type":2,"nsp":"/","data":["x",}}}',
  Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0]),
  Buffer.from('7bfffe', 'hex'),
  Buffer.from('c1', 'hex'),
]

test('F20: garbage on every channel is counted and ignored, and deltas go on', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const node = await nodeOf(backend)
  const client = await node.client()
  const heard: string[] = []
  publishingOf(backend).subscribe(contextId, (message) => heard.push(message))
  const channels = (await admin.call('PUBSUB', 'SHARDCHANNELS')) as string[]
  // The room, the namespace, the answers to this node, and its heartbeat.
  expect(channels).toHaveLength(4)
  await commit(backend, 'before')
  for (const name of channels) for (const message of garbage) await admin.spublish(name, message)
  await commit(backend, 'after')
  await until(() => client.got.includes('after'))
  expect(client.got).toEqual(['before', 'after'])
  expect(heard.filter((text) => text.startsWith('["d"'))).toEqual([frame('before'), frame('after')])
  expect((backend as RedisBackend).ignoredMessages).toBeGreaterThan(garbage.length)
  expect(client.socket.connected).toBe(true)
})

test('F15, G5: a killed subscriber connection is made again, what may have been missed is told once all channels are back, and deltas go on', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const node = await nodeOf(backend)
  const client = await node.client()
  const heard: string[] = []
  publishingOf(backend).subscribe(contextId, (message) => heard.push(message))
  publishingOf(backend).subscribe('other', () => {})
  await publishingOf(backend).sockets.confirm('other')
  const restored = new EventEmitter()
  let times = 0
  publishingOf(backend).onRestored(() => {
    times += 1
    restored.emit('restored')
  })
  for (let round = 1; round <= 5; round += 1) {
    const told = once(restored, 'restored')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await told
    expect(await subscribers(admin)).toBe(1)
    expect((await admin.call('PUBSUB', 'SHARDCHANNELS')) as string[]).toHaveLength(5)
    await commit(backend, round)
    await until(() => client.got.at(-1) === round && heard.at(-1) === frame(round))
    expect(times).toBe(round)
  }
})

test('F16: a subscriber connection on which nothing comes through any more is noticed and made again', async () => {
  const { server } = await redisFor()
  const proxy = await FaultyProxy.to(server.port)
  onTestFinished(() => proxy.close())
  const backend = await opened(proxy.url)
  const node = await nodeOf(backend)
  const client = await node.client()
  await commit(backend, 'before')
  await until(() => client.got.length === 1)
  const restored = new Promise<void>((resolve) => publishingOf(backend).onRestored(resolve))
  proxy.swallow('ssubscribe')
  await commit(backend, 'lost')
  await restored
  await commit(backend, 'after')
  await until(() => client.got.length === 2)
  expect(client.got).toEqual(['before', 'after'])
}, 20_000)

test('F19: while Redis is gone nothing that is sent through the adapter ends the process, and afterwards all goes on', async () => {
  const { server } = await redisFor({ appendOnly: 'always' })
  const backend = await opened({ url: server.url, redisOptions: { commandTimeout: 1_000 } })
  const other = await opened(server.url)
  const [node, second] = [await nodeOf(backend), await nodeOf(other)]
  const client = await node.client()
  const restored = new Promise<void>((resolve) => publishingOf(backend).onRestored(resolve))
  await commit(backend, 'before')
  await until(() => client.got.length === 1)
  await server.kill()
  await until(() =>
    backend
      .heads([])
      .then(() => backend.heads([contextId]))
      .then(
        () => false,
        () => true,
      ),
  )
  node.io.to(publishingOf(backend).sockets.room(contextId)).emit('d', 'local')
  node.io.emit('d', 'to all')
  node.io.serverSideEmit('hello')
  node.io.to('nobody').disconnectSockets()
  await expect(node.io.serverSideEmitWithAck('hello')).rejects.toBeDefined()
  await expect(node.io.fetchSockets()).rejects.toBeDefined()
  await until(() =>
    publishingOf(backend)
      .sockets.confirm(contextId)
      .then(
        () => false,
        (error: unknown) => isContextdError(error, 'backend_unavailable'),
      ),
  )
  await server.restart()
  await restored
  const heard = new Promise((resolve) => second.io.on('hello', resolve))
  await until(async () => {
    node.io.serverSideEmit('hello')
    return await Promise.race([heard.then(() => true), new Promise<false>((resolve) => setTimeout(resolve, 20, false))])
  })
  await commit(backend, 'after')
  await until(() => client.got.at(-1) === 'after')
  expect(client.got.filter((value) => value === 'before' || value === 'after')).toEqual(['before', 'after'])
}, 20_000)

test('after close nothing is listened to, and the timers are gone', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  publishingOf(backend).subscribe(contextId, () => {})
  await publishingOf(backend).sockets.confirm(contextId)
  await store(backend)
  await backend.close()
  expect(String(await admin.client('LIST'))).not.toContain('name=contextd ')
})
