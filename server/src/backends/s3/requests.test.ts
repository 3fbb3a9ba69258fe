import { afterAll, beforeAll, expect, test } from 'vitest'
import { bucket, freshPrefix, opened, proxied } from '../../../support/s3-store.ts'
import type { S3Proxy } from '../../../support/s3-proxy.ts'
import { at, author, batchOf, contextId, everything, queryOf, sessionTtlMs, startAt, store, storeMany } from '../../testing/contract/kit.ts'
import { recordGraceMs } from '../../commits/commit-step.ts'
import { startS3Server } from '../../testing/s3-server.ts'
import type { S3Server } from '../../testing/s3-server.ts'
import type { LockRequest } from '../backend.ts'
import type { S3Backend } from '../s3.ts'
import { Bucket } from './bucket.ts'
import type { S3Timing } from './context-objects.ts'

let server: S3Server
beforeAll(async () => {
  server = await startS3Server()
  await server.createBucket(bucket)
})
afterAll(() => server.stop())

/** A backend behind a proxy that counts, and another beside it, on a store of their own. */
async function counted(timing: Partial<S3Timing> = {}): Promise<{ proxy: S3Proxy; backend: S3Backend; other: S3Backend; prefix: string }> {
  const prefix = freshPrefix()
  const proxy = await proxied(server)
  const backend = await opened(server, prefix, { endpoint: proxy.endpoint, timing })
  return { proxy, backend, other: await opened(server, prefix), prefix }
}

/** The store's answers to what a call asks. */
async function answersOf(proxy: S3Proxy, call: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = { ...proxy.answers }
  await call()
  return Object.fromEntries(
    Object.entries(proxy.answers)
      .map(([answer, count]) => [answer, count - (before[answer] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  )
}

const listAll = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const
const lockOf = (key: string, more: Partial<LockRequest> = {}): LockRequest => {
  return { contextId, key, hold: `hold-${key}`, holder: author, ttlMs: 60_000, extend: false, now: startAt, ...more }
}

test('a commit is one write, with one read more when nothing is known of the context or another has written', async () => {
  const { proxy, backend, other } = await counted()
  let head = batchOf().base
  const commit = async (): Promise<void> => void ({ head } = await store(backend, { base: head, members: [{}, {}, {}] }))
  expect(await answersOf(proxy, commit)).toEqual({ 'GET 404': 1, 'PUT 200': 1 })
  expect(await answersOf(proxy, commit)).toEqual({ 'PUT 200': 1 })
  const theirs = await store(other, { base: head })
  const late = batchOf({ base: head })
  expect(await answersOf(proxy, () => backend.commit(late))).toEqual({ 'PUT 412': 1, 'GET 200': 1 })
  head = theirs.head
  expect(await answersOf(proxy, commit)).toEqual({ 'PUT 200': 1 })
  // Another's write that leaves the head where it is: the batch is written on top of it.
  await other.lock(lockOf('a'))
  expect(await answersOf(proxy, commit)).toEqual({ 'PUT 412': 1, 'GET 200': 1, 'PUT 200': 1 })
})

test('a read is one request, without the object when it has not changed', async () => {
  const { proxy, backend, other } = await counted()
  const { head } = await store(other, { statePad: 100_000 })
  expect(await answersOf(proxy, () => backend.load(contextId))).toEqual({ 'GET 200': 1 })
  const unchanged = [
    () => backend.load(contextId),
    () => backend.log(contextId, 0),
    () => backend.heads([contextId]),
    () => backend.sync(queryOf()),
    () => backend.locks(contextId, startAt),
    () => backend.commit(batchOf()),
  ]
  for (const call of unchanged) expect(await answersOf(proxy, call)).toEqual({ 'GET 304': 1 })
  await store(other, { base: head })
  expect(await answersOf(proxy, () => backend.heads([contextId]))).toEqual({ 'GET 200': 1 })
  expect(await answersOf(proxy, () => backend.load(contextId))).toEqual({ 'GET 304': 1 })
  expect(await answersOf(proxy, () => backend.heads(['unknown']))).toEqual({ 'GET 404': 1 })
})

test('the head of a context that is not in memory is read without its state', async () => {
  const { proxy, backend, other } = await counted({ cacheSize: 0 })
  const { head } = await store(other, { statePad: 100_000 })
  expect(await answersOf(proxy, async () => expect(await backend.heads([contextId])).toEqual([head]))).toEqual({ 'GET 206': 1 })
  const { head: next } = await store(backend, { base: head })
  expect(await backend.heads([contextId])).toEqual([next])
  expect(await everything(backend)).toEqual(await everything(other))
})

test('a list is a request for the names, and one for each context that has changed since the last', async () => {
  const { proxy, backend, other } = await counted()
  const heads = []
  for (let index = 0; index < 20; index += 1) heads.push((await store(other, { contextId: `c${index}` })).head)
  const list = (): Promise<unknown> => backend.list(listAll)
  expect(await answersOf(proxy, list)).toEqual({ 'GET 200': 1, 'GET 206': 20 })
  expect(await answersOf(proxy, list)).toEqual({ 'GET 200': 1 })
  await store(other, { contextId: 'c7', base: heads[7]! })
  await store(backend, { contextId: 'c8', base: heads[8]! })
  expect(await answersOf(proxy, list)).toEqual({ 'GET 200': 1, 'GET 206': 1 })
  expect(await backend.list(listAll)).toEqual(await other.list(listAll))
  expect(await answersOf(proxy, () => backend.stale(startAt + 1, 3))).toEqual({ 'GET 200': 1 })
})

test('a list that is cut does not look at what is beyond, and goes over pages', async () => {
  const { proxy, backend, other } = await counted()
  const ids = Array.from({ length: 140 }, (_, index) => `c${String(index).padStart(3, '0')}`)
  await Promise.all(ids.map((id) => store(other, { contextId: id })))
  const idsOf = async (cut: object): Promise<string[]> => (await backend.list({ ...listAll, ...cut })).map((listed) => listed.contextId)
  expect(await answersOf(proxy, async () => expect(await idsOf({ limit: 5 })).toEqual(ids.slice(0, 5)))).toEqual({
    'GET 200': 1,
    'GET 206': 16,
  })
  const desc = async (): Promise<void> => expect(await idsOf({ limit: 5, order: 'desc' })).toEqual(ids.toReversed().slice(0, 5))
  expect(await answersOf(proxy, desc)).toEqual({ 'GET 200': 1, 'GET 206': 16 })
  for (const gone of ids.slice(0, 90)) await store(other, { contextId: gone, base: (await other.heads([gone]))[0]!, remove: true })
  expect(await answersOf(proxy, async () => expect(await idsOf({ limit: 20, offset: 1 })).toEqual(ids.slice(91, 111)))).toMatchObject({
    'GET 200': 2,
  })
})

test('calls on one context that come while a write is under way share the next one, and are each answered', async () => {
  const { proxy, backend } = await counted()
  const { head: base } = await store(backend)
  const keys = Array.from({ length: 30 }, (_, index) => `key${String(index).padStart(2, '0')}`)
  const answers = await answersOf(proxy, async () => {
    const locks = keys.map((key) => backend.lock(lockOf(key)))
    const batch = backend.commit(batchOf({ base, members: [{ stream: at(1) }] }))
    const conflict = backend.commit(batchOf({ base }))
    const broken = backend.commit({ ...batchOf({ base }), members: null as never }).catch((error: unknown) => error)
    const tokens = (await Promise.all(locks)).map((result) => (result.type === 'held' ? result.lock.token : 0))
    expect(tokens).toEqual(keys.map((_, index) => startAt + index))
    expect(await batch).toEqual({ type: 'committed' })
    expect(await conflict).toMatchObject({ type: 'conflict' })
    expect(await broken).toBeInstanceOf(TypeError)
  })
  expect(answers).toEqual({ 'PUT 200': 2 })
  expect(await backend.locks(contextId, startAt)).toHaveLength(keys.length)
})

test('a lock, its extension and its release are one write each, one that is held one read; so is a touch a write', async () => {
  const { proxy, backend, other } = await counted()
  await store(backend)
  expect(await answersOf(proxy, () => backend.lock(lockOf('a')))).toEqual({ 'PUT 200': 1 })
  expect(await answersOf(proxy, () => backend.lock(lockOf('a', { extend: true, ttlMs: 90_000 })))).toEqual({ 'PUT 200': 1 })
  // As a node asks that does not lead.
  expect(await answersOf(proxy, () => backend.lock(lockOf('a', { hold: 'other' })))).toEqual({ 'GET 304': 1 })
  expect(await answersOf(proxy, () => backend.unlock(contextId, 'a', 'hold-a', startAt))).toEqual({ 'PUT 200': 1 })
  expect(await answersOf(proxy, () => backend.touch([contextId, 'unknown'], startAt + 5))).toEqual({ 'PUT 200': 1, 'GET 404': 1 })
  expect(await other.stale(startAt + 6, 1)).toMatchObject([{ contextId }])
})

test('opening is 5 to 8 requests', async () => {
  const proxy = await proxied(server)
  const prefix = freshPrefix()
  for (const conditions of ['as they are', 'in quotes'] as const) {
    proxy.conditions = conditions
    // First an empty prefix, then one that is marked already.
    for (const place of [`${prefix}${conditions.length}/`, `${prefix}${conditions.length}/`]) {
      const requests = await answersOf(proxy, () => opened(server, place, { endpoint: proxy.endpoint }))
      const count = Object.values(requests).reduce((sum, each) => sum + each, 0)
      expect(count).toBeGreaterThanOrEqual(5)
      expect(count).toBeLessThanOrEqual(8)
    }
  }
})

test('objects that have lost their metadata are read instead', async () => {
  const { backend, other, prefix } = await counted()
  const [, second] = await storeMany(other, 2)
  const objects = new Bucket(`${server.endpoint}/${bucket}`, 'us-east-1', server.keys, 2_000)
  objects.quotes = false
  const name = `${prefix}contexts/${contextId}`
  const object = await objects.read(name, null)
  if (object === null || object === 'same') throw new Error('There is no object.')
  await objects.write(name, object.etag, `${object.body} `, '')
  expect(await backend.heads([contextId])).toEqual([second!.head])
  expect(await backend.list(listAll)).toMatchObject([{ contextId, version: 2 }])
  expect(await everything(backend)).toEqual(await everything(other))
})

test('what is deleted leaves a small object; a store that looks at the condition of a DELETE removes it when its records are past their time', async () => {
  const { proxy, backend, prefix } = await counted()
  const objects = new Bucket(`${server.endpoint}/${bucket}`, 'us-east-1', server.keys, 2_000)
  const namesLeft = async (): Promise<string[]> =>
    (await objects.list(`${prefix}contexts/`, null, 100)).objects.map(({ name }) => name.split('/').at(-1)!)
  for (const id of ['gone', 'again', 'living']) await store(backend, { contextId: id, members: [{ stream: at(1) }], statePad: 10_000 })
  for (const id of ['gone', 'again']) await store(backend, { contextId: id, base: (await backend.heads([id]))[0]!, remove: true })
  const tombstone = await objects.read(`${prefix}contexts/gone`, null)
  expect((tombstone as { body: string }).body.length).toBeLessThan(700)
  const due = startAt + sessionTtlMs + recordGraceMs + 1
  expect(await backend.expireRecords(due, sessionTtlMs)).toBe(0)
  expect(await namesLeft()).toEqual(['again', 'gone', 'living'])

  proxy.conditions = 'of DELETE too'
  const able = await opened(server, prefix, { endpoint: proxy.endpoint })
  expect(await able.expireRecords(startAt, sessionTtlMs)).toBe(0)
  // One is created again between the look at it and its end.
  proxy.fault = ({ method, name }) => {
    if (method !== 'DELETE' || !name.endsWith('/again')) return null
    return { type: 'late', until: () => backend.heads(['again']).then(([base]) => store(backend, { contextId: 'again', base: base! })) }
  }
  expect(await able.expireRecords(due, sessionTtlMs)).toBe(1)
  expect(await namesLeft()).toEqual(['again', 'living'])
  expect(await able.heads(['again', 'living', 'gone'])).toMatchObject([{ version: 1 }, { version: 1 }, { version: 0, revision: '' }])
  expect((await objects.list(`${prefix}probe`, null, 1)).objects).toEqual([])
})
