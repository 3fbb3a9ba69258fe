import { createClient } from '@contextd/client'
import type { Client, ContextHandle, SyncReport } from '@contextd/client'
import { createContexts, createServer } from 'contextd'
import type { Contexts, Server } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../support/wait.ts'

type Notes = { [id: `note:${string}`]: { state: { n: number; by: string; padding?: string } } }
type Note = ContextHandle<Notes['note:']['state']>

let redis: RedisServer
let contexts: Contexts
let server: Server
let clients: Client<Notes>[]

beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(() => redis.stop())
beforeEach(async () => {
  contexts = createContexts({ backend: redisBackend(redis.url) })
  server = createServer({ contexts })
  await server.listen({ port: 0 })
  clients = [0, 1].map(() => createClient<Notes>({ url: server.url! }))
})
afterEach(async () => {
  await Promise.all(clients.map((client) => client.destroy()))
  await server.close()
  await contexts.close()
})

async function open(id: `note:${string}`): Promise<Note[]> {
  const handles = clients.map((client) => client.context(id))
  for (const handle of handles) handle.subscribe(() => {})
  await Promise.all(handles.map((handle) => handle.ready({ live: true })))
  return handles
}

/** Every reset that a handle reports, in order. */
function resetsOf(handle: Note): string[] {
  const resets: string[] = []
  handle.status.subscribe(({ reset }, previous) => {
    if (reset !== null && reset !== previous.reset) resets.push(reset)
  })
  return resets
}

test('away for 100 commits: a delta, smaller than the snapshot; not behind: no change; past the retained log: the full context', async () => {
  const limited = createContexts({ backend: redisBackend({ url: redis.url, prefix: 'limited' }), deltaThreshold: 150 })
  const behind = createServer({ contexts: limited })
  await behind.listen({ port: 0 })
  const client = createClient<Notes>({ url: behind.url! })
  const handle = client.context('note:away')
  /** Where the next sync of the client begins, without the deltas in between. */
  const away = async (commits: number): Promise<SyncReport> => {
    client.disconnect()
    for (let commit = 0; commit < commits; commit += 1) await limited.apply('note:away', [{ type: 'increment', path: ['n'], by: 1 }])
    client.connect()
    return handle.sync()
  }
  await limited.set('note:away', { n: 0, by: 'server', padding: 'x'.repeat(50_000) })
  const full = await handle.sync()
  expect(full).toMatchObject({ type: 'full_context', version: 1 })
  expect(full.bytes).toBeGreaterThan(50_000)
  handle.subscribe(() => {})

  const delta = await away(100)
  expect(delta).toMatchObject({ type: 'delta', version: 101, deltas: 100 })
  expect(delta.bytes).toBeLessThan(full.bytes)
  expect(handle.get()).toMatchObject({ n: 100 })
  expect(await handle.sync()).toMatchObject({ type: 'no_change', version: 101, deltas: 0 })
  expect(await away(151)).toMatchObject({ type: 'full_context', version: 252 })
  expect(handle.get()).toMatchObject({ n: 251 })

  await client.destroy()
  await behind.close()
  await limited.close()
})

test('F6, G7: after a rollback of Redis everybody is on the state of the server, told by `rolled_back`', { timeout: 30_000 }, async () => {
  const id = 'note:rollback'
  await contexts.set(id, { n: 0, by: 'server' })
  const handles = await open(id)
  const resets = handles.map(resetsOf)
  await handles[0]!.at('n').set(1)
  const admin = new Redis(redis.url)
  const kept = await Promise.all((await admin.keys('*')).map(async (key) => [key, await admin.dumpBuffer(key)] as const))
  await handles[0]!.at('n').set(2)
  await handles[1]!.at('n').set(3)
  await until('both have seen both', () => handles.every((handle) => handle.get()!.n === 3))
  for (const [key, dump] of kept) await admin.restore(key, 0, dump!, 'REPLACE')
  admin.disconnect()

  await until('both are on the state that was restored', () => handles.every((handle) => handle.get()!.n === 1), 15_000)
  expect(resets).toEqual([['rolled_back'], ['rolled_back']])
  await handles[1]!.at('n').increment(10)
  await until('both go on from there', () => handles.every((handle) => handle.get()!.n === 11))
  expect((await contexts.get(id))!.state).toMatchObject({ n: 11 })
})

test('F13, G7: deleted and created again at the same version, everybody is on the new state, told by `recreated`', async () => {
  const id = 'note:recreated'
  await contexts.set(id, { n: 1, by: 'first life' })
  await contexts.update(id, { n: 2 })
  const [here, away] = await open(id)
  const resets = [here!, away!].map(resetsOf)
  clients[1]!.disconnect()
  await contexts.delete(id)
  await contexts.set(id, { n: 7, by: 'second life' })
  await contexts.update(id, { n: 8 })
  clients[1]!.connect()
  await until('both are on the second life', () =>
    [here!, away!].every((handle) => handle.get()?.by === 'second life' && handle.get()?.n === 8),
  )
  expect(here!.status.get().version).toBe(2)
  expect(away!.status.get().version).toBe(2)
  expect(resets).toEqual([['recreated'], ['recreated']])
})
