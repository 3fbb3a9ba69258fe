import { truncate, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient } from '@contextd/client'
import type { ContextHandle } from '@contextd/client'
import { createContexts, createServer } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { closeAfter, closeAfterEach } from '../support/open-world.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

type Notes = { [id: `note:${string}`]: { state: { n: number } } }
type Note = ContextHandle<{ n: number }>
const id = 'note:rolled'

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

/** A node on a Redis with a client that has the note open, and every reset that it is told. */
async function nodeOn(port: number): Promise<{ note: Note; resets: string[] }> {
  const contexts = createContexts({ backend: redisBackend({ url: `redis://127.0.0.1:${port}`, redisOptions: { commandTimeout: 1_000 } }) })
  const server = createServer({ contexts })
  await server.listen({ port: 0 })
  const client = createClient<Notes>({ url: server.url! })
  closeAfter(async () => {
    await client.destroy()
    await server.close({ drainMs: 0 })
    await contexts.close()
  })
  const note = client.context(id, { initial: { n: 0 } })
  note.subscribe(() => {})
  await note.ready({ live: true })
  const resets: string[] = []
  note.status.subscribe(({ reset }, previous) => {
    if (reset !== null && reset !== previous.reset) resets.push(reset)
  })
  return { note, resets }
}

const all = (notes: readonly { note: Note }[], n: number): boolean => notes.every(({ note }) => note.get()?.n === n)

/** Everybody goes on from a state, each write once. */
async function goOn(nodes: readonly { note: Note }[], from: number): Promise<void> {
  await Promise.all(nodes.map(({ note }) => note.at('n').increment(10)))
  await until('all go on from there', () => all(nodes, from + 10 * nodes.length))
}

test('F4, G7: commits that a power cut took from the append-only file are declared to everybody who saw them', async () => {
  const { redis } = await redisWith({ appendOnly: 'always' })
  const nodes = [await nodeOn(redis.port), await nodeOn(redis.port)]
  await nodes[0]!.note.at('n').set(1)
  await until('both have the first', () => all(nodes, 1))
  const file = join(redis.directory, 'appendonlydir', 'appendonly.aof.1.incr.aof')
  const { size } = await stat(file)
  await nodes[0]!.note.at('n').set(2)
  await nodes[1]!.note.at('n').set(3)
  await until('both have all', () => all(nodes, 3))
  await redis.kill()
  // In the middle of what came next.
  await truncate(file, size + 40)
  await redis.restart()
  await until('both are on what was left', () => all(nodes, 1))
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
  await until('both have the first', () => all(nodes, 1))
  await stale()
  await nodes[0]!.note.at('n').set(2)
  await nodes[1]!.note.at('n').set(3)
  await until('both have all', () => all(nodes, 3))
  await primary.kill()
  front.target = replica.port
  await promote()
  front.cut()
  await until('both are on what the replica had', () => all(nodes, 1))
  expect(nodes.map(({ resets }) => resets)).toEqual([['rolled_back'], ['rolled_back']])
  await goOn(nodes, 1)
})

test('F7, G7: two primaries at once: after the split one history holds, and those on the other are told', async () => {
  const { primary, replica, promote, stale } = await replicated()
  const [old, young] = [await proxyTo(primary.port), await proxyTo(primary.port)]
  const nodes = [await nodeOn(old.port), await nodeOn(young.port)]
  await nodes[0]!.note.at('n').set(1)
  await until('both have the first', () => all(nodes, 1))
  await stale()
  await promote()
  young.target = replica.port
  young.cut()
  await nodes[0]!.note.at('n').increment(100)
  await nodes[1]!.note.at('n').increment(1_000)
  expect(nodes.map(({ note }) => note.get()?.n)).toEqual([101, 1_001])
  old.target = replica.port
  old.cut()
  await until('both are on one history', () => all(nodes, 1_001))
  expect(nodes.map(({ resets }) => resets)).toEqual([['rolled_back'], []])
  await goOn(nodes, 1_001)
})
