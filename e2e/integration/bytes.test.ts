import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createContexts, createServer } from 'contextd'
import type { Contexts, JsonObject } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { createClient } from '@contextd/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(() => redis.stop())

const file = createRequire(import.meta.url).resolve('world-countries/countries.json')
const countries = JSON.parse(readFileSync(file, 'utf8')) as JsonObject[]
// Twice over: without white space the file has about 0.6 MB.
const world = { countries: [...countries, ...countries].map((country, index) => ({ id: `c${index}`, ...country })) }

/** Bytes that go to Redis for one edit of one leaf. */
async function bytesOfAnEdit(contexts: Contexts, proxy: TcpProxy, id: string, edit: () => Promise<unknown>): Promise<number> {
  await contexts.get(id)
  const before = proxy.sent
  await edit()
  return proxy.sent - before
}

test('one edited leaf of a 1 MB document sends Redis at most twice the bytes of the same edit of a 1 KB context', async () => {
  expect(JSON.stringify(world).length).toBeGreaterThan(1_000_000)
  const proxy = await TcpProxy.to(redis.port)
  const contexts = createContexts({ backend: redisBackend(`redis://127.0.0.1:${proxy.port}`) })
  const small = { countries: world.countries.slice(0, 1) }
  await contexts.set('doc:large', world)
  await contexts.set('doc:small', small)
  const edit = (id: string, n: number): Promise<unknown> =>
    contexts.apply(id, [{ type: 'set', path: ['countries', { id: 'c0' }, 'region'], value: `Region ${n}` }])
  // The first edit of each makes sure that the script is known to Redis.
  await edit('doc:large', 0)
  await edit('doc:small', 0)
  const large = await bytesOfAnEdit(contexts, proxy, 'doc:large', () => edit('doc:large', 1))
  const little = await bytesOfAnEdit(contexts, proxy, 'doc:small', () => edit('doc:small', 1))
  await contexts.close()
  await proxy.close()
  expect(large).toBeGreaterThan(0)
  expect(large).toBeLessThanOrEqual(2 * little)
})

test('one edited leaf of a 1 MB document costs a subscriber less than 300 bytes', async () => {
  const contexts = createContexts({ backend: redisBackend(redis.url) })
  const server = createServer({ contexts })
  await server.listen({ port: 0 })
  const tap = await TcpProxy.to(Number(new URL(server.url!).port))
  const writer = createClient({ url: server.url! })
  const reader = createClient({ url: `http://127.0.0.1:${tap.port}` })
  await contexts.set('doc:watched', world)
  const watched = reader.context('doc:watched')
  watched.subscribe(() => {})
  await watched.ready({ live: true })
  const written = writer.context('doc:watched')
  await written.ready({ live: true })
  const before = tap.received
  const { version } = await written.at('countries', { id: 'c7' }, 'region').set('Elsewhere')
  await until('the reader has it', () => watched.status.get().version === version)
  expect(tap.received - before).toBeGreaterThan(0)
  expect(tap.received - before).toBeLessThan(300)
  await Promise.all([writer.destroy(), reader.destroy()])
  await server.close()
  await contexts.close()
  await tap.close()
})
