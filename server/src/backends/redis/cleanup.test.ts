import type { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { contentOf, errorOf, opened, redisFor } from '../../../support/redis-store.ts'
import { author, sessionTtlMs, startAt, stateAt, store } from '../../testing/contract/kit.ts'
import type { CommitBatch, ContextBackend } from '../backend.ts'
import { unlogScript } from './index-scripts.ts'
import { namesOf } from './keys.ts'

const names = namesOf('contextd', 'contextd')
const [ids, missing, updated, touched, logged] = names.index
const hourMs = 3_600_000
/** How long before the time of an entry its log is looked at. */
const skewMs = 60_000

const stale = async (backend: ContextBackend, before: number, limit = 100): Promise<string[]> =>
  (await backend.stale(before, limit)).map(({ contextId }) => contextId)
const old = (backend: ContextBackend, before: number, limit = 100): Promise<readonly string[]> =>
  backend.prunable({ before, maxVersions: 0, limit })
const long = (backend: ContextBackend, maxVersions: number, limit = 100): Promise<readonly string[]> =>
  backend.prunable({ before: 0, maxVersions, limit })

async function bounds(admin: Redis, key: string): Promise<Record<string, number>> {
  const flat = await admin.zrange(key, '0', '-1', 'WITHSCORES')
  return Object.fromEntries(flat.flatMap((id, at) => (at % 2 === 0 ? [[id, Number(flat[at + 1])]] : [])))
}

/** How often commands were called while something was done. */
async function callsOf(admin: Redis, act: () => Promise<unknown>): Promise<Record<string, number>> {
  await admin.config('RESETSTAT')
  await act()
  const stats = await admin.info('commandstats')
  return Object.fromEntries([...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)].map(([, name, count]) => [name!, Number(count)]))
}

/** Creates many contexts, each a millisecond after the one before it. */
async function fill(backend: ContextBackend, count: number): Promise<CommitBatch[]> {
  const batches: CommitBatch[] = []
  for (let from = 0; from < count; from += 500) {
    const numbers = Array.from({ length: Math.min(500, count - from) }, (_, index) => from + index)
    batches.push(...(await Promise.all(numbers.map((number) => store(backend, { contextId: nameOf(number), now: startAt + number })))))
  }
  return batches
}
const nameOf = (number: number): string => `c${String(number).padStart(5, '0')}`

test('bounds are raised when a context that is in use is looked at, and it is not looked at again before it may be old', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { contextId: 'used' })
  await store(backend, { contextId: 'idle', now: startAt + 10 })
  await store(backend, { contextId: 'used', base: first.head, now: startAt + 5_000 })
  expect(await bounds(admin, updated)).toEqual({ used: startAt, idle: startAt + 10 })
  expect(await stale(backend, startAt + 100)).toEqual(['idle'])
  expect(await bounds(admin, updated)).toEqual({ used: startAt + 5_000, idle: startAt + 10 })
  const calls = await callsOf(admin, async () => expect(await stale(backend, startAt + 200)).toEqual(['idle']))
  expect(calls['evalsha']).toBe(1)
  expect(await stale(backend, startAt + 5_001)).toEqual(['idle', 'used'])
})

test('of 10,000 contexts only those are looked at that may be old, in pages', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await fill(backend, 10_000)
  const all = startAt + 20_000
  const few = await callsOf(admin, async () => expect(await stale(backend, all, 3)).toEqual(['c00000', 'c00001', 'c00002']))
  expect(few).toMatchObject({ zrangebyscore: 1, zmscore: 1, evalsha: 500 })
  expect(few['zadd']).toBeUndefined()
  await backend.touch(
    Array.from({ length: 9_990 }, (_, number) => nameOf(number)),
    all,
  )
  const one = await callsOf(admin, async () => expect((await stale(backend, all)).length).toBe(10))
  expect(one).toMatchObject({ zrangebyscore: 1, evalsha: 10 })
  const every = await callsOf(admin, async () => expect((await backend.stale(all + 1, 20_000)).length).toBe(10_000))
  expect(every).toMatchObject({ zrangebyscore: 21, zmscore: 20, evalsha: 10_000 })
  const logs = await callsOf(admin, async () => expect((await old(backend, startAt + 1_200, 1_000)).length).toBe(1_000))
  expect(logs).toMatchObject({ zrangebyscore: 2, evalsha: 1_000 })
  const lengths = await callsOf(admin, async () => expect(await long(backend, 1)).toEqual([]))
  expect(lengths['evalsha']).toBeUndefined()
  expect(lengths).toMatchObject({ zrange: 21, hmget: 10_000 })
}, 60_000)

test('the oldest come first although their bounds are out of order, and of a page only as many as are asked for', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const batches = await fill(backend, 1_200)
  // The later it was created, the earlier it was last used.
  await Promise.all(
    batches.map(({ contextId, head: base }, number) => store(backend, { contextId, base, now: startAt + 10_000 - (number % 1_199) })),
  )
  const used = batches.map(({ contextId }, number) => ({ contextId, at: 10_000 - (number % 1_199) }))
  const expected = used.toSorted((a, b) => a.at - b.at || (a.contextId < b.contextId ? -1 : 1)).map(({ contextId }) => contextId)
  expect(await stale(backend, startAt + 20_000, 700)).toEqual(expected.slice(0, 700))
  expect(await stale(backend, startAt + 20_000, 2_000)).toEqual(expected)
  expect(await stale(backend, startAt + 9_500, 2_000)).toEqual(expected.slice(0, used.filter(({ at }) => at < 9_500).length))
})

test('a touch of what is unknown leaves nothing behind, and one that comes late takes nothing back', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await store(backend, { contextId: 'known' })
  await backend.touch(['known', 'unknown'], startAt + 2_000)
  await backend.touch(['known'], startAt + 1_000)
  await backend.touch([], startAt)
  expect(await bounds(admin, touched)).toEqual({ known: startAt + 2_000 })
  expect(await bounds(admin, updated)).toEqual({ known: startAt + 2_000 })
  expect(await stale(backend, startAt + 2_000)).toEqual([])
  expect(await stale(backend, startAt + 2_001)).toEqual(['known'])
})

test('a restore of something older keeps the touch, and is looked at', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'c', now: startAt + 5_000 })
  const restore = {
    contextId: 'c',
    base,
    head: { incarnation: 'i', version: 4, revision: 'r' },
    now: startAt + 6_000,
    sessionTtlMs,
    createdAt: startAt - 9_000,
    updatedAt: startAt - 8_000,
    updatedBy: author,
    schema: 0,
    snapshot: stateAt(4),
    streams: [],
    message: null,
  }
  expect(await backend.restore(restore)).toEqual({ type: 'restored' })
  expect(await stale(backend, startAt)).toEqual(['c'])
  await backend.touch(['c'], startAt + 7_000)
  await backend.restore({ ...restore, base: restore.head })
  expect(await bounds(admin, updated)).toEqual({ c: startAt - 8_000 })
  expect(await stale(backend, startAt + 7_000)).toEqual([])
  expect(await bounds(admin, updated)).toEqual({ c: startAt + 7_000 })
})

test('an id without a context is not looked at again for an hour, then leaves the index; one that is created meanwhile is found', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  for (const contextId of ['gone', 'back']) {
    const { head: base } = await store(backend, { contextId })
    await backend.touch([contextId], startAt + 1)
    await store(backend, { contextId, base, remove: true, now: startAt + 2 })
  }
  const before = startAt + 1_000
  expect(await stale(backend, before)).toEqual([])
  expect(await old(backend, before)).toEqual([])
  expect(Object.keys(await bounds(admin, missing))).toEqual(['back', 'gone'])
  const calls = await callsOf(admin, async () => {
    expect(await stale(backend, before + hourMs)).toEqual([])
    expect(await old(backend, before + hourMs)).toEqual([])
  })
  expect(calls['evalsha']).toBeUndefined()
  const [base] = await backend.heads(['back'])
  await store(backend, { contextId: 'back', base: base!, now: startAt + 3 })
  expect(await stale(backend, before)).toEqual(['back'])
  expect(await old(backend, before)).toEqual(['back'])
  await admin.zadd(missing, Date.now() - hourMs - 1_000, 'gone')
  expect(await stale(backend, before + 2 * hourMs)).toEqual(['back'])
  for (const key of [ids, updated, logged]) expect(await admin.zrange(key, '0', '-1')).toEqual(['back'])
  expect(await admin.zrange(touched, '0', '-1')).toEqual(['back'])
  expect(await admin.zcard(missing)).toBe(0)
})

test('a log that was emptied is not looked at again, until there is a new entry in it', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'c' })
  await store(backend, { contextId: 'kept', now: startAt + hourMs })
  const prune = { contextId: 'c', base, snapshot: null, before: startAt + 1, maxVersions: 0 }
  expect(await old(backend, startAt + 1)).toEqual(['c'])
  expect(await backend.prune({ ...prune, base: { ...base, revision: 'other' } })).toBe(null)
  expect(await backend.prune(prune)).toBe(1)
  expect(await old(backend, startAt + 1)).toEqual([])
  expect(Object.keys(await bounds(admin, logged))).toEqual(['kept'])
  const next = await store(backend, { contextId: 'c', base, now: startAt + 10 })
  expect((await bounds(admin, logged))['c']).toBe(startAt + 10 - skewMs)
  expect(await old(backend, startAt + 10)).toEqual([])
  expect(await old(backend, startAt + 11)).toEqual(['c'])
  expect(await backend.prune({ ...prune, base: next.head, before: startAt + 11 })).toBe(0)
  expect(await backend.prune({ ...prune, base: next.head, before: startAt + 11, snapshot: stateAt(2) })).toBe(1)
  expect(await backend.load('c')).toMatchObject({ row: { snapshotVersion: 2, firstVersion: 3, logSize: 0 }, snapshot: stateAt(2) })
})

test('a log that a clean-up takes for empty stays in the index when something was written meanwhile', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'c' })
  const { c: bound } = await bounds(admin, logged)
  await backend.prune({ contextId: 'c', base, snapshot: null, before: startAt + 1, maxVersions: 0 })
  await store(backend, { contextId: 'c', base, now: startAt + 5 })
  await admin.eval(unlogScript.text, 1, logged, 'c', String(bound), 'unknown', '0')
  expect(await bounds(admin, logged)).toEqual({ c: startAt + 5 - skewMs })
  await admin.eval(unlogScript.text, 1, logged, 'c', String(startAt + 5 - skewMs))
  expect(await bounds(admin, logged)).toEqual({})
})

test('what the index has lost comes back with the next snapshot', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'c' })
  await admin.del(updated, logged)
  expect([await stale(backend, startAt + hourMs), await old(backend, startAt + hourMs)]).toEqual([[], []])
  await store(backend, { contextId: 'c', base, snapshot: true })
  await backend.heads([])
  await expect.poll(() => stale(backend, startAt + hourMs)).toEqual(['c'])
  expect(await old(backend, startAt + hourMs)).toEqual(['c'])
  expect(await bounds(admin, updated)).toEqual({ c: startAt })
})

test('contexts whose keys another program has taken, or that are damaged, do not keep the others from being found', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await fill(backend, 3)
  await admin.set(names.context(nameOf(0))[0], 'x')
  await admin.rpush(names.context(nameOf(1))[2], 'x')
  expect(await stale(backend, startAt + hourMs)).toEqual([nameOf(2)])
  expect(await old(backend, startAt + hourMs)).toEqual([nameOf(2)])
  const { head: base } = (await backend.load(nameOf(2)))!.row
  await store(backend, { contextId: nameOf(2), base })
  expect(await long(backend, 1)).toEqual([nameOf(2)])
})

test('a log that was lost has no entries', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'c', members: [{}, {}, {}] })
  await admin.del(names.context('c')[2])
  expect(await long(backend, 1)).toEqual([])
  expect(await old(backend, startAt + hourMs)).toEqual([])
  expect(await backend.stale(startAt + hourMs, 1)).toEqual([{ contextId: 'c', head: base, logged: 0 }])
  expect(await backend.prune({ contextId: 'c', base, snapshot: null, before: startAt + hourMs, maxVersions: 1 })).toBe(0)
})

test('out of memory: entries are pruned, but no snapshot is written for it', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { contextId: 'c', members: [{}, {}, {}] })
  const { head: base } = await store(backend, { contextId: 'c', base: first.head })
  await admin.config('SET', 'maxmemory', '1')
  const before = await contentOf(admin)
  const prune = { contextId: 'c', base, before: 0, maxVersions: 2 }
  expect(await errorOf(backend.prune({ ...prune, snapshot: stateAt(4) }))).toMatchObject({ code: 'backend_unavailable' })
  expect(await contentOf(admin)).toEqual(before)
  expect(await backend.prune({ ...prune, snapshot: null })).toBe(2)
  expect((await backend.log('c', 0)).map(({ version }) => version)).toEqual([3, 4])
  expect((await backend.load('c'))!.row).toMatchObject({ firstVersion: 3, snapshotVersion: 3 })
})

test.each([0, 1, 2])('a key of another type (number %i) makes a pruning fail whole', async (number) => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { contextId: 'c', members: [{}, {}] })
  const key = names.context('c')[number]!
  await admin.del(key)
  if (number === 1) await admin.lpush(key, 'x')
  else await admin.set(key, 'x')
  const before = await contentOf(admin)
  const prune = { contextId: 'c', base, snapshot: stateAt(2), before: 0, maxVersions: 1 }
  expect(await errorOf(backend.prune(prune))).toMatchObject({ code: 'backend_unavailable', message: expect.stringContaining('damaged') })
  expect(await contentOf(admin)).toEqual(before)
})
