import { truncate, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { startRedisCluster, startRedisSentinel, startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { allShow, goOn, noteId, noteNode } from '../support/note-nodes.ts'
import type { NoteNode } from '../support/note-nodes.ts'
import { closeAfter, closeAfterEach } from '../support/open-world.ts'
import { cutOff } from '../support/redis-failover.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

closeAfterEach()

async function redisWith(options: Parameters<typeof startRedisServer>[0] = {}): Promise<{ redis: RedisServer; admin: Redis }> {
  const redis = await startRedisServer(options)
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  closeAfter(async () => {
    admin.disconnect()
    await redis.stop()
  })
  return { redis, admin }
}

async function proxyTo(port: number): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(port)
  closeAfter(() => proxy.close())
  return proxy
}

const nodeOn = (port: number): Promise<NoteNode> => noteNode({ url: `redis://127.0.0.1:${port}` })

test('F4, G7: commits that a power cut took from the append-only file are declared to everybody who saw them', async () => {
  const { redis } = await redisWith({ appendOnly: 'always' })
  const nodes = [await nodeOn(redis.port), await nodeOn(redis.port)]
  await nodes[0]!.note.at('n').set(1)
  await until('both have the first', () => allShow(nodes, 1))
  const file = join(redis.directory, 'appendonlydir', 'appendonly.aof.1.incr.aof')
  const { size } = await stat(file)
  await nodes[0]!.note.at('n').set(2)
  await nodes[1]!.note.at('n').set(3)
  await until('both have all', () => allShow(nodes, 3))
  await redis.kill()
  // In the middle of what came next.
  await truncate(file, size + 40)
  await redis.restart()
  await until('both are on what was left', () => allShow(nodes, 1))
  expect(nodes.map(({ resets }) => resets)).toEqual([['rolled_back'], ['rolled_back']])
  await goOn(nodes, 1)
})

/** A primary, and a replica whose replication can be cut off; `stale` stops it once all so far has arrived. */
async function replicated(): Promise<{
  primary: RedisServer
  replica: RedisServer
  promote: () => Promise<void>
  stale: () => Promise<void>
}> {
  const { redis: primary, admin } = await redisWith({ settings: { 'repl-diskless-sync-delay': '0' } })
  const { redis: replica, admin: other } = await redisWith()
  const wire = await proxyTo(primary.port)
  await other.call('REPLICAOF', '127.0.0.1', String(wire.port))
  await until('the replica follows', async () => (await other.info('replication')).includes('master_link_status:up'))
  return {
    primary,
    replica,
    promote: async () => void (await other.call('REPLICAOF', 'NO', 'ONE')),
    stale: async () => {
      const offset = /master_repl_offset:(\d+)/.exec(await admin.info('replication'))![1]!
      await until('all has arrived', async () => {
        const [, arrived] = /slave_repl_offset:(\d+)/.exec(await other.info('replication')) ?? []
        return Number(arrived) >= Number(offset)
      })
      wire.freeze()
    },
  }
}

test('F6, G7: after a failover to a replica that was behind, what it never had is declared lost, and writing goes on', async () => {
  const { primary, replica, promote, stale } = await replicated()
  const front = await proxyTo(primary.port)
  const nodes = [await nodeOn(front.port), await nodeOn(front.port)]
  await nodes[0]!.note.at('n').set(1)
  await until('both have the first', () => allShow(nodes, 1))
  await stale()
  await nodes[0]!.note.at('n').set(2)
  await nodes[1]!.note.at('n').set(3)
  await until('both have all', () => allShow(nodes, 3))
  await primary.kill()
  front.target = replica.port
  await promote()
  front.cut()
  await until('both are on what the replica had', () => allShow(nodes, 1))
  expect(nodes.map(({ resets }) => resets)).toEqual([['rolled_back'], ['rolled_back']])
  await goOn(nodes, 1)
})

test('F7, G7: two primaries at once: after the split one history holds, and those on the other are told', async () => {
  const { primary, replica, promote, stale } = await replicated()
  const [old, young] = [await proxyTo(primary.port), await proxyTo(primary.port)]
  const nodes = [await nodeOn(old.port), await nodeOn(young.port)]
  await nodes[0]!.note.at('n').set(1)
  await until('both have the first', () => allShow(nodes, 1))
  await stale()
  await promote()
  young.target = replica.port
  young.cut()
  await nodes[0]!.note.at('n').increment(100)
  await nodes[1]!.note.at('n').increment(1_000)
  expect(nodes.map(({ note }) => note.get()?.n)).toEqual([101, 1_001])
  old.target = replica.port
  old.cut()
  await until('both are on one history', () => allShow(nodes, 1_001))
  expect(nodes.map(({ resets }) => resets)).toEqual([['rolled_back'], []])
  await goOn(nodes, 1_001)
})

/** A store with a replica for what holds the note. */
interface Replicated {
  readonly redis: Parameters<typeof noteNode>[0]
  readonly primary: RedisServer
  readonly replica: RedisServer
}

async function behindSentinel(): Promise<Replicated> {
  const sentinel = await startRedisSentinel()
  closeAfter(() => sentinel.stop())
  return { redis: { redisOptions: sentinel.options }, primary: sentinel.master, replica: sentinel.replica }
}

async function onCluster(): Promise<Replicated> {
  const cluster = await startRedisCluster({ replicas: true })
  closeAfter(() => cluster.stop())
  const owner = await cluster.ownerOf(await cluster.admins[0]!.cluster('KEYSLOT', `contextd:{ctx:${noteId}}:row`))
  const seeds = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  return { redis: { redisOptions: { cluster: seeds } }, primary: cluster.nodes[owner]!, replica: cluster.nodes[owner + 3]! }
}

test.each([
  ['by a Sentinel', behindSentinel],
  ['of a Cluster', onCluster],
])(
  'F6, G7: after a failover %s to a replica that was behind, the loss is declared to all, and what was under way is stored once',
  async (_how, open) => {
    const { redis, primary, replica } = await open()
    const nodes = [await noteNode(redis), await noteNode(redis), await noteNode(redis)]
    await nodes[0]!.note.at('n').set(1)
    await until('all have the first', () => allShow(nodes, 1))
    await cutOff(primary, replica)
    await nodes[0]!.note.at('n').set(2)
    await nodes[1]!.note.at('n').set(3)
    await until('all have what will be lost', () => allShow(nodes, 3))
    await primary.kill()
    const writes = nodes.map(({ note }) => note.at('n').increment(10))
    await until('all are on what the replica had, and what they wrote since', () => allShow(nodes, 31))
    await Promise.all(writes)
    expect(nodes.map(({ resets }) => resets)).toEqual(nodes.map(() => ['rolled_back']))
    await goOn(nodes, 31)
    const stored = await Promise.all(nodes.map(({ contexts }) => contexts.get(noteId)))
    expect(new Set(stored.map((snapshot) => snapshot!.revision)).size).toBe(1)
    expect(stored[0]).toMatchObject({ state: { n: 61 }, version: 7 })
    await until('nobody has another version', () => nodes.every(({ note }) => note.status.get().version === 7))
  },
)
