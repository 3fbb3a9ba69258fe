import { createClient } from '@contextd/client'
import { createContexts, createServer } from 'contextd'
import type { Contexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { closeAfter, closeAfterEach } from '../support/open-world.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

interface Row {
  readonly id: string
  readonly name: string
  readonly price: number
}
type Prices = { prices: { state: { items: Row[] } } }

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(() => redis.stop())
closeAfterEach()

/** Two nodes: one fetches, the other serves clients, through a proxy that counts bytes. */
let fetching: Contexts
let tap: TcpProxy
let made = 0
beforeEach(async () => {
  made += 1
  const node = (): Contexts => {
    const backend = redisBackend({ url: redis.url, prefix: `clients${made}` })
    const contexts = createContexts({ backend, limits: { stateBytes: 64_000_000 } })
    closeAfter(() => contexts.close())
    return contexts
  }
  fetching = node()
  const server = createServer({ contexts: node(), authorize: ({ action }) => action === 'read' })
  await server.listen({ port: 0 })
  closeAfter(() => server.close())
  tap = await TcpProxy.to(Number(new URL(server.url!).port))
  closeAfter(() => tap.close())
})

async function watched() {
  const client = createClient<Prices>({ url: `http://127.0.0.1:${tap.port}` })
  closeAfter(() => client.destroy())
  const handle = client.context('prices')
  handle.subscribe(() => {})
  await handle.ready({ live: true })
  return handle
}

const rowsOf = (count: number, price: (n: number) => number): Row[] =>
  Array.from({ length: count }, (_, n) => ({ id: `r${n}`, name: `Product number ${n}`, price: price(n) }))

test('a client sees a source like any context: it follows each refresh, what did not change keeps its identity, and it cannot write', async () => {
  let data = rowsOf(3, () => 1)
  const source = fetching.addSource({ contextId: 'prices', fetch: () => data, refreshIntervalMs: 3_600_000 })
  const handle = await watched()
  await until('it has the rows', () => handle.get()?.items.length === 3)
  const before = handle.get()!
  data = [data[2]!, { ...data[0]!, price: 2 }, { id: 'new', name: 'Another', price: 3 }]
  await source.refresh()
  await until('it has the change', () => handle.get()?.items[1]?.price === 2)
  const after = handle.get()!
  expect(after).toEqual({ items: data })
  expect(after.items[0]).toBe(before.items[2])
  expect(handle.status.get()).toMatchObject({ phase: 'live', version: 2 })
  await expect(handle.update({ items: [] })).rejects.toMatchObject({ code: 'forbidden' })
  expect(handle.get()).toEqual({ items: data })
})

test('of 100,000 rows only those that changed travel to a client, and nothing when none did', async () => {
  const count = 100_000
  let round = 0
  const fetch = (): Row[] => rowsOf(count, (n) => (n % 100 === round ? 1_000 + round : 1))
  const source = fetching.addSource({ contextId: 'prices', fetch, refreshIntervalMs: 3_600_000 })
  await source.refresh()
  expect(source.status.lastError).toBeNull()
  const handle = await watched()
  await until('it has all', () => handle.get()?.items.length === count)
  expect(tap.received).toBeGreaterThan(JSON.stringify(fetch()).length)
  const bytes: number[] = []
  for (round = 1; round < 3; round += 1) {
    const before = tap.received
    await source.refresh()
    await until('it has the change', () => handle.get()?.items[round]?.price === 1_000 + round)
    bytes.push(tap.received - before)
  }
  round = 2
  const before = tap.received
  for (let again = 0; again < 3; again += 1) await source.refresh()
  // Another commit comes after them: so they have all gone by.
  round = 3
  await source.refresh()
  await until('it has the change', () => handle.get()?.items[3]?.price === 1_003)
  bytes.push(tap.received - before)
  // Two prices of each hundred rows.
  for (const each of bytes) expect(each).toBeLessThan(40 * ((2 * count) / 100))
  expect(handle.get()?.items).toEqual(fetch())
  console.info('bytes of a refresh:', bytes.join(', '))
})
