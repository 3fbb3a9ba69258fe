import { expect, test } from 'vitest'
import { contentOf, errorOf, opened, redisFor } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import {
  at,
  author,
  batchOf,
  contextId,
  queryOf,
  recordOf,
  startAt,
  stateAt,
  store,
  storeMany,
  synced,
} from '../../testing/contract/kit.ts'
import { noHead } from '../backend.ts'
import { namesOf } from './keys.ts'

const names = namesOf('contextd', 'contextd')
const keys = names.context(contextId)
const listAll = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

test.each([0, 1, 2, 3, 4])(
  'F9: a key of another type (number %i) makes every write of its context fail whole, and only of its context',
  async (number) => {
    const { server, admin } = await redisFor()
    const backend = await opened(server.url)
    const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
    const other = await store(backend, { contextId: 'other' })
    await admin.del(keys[number]!)
    if (number === 1) await admin.lpush(keys[number]!, 'x')
    else await admin.set(keys[number]!, 'x')
    const before = await contentOf(admin)
    const writes = [
      batchOf({ base, members: [{ stream: at(2) }] }),
      batchOf({ base, members: [{ stream: at(2), verdict: 'nothing' }] }),
      batchOf({ base, snapshot: true, retention: { maxVersions: 1 }, now: 1_900_000_000_000 }),
      batchOf({ base, remove: true, members: [{ stream: at(2) }] }),
    ]
    for (const batch of writes) {
      expect(await errorOf(backend.commit(batch))).toMatchObject({
        code: 'backend_unavailable',
        message: expect.stringContaining('damaged'),
      })
    }
    expect(await errorOf(backend.sync(queryOf({ stream: { epoch: 4 } })))).toMatchObject({ code: 'backend_unavailable' })
    expect(await contentOf(admin)).toEqual(before)

    expect(await backend.heads([contextId, 'other'])).toEqual([number === 0 ? noHead : base, other.head])
    expect((await backend.list(listAll)).map((item) => item.contextId)).toContain('other')
    await store(backend, { contextId: 'other', base: other.head })
    await admin.del(...keys)
    await store(backend, { members: [{ stream: at(1) }] })
  },
)

test('F9: a locks key of another type makes what looks at locks fail whole, and nothing else', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.set(keys[5], 'x')
  const before = await contentOf(admin)
  const request = { contextId, key: 'k', hold: 'h', holder: author, ttlMs: 1_000, extend: false, now: startAt }
  const batch = batchOf({ base, members: [{ stream: at(1) }] })
  const demanding = { ...batch, members: batch.members.map((member) => ({ ...member, locks: [{ key: 'k', token: null }] })) }
  const calls = [
    () => backend.lock(request),
    () => backend.unlock(contextId, 'k', 'h', startAt),
    () => backend.locks(contextId, startAt),
    () => backend.commit(demanding),
  ]
  for (const call of calls) {
    expect(await errorOf(call())).toMatchObject({ code: 'backend_unavailable', message: expect.stringContaining('damaged') })
  }
  expect(await contentOf(admin)).toEqual(before)
  await store(backend, { base })
  await admin.del(keys[5])
  expect(await backend.lock(request)).toMatchObject({ type: 'held' })
})

test.each(names.index.map((_key, number) => number))(
  'F9: a key of the index of another type (number %i) is an error to creations and lists or none, and nothing is half created',
  async (number) => {
    const { server, admin } = await redisFor()
    const backend = await opened(server.url)
    const { head: base } = await store(backend)
    await admin.del(names.index[number]!)
    await admin.set(names.index[number]!, 'x')
    const created = await backend.commit(batchOf({ contextId: 'new' })).catch((error: unknown) => error)
    const isError = created instanceof Error
    expect(created).toMatchObject(isError ? { code: 'backend_unavailable' } : { type: 'committed' })
    expect((await backend.load('new')) === null).toBe(isError)
    const calls = [backend.list(listAll), backend.stale(startAt + 1, 10), backend.prunable({ before: startAt, maxVersions: 0, limit: 10 })]
    for (const result of await Promise.allSettled(calls)) {
      const refused = result.status === 'rejected' ? [result.reason as Error] : []
      for (const error of refused) expect(error).toMatchObject({ code: 'backend_unavailable' })
    }
    // What is there is read and written as before.
    const { head } = await store(backend, { base, members: [{ stream: at(1) }] })
    expect(await backend.heads([contextId])).toEqual([head])
    await admin.del(names.index[number]!)
    await store(backend, { contextId: 'later' })
    expect((await backend.list(listAll)).map((item) => item.contextId)).toContain('later')
  },
)

test('F12: parts of a context that do not fit together are an error until they do, and nothing is written on them', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const [, second] = await storeMany(backend, 2)
  const log = await admin.dumpBuffer(keys[2])
  await admin.rpop(keys[2])
  const before = await contentOf(admin)
  const calls = [
    backend.commit(batchOf({ base: second!.head })),
    backend.load(contextId),
    backend.log(contextId, 0),
    backend.sync(queryOf()),
  ]
  for (const error of await Promise.all(calls.map(errorOf))) {
    expect(error).toMatchObject({ code: 'backend_unavailable', message: expect.stringContaining('do not fit') })
  }
  expect(await contentOf(admin)).toEqual(before)
  await admin.restore(keys[2], 0, log!, 'REPLACE')
  await store(backend, { base: second!.head })
})

test.each([
  ['row', 0],
  ['snapshot', 1],
  ['log', 2],
] as const)('F12, G7: a context that has lost its %s is gone, and is created anew in another incarnation', async (_name, number) => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const [, , third] = await storeMany(backend, 3, { pad: 700 })
  await admin.del(keys[number])
  expect(await backend.load(contextId)).toBe(null)
  expect(await backend.log(contextId, 0)).toEqual([])
  expect(await synced(backend, { head: third!.head })).toMatchObject({ row: null, way: 'same' })
  expect(await backend.commit(batchOf({ base: third!.head }))).toEqual({ type: 'conflict', head: noHead, missed: null })
  const size = batchOf().entries[0]!.text.length
  const again = await store(backend, { members: [{}, {}, {}, {}], retention: { hardSize: 2 * size + 20 } })
  const next = await store(backend, { base: again.head })
  expect(await backend.log(contextId, 0)).toEqual([...again.entries.slice(2), ...next.entries])
  expect((await backend.load(contextId))!.snapshot).toBe(stateAt(4))
})

test('F12: a context whose log is lost, but not its state, goes on without history', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{}, {}] })
  await admin.del(keys[2])
  expect(await backend.load(contextId)).toMatchObject({ snapshot: stateAt(2), row: { head: first.head, firstVersion: 3, logSize: 0 } })
  const next = await store(backend, { base: first.head })
  expect(await backend.log(contextId, 0)).toEqual(next.entries)
  expect(await synced(backend, { head: { ...first.head, version: 1 } })).toMatchObject({ way: 'stored', rolledBack: false })
})

test('F12: a context that has lost its records keeps its state; who was told of later numbers is fenced, and nothing is stored twice', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{ stream: at(1) }, { stream: at(2) }] })
  await admin.del(keys[3])
  const repeat = batchOf({ base: first.head, members: [{ stream: at(2) }] })
  expect(await backend.commit(repeat)).toMatchObject({ type: 'members', answers: [{ answer: { type: 'gap' } }] })
  const answer = await synced(backend, { head: first.head, stream: { told: 2, settled: 2 } })
  expect(answer).toMatchObject({ way: 'same', rolledBack: false, record: { epoch: 1, last: 2 }, before: { epoch: 0, last: 0 } })
  await store(backend, { base: first.head, members: [{ stream: at(3, { epoch: 1 }) }] })
  expect(await backend.log(contextId, 0)).toHaveLength(3)
})

test.each([
  ['the times of its records', 4],
  ['its locks', 5],
] as const)('F12: a context that has lost %s keeps its state, its log and its records', async (_what, number) => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{ stream: at(1) }] })
  const request = { contextId, key: 'k', hold: 'h', holder: author, ttlMs: 60_000, extend: false, now: startAt }
  const held = await backend.lock(request)
  await admin.del(keys[number])
  expect((await recordOf(backend)).last).toBe(1)
  const next = await store(backend, { base: first.head, members: [{ stream: at(2) }] })
  expect(await backend.log(contextId, 0)).toEqual([...first.entries, ...next.entries])
  // A token is never given twice, also where nobody knows the last one.
  const again = await backend.lock({ ...request, hold: 'other', now: startAt + 1_000 })
  const expected = number === 5 ? { type: 'held', lock: { token: startAt + 1_000 } } : { type: 'locked', by: { token: startAt } }
  expect(again).toMatchObject(expected)
  expect(held).toMatchObject({ type: 'held', lock: { token: startAt } })
})

test('F12: a context whose keys all expire is gone, and one that is created in its place is another', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{ stream: at(1) }] })
  for (const key of keys) await admin.pexpire(key, 1)
  await until(async () => (await admin.exists(...keys)) === 0)
  expect(await synced(backend, { head: first.head, stream: { told: 1 } })).toMatchObject({ row: null, record: { epoch: 1 } })
  expect(await backend.commit(batchOf({ base: first.head }))).toMatchObject({ type: 'conflict', head: noHead })
  const again = await store(backend)
  expect(again.head.incarnation).not.toBe(first.head.incarnation)
})

test('F12: an index that has lost everything is made again by what is written, and contexts are read meanwhile', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.del(...names.index)
  expect(await backend.heads([contextId])).toEqual([base])
  expect(await backend.list(listAll)).toEqual([])
  await store(backend, { base, snapshot: true })
  await until(async () => (await backend.list(listAll)).length === 1)
})

test('an entry may leave the log once it is older than the time given, not when it is as old', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend)
  const second = await store(backend, { base: first.head, snapshot: true, retention: { softSize: 1, before: startAt } })
  expect(await backend.log(contextId, 0)).toEqual([...first.entries, ...second.entries])
  const third = await store(backend, {
    base: second.head,
    now: startAt + 1,
    snapshot: true,
    retention: { softSize: 1, before: startAt + 1 },
  })
  expect(await backend.log(contextId, 0)).toEqual(third.entries)
})

test('P14: an old record that is used again stays', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{ stream: at(1) }, { stream: at(1, { key: 'unused' }) }] })
  const now = startAt + 30 * 86_400_000
  await store(backend, { base: first.head, now, members: [{ stream: at(2, { mintedAt: now }) }] })
  expect((await recordOf(backend)).last).toBe(2)
  expect((await recordOf(backend, { key: 'unused' })).last).toBe(0)
})

test('P14: what is left of an absent context expires with its records, and of a living one nothing', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const lives = (): Promise<number[]> => Promise.all(keys.map((key) => admin.pttl(key)))
  const dayMs = 86_400_000
  const expectExpiry = async (): Promise<void> => {
    for (const life of (await lives()).filter((ms) => ms !== -2)) expect(Math.abs(life - (10 * 3_600_000 + dayMs))).toBeLessThan(60_000)
  }
  await synced(backend, { stream: { epoch: 1 } })
  expect((await lives()).filter((ms) => ms !== -2)).toHaveLength(2)
  await expectExpiry()
  const first = await store(backend, { members: [{ stream: at(1, { epoch: 2 }) }] })
  expect(await lives()).toEqual([-1, -1, -1, -1, -1, -2])
  const removed = await store(backend, { base: first.head, remove: true, members: [{ stream: at(2, { epoch: 2 }) }] })
  expect((await lives()).filter((ms) => ms !== -2)).toHaveLength(3)
  await expectExpiry()
  await store(backend, { base: removed.head })
  expect(await lives()).toEqual([-1, -1, -1, -1, -1, -2])
  expect((await recordOf(backend, { epoch: 2 })).last).toBe(2)
})
