import type { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { opened, redisFor } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { store } from '../../testing/contract/kit.ts'
import type { ContextBackend, ListQuery } from '../backend.ts'
import { namesOf } from './keys.ts'

const [ids, missing] = namesOf('contextd', 'contextd').index
const hourMs = 3_600_000

async function listed(backend: ContextBackend, query: Partial<ListQuery> = {}): Promise<string[]> {
  const items = await backend.list({ limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0, ...query })
  return items.map((item) => item.contextId)
}

const indexed = (admin: Redis): Promise<string[]> => admin.zrange(ids, '0', '-1')

test('an id without a context is not listed, and leaves the index when it has had none for an hour', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await store(backend, { contextId: 'there' })
  await admin.zadd(ids, 0, 'begun')
  expect(await listed(backend)).toEqual(['there'])
  await until(async () => (await admin.zscore(missing, 'begun')) !== null)
  expect(await listed(backend)).toEqual(['there'])
  await backend.heads([])
  expect(await indexed(admin)).toEqual(['begun', 'there'])
  await admin.zadd(missing, Date.now() - hourMs - 60_000, 'begun')
  expect(await listed(backend)).toEqual(['there'])
  await until(async () => (await indexed(admin)).length === 1)
  expect(await admin.zcard(missing)).toBe(0)
})

test('a context that is created ends the note that it is missing, so that it stays in the index', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await admin.zadd(ids, 0, 'late')
  await admin.zadd(missing, Date.now() - 2 * hourMs, 'late')
  const { head: base } = await store(backend, { contextId: 'late' })
  expect(await admin.zcard(missing)).toBe(0)
  await store(backend, { contextId: 'late', base, remove: true })
  expect(await listed(backend)).toEqual([])
  await until(async () => (await admin.zscore(missing, 'late')) !== null)
  expect(await indexed(admin)).toEqual(['late'])
})

test('a context whose id the index has lost comes back with its next snapshot', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'lost' })
  await admin.del(ids)
  expect(await listed(backend)).toEqual([])
  await store(backend, { contextId: 'lost', base, snapshot: true })
  await until(async () => (await listed(backend)).length === 1)
  expect(await listed(backend)).toEqual(['lost'])
})

test('a list goes through an index of any length in pages, from either end', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const ghosts = Array.from({ length: 1_700 }, (_, index) => `g${String(index).padStart(4, '0')}`)
  await admin.zadd(ids, ...ghosts.flatMap((id) => ['0', id]))
  const real = ['a', 'g0000x', 'g0499', 'g0500', 'g1300', 'z']
  for (const contextId of real) await store(backend, { contextId })
  expect(await listed(backend)).toEqual(real)
  expect(await listed(backend, { order: 'desc' })).toEqual(real.toReversed())
  expect(await listed(backend, { prefix: 'g' })).toEqual(real.slice(1, 5))
  expect(await listed(backend, { prefix: 'g', order: 'desc', offset: 1, limit: 2 })).toEqual(['g0500', 'g0499'])
})

test('a context is in the index before it is stored: one that cannot be put there is not created', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await admin.set(ids, 'x')
  await expect(store(backend, { contextId: 'new' })).rejects.toMatchObject({ code: 'backend_unavailable' })
  await expect(listed(backend)).rejects.toMatchObject({ code: 'backend_unavailable' })
  expect((await admin.keys('*')).filter((key) => key.includes('ctx:'))).toEqual([])
})
