import { createClient } from '@contextd/client'
import type { Client, ContextHandle } from '@contextd/client'
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

test('away for 100 commits: the answer is a delta, smaller than the snapshot; not behind: no change', async () => {
  await contexts.set('note:away', { n: 0, by: 'server', padding: 'x'.repeat(50_000) })
  const [handle] = await open('note:away')
  const full = await handle!.sync()
  expect(full.type).toBe('no_change')
  clients[0]!.disconnect()
  for (let n = 1; n <= 100; n += 1) await contexts.update('note:away', { n })
  clients[0]!.connect()
  await until('the client is at the head', () => handle!.status.get().version === 101)
  expect(handle!.get()).toMatchObject({ n: 100 })

  const fresh = await clients[1]!.context('note:away').sync()
  const reports: { type: string; bytes: number; deltas: number }[] = []
  clients[0]!.disconnect()
  for (let n = 101; n <= 200; n += 1) await contexts.update('note:away', { n })
  clients[0]!.connect()
  reports.push(await handle!.sync())
  expect(handle!.get()).toMatchObject({ n: 200 })
  expect(reports[0]!.bytes).toBeLessThan(fresh.bytes)
})

test('G7: after a rollback of Redis everybody is on the state of the server, told by `rolled_back`', async () => {
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

test('G7: deleted and created again at the same version, everybody is on the new state, told by `recreated`', async () => {
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
  await until('both are on the second life', () => [here!, away!].every((handle) => handle.get()?.by === 'second life' && handle.get()?.n === 8))
  expect(here!.status.get().version).toBe(2)
  expect(away!.status.get().version).toBe(2)
  expect(resets).toEqual([['recreated'], ['recreated']])
})
