import { inspect } from 'node:util'
import { ContextdError } from '@contextd/protocol'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { bucket, freshPrefix, opened, proxied } from '../../../support/s3-store.ts'
import type { S3Fault, S3Proxy } from '../../../support/s3-proxy.ts'
import { until } from '../../../support/until.ts'
import {
  at,
  author,
  batchOf,
  contextId,
  entriesOf,
  everything,
  queryOf,
  startAt,
  store,
  storeMany,
  synced,
} from '../../testing/contract/kit.ts'
import { startS3Server } from '../../testing/s3-server.ts'
import type { S3Server } from '../../testing/s3-server.ts'
import { noHead } from '../backend.ts'
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

const lock: LockRequest = { contextId, key: 'a', hold: 'hold-1', holder: author, ttlMs: 60_000, extend: false, now: startAt }

/** A backend behind a proxy, and another beside it, on a store of their own. */
async function pair(timing: Partial<S3Timing> = {}): Promise<{ proxy: S3Proxy; backend: S3Backend; other: S3Backend; prefix: string }> {
  const prefix = freshPrefix()
  const proxy = await proxied(server)
  const backend = await opened(server, prefix, { endpoint: proxy.endpoint, timing })
  return { proxy, backend, other: await opened(server, prefix), prefix }
}

/** The error of a call: without a word of where the store is, of what was sent, and of what the store wrote. */
async function errorOf(call: Promise<unknown>): Promise<ContextdError> {
  const error: unknown = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ContextdError)
  for (const secret of ['testsecret', 'AWS4-HMAC', '127.0.0.1', '10.0.0.7']) expect(inspect(error, { depth: 9 })).not.toContain(secret)
  return error as ContextdError
}

const unavailable = (message: RegExp): object =>
  expect.objectContaining({ code: 'backend_unavailable', retryable: true, message: expect.stringMatching(message) })
const unknown = expect.objectContaining({ code: 'timeout', details: { outcome: 'unknown' } })
const isPut = ({ method }: { readonly method: string }): boolean => method === 'PUT'

/** Faults for the first writes, in their order; then none. */
function failPuts(proxy: S3Proxy, ...faults: S3Fault[]): void {
  proxy.fault = (passing) => (isPut(passing) ? (faults.shift() ?? null) : null)
}

test.each<[string, S3Fault]>([
  ['was lost', { type: 'lost' }],
  ['never came', { type: 'cut' }],
  ['was 500', { type: 'answer', status: 500, code: 'InternalError' }],
  ['was 503', { type: 'answer', status: 503, code: 'SlowDown' }],
  ['was 409', { type: 'answer', status: 409, code: 'ConditionalRequestConflict' }],
  ['was 404', { type: 'answer', status: 404, code: 'NoSuchKey' }],
  ['was 400, for a body that was damaged on its way', { type: 'answer', status: 400, code: 'XAmzContentSHA256Mismatch' }],
])('F2, G3: a write whose answer %s is stored once, and told so', async (_what, fault) => {
  const { proxy, backend, other } = await pair()
  failPuts(proxy, fault)
  const first = await store(backend, { members: [{ stream: at(1) }, {}] })
  failPuts(proxy, fault)
  const second = await store(backend, { base: first.head, members: [{}] })
  failPuts(proxy, fault)
  const fenced = await synced(backend, { stream: { epoch: 4 } })
  expect(fenced.record.epoch).toBe(5)
  failPuts(proxy, fault)
  expect(await backend.lock(lock)).toMatchObject({ type: 'held', lock: { token: startAt } })
  failPuts(proxy, fault)
  expect(await backend.unlock(contextId, 'a', 'hold-1', startAt)).toBe(true)
  proxy.fault = () => null
  expect(await everything(other)).toMatchObject({ heads: [second.head], log: entriesOf([first, second]) })
  expect(await everything(backend)).toEqual(await everything(other))
})

test('G3, P7: a write whose answer was lost, and that others have written after, is found in what was missed', async () => {
  const { proxy, backend, other } = await pair()
  const [, second] = await storeMany(backend, 2)
  const mine = batchOf({ base: second!.head })
  let theirs = batchOf({ base: mine.head })
  const others = async (): Promise<void> => void (theirs = await store(other, { base: mine.head }))
  failPuts(proxy, { type: 'lost' }, { type: 'late', until: others })
  const result = await backend.commit(mine)
  expect(result).toEqual({ type: 'conflict', head: theirs.head, missed: entriesOf([mine, theirs]) })
})

test('a write whose answer was lost, and that cannot be found any more, is told as unknown', async () => {
  const { proxy, backend, other } = await pair()
  const { head: base } = await store(backend)
  const mine = batchOf({ base })
  const others = (): Promise<unknown> => store(other, { base: mine.head, snapshot: true, retention: { maxVersions: 1 } })
  failPuts(proxy, { type: 'lost' }, { type: 'late', until: others })
  expect(await errorOf(backend.commit(mine))).toEqual(unknown)
  expect(await backend.commit(mine)).toMatchObject({ type: 'conflict', missed: null })
})

test('G3, P6: a write of which nothing is heard is unknown; the same batch again is stored once, also when the first comes late', async () => {
  const { proxy, backend, other } = await pair({ requestMs: 700, patienceMs: 800 })
  const { head: base } = await store(backend)
  const batch = batchOf({ base, members: [{ stream: at(1) }, {}] })
  const free: (() => void)[] = []
  const late: S3Fault = { type: 'late', until: () => new Promise<void>((resolve) => free.push(resolve)) }
  proxy.fault = (passing) => (isPut(passing) ? late : null)
  expect(await errorOf(backend.commit(batch))).toEqual(unknown)
  expect(await everything(other)).toMatchObject({ heads: [base] })
  proxy.fault = () => null
  expect(await backend.commit(batch)).toEqual({ type: 'committed' })
  const before = await everything(other)
  const { length } = free
  for (const each of free) each()
  await until(() => (proxy.answers['PUT 412'] ?? 0) >= length)
  expect(await everything(other)).toEqual(before)
  expect(before).toMatchObject({ heads: [batch.head] })
})

test('F29: a late write of an outcome that was unknown is stored when nobody has written since, and known by the next try', async () => {
  const { proxy, backend, other } = await pair({ patienceMs: 300 })
  const { head: base } = await store(backend)
  const batch = batchOf({ base, members: [{ stream: at(1) }] })
  failPuts(proxy, { type: 'lost' }, ...Array.from({ length: 99 }, (): S3Fault => ({ type: 'cut' })))
  expect(await errorOf(backend.commit(batch))).toEqual(unknown)
  expect(await other.heads([contextId])).toEqual([batch.head])
  proxy.fault = () => null
  expect(await backend.commit(batch)).toMatchObject({
    type: 'members',
    answers: [{ answer: { type: 'repeat', verdict: batch.members[0]!.verdict } }],
  })
})

test('a store that asks to slow down for long is unavailable: nothing is written', async () => {
  const { proxy, backend, other } = await pair({ patienceMs: 200 })
  const { head: base } = await store(backend)
  proxy.fault = () => ({ type: 'answer', status: 503, code: 'SlowDown' })
  expect(await errorOf(backend.commit(batchOf({ base })))).toEqual(unavailable(/asks us to slow down\. Nothing was written/))
  expect(await errorOf(backend.load(contextId))).toEqual(unavailable(/slow down\. Try again/))
  proxy.fault = () => null
  expect(await other.heads([contextId])).toEqual([base])
  await store(backend, { base })
})

test('requests are made again after a random part of a time that grows, so that nodes do not keep step', async () => {
  const { proxy, backend } = await pair({ patienceMs: 300, pauseMs: 10_000 })
  const { head: base } = await store(backend)
  let asked = 0
  proxy.fault = () => {
    asked += 1
    return { type: 'answer', status: 503, code: 'SlowDown' }
  }
  const random = vi.spyOn(Math, 'random')
  onTestFinished(() => random.mockRestore())
  const triesAt = async (part: number, call: () => Promise<unknown>): Promise<number> => {
    random.mockReturnValue(part)
    asked = 0
    await errorOf(call())
    return asked
  }
  for (const call of [() => backend.load(contextId), () => backend.commit(batchOf({ base }))]) {
    // 10, 20, 40, 80, 160 ms: the fifth is beyond the patience, the sixth request the last.
    const longest = await triesAt(0.999, call)
    expect(longest).toBeGreaterThan(2)
    expect(longest).toBeLessThanOrEqual(7)
    expect(await triesAt(0, call)).toBeGreaterThan(longest)
  }
})

test('a store that fails for long has perhaps written', async () => {
  const { proxy, backend } = await pair({ patienceMs: 200 })
  const { head: base } = await store(backend)
  proxy.fault = () => ({ type: 'answer', status: 500, code: 'InternalError' })
  expect(await errorOf(backend.commit(batchOf({ base })))).toEqual(unknown)
  expect(await errorOf(backend.load(contextId))).toEqual(unavailable(/The store failed \(500\)\. Try again/))
})

test.each([
  [403, 'AccessDenied', /does not allow its user what is needed/],
  [403, 'ExpiredToken', /session token for the store has expired/],
  [404, 'NoSuchBucket', /bucket of the store is gone/],
  [301, 'PermanentRedirect', /The store failed \(301\)/],
])('an answer of %i %s is told at once', async (status, code, message) => {
  const { proxy, backend } = await pair({ patienceMs: 60_000 })
  const { head: base } = await store(backend)
  proxy.fault = () => ({ type: 'answer', status, code })
  expect(await errorOf(backend.commit(batchOf({ base })))).toEqual(unavailable(message))
  const calls = [
    () => backend.load(contextId),
    () => backend.heads([contextId, 'b']),
    () => backend.list(everyContext),
    () => backend.sync(queryOf()),
  ]
  for (const call of calls) expect(await errorOf(call())).toEqual(unavailable(message))
})
const everyContext = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

test.each<S3Fault>([{ type: 'cut' }, { type: 'answer', status: 500, code: 'InternalError' }])(
  'reads are tried again after %o',
  async (fault) => {
    const { proxy, backend, other } = await pair()
    await store(other, { members: [{ stream: at(1) }, {}] })
    const expected = await everything(other)
    proxy.failNext('GET', fault, 2)
    expect(await backend.heads([contextId])).toEqual([(expected as { heads: unknown[] }).heads[0]])
    proxy.failNext('GET', fault, 2)
    expect(await everything(backend)).toEqual(expected)
    proxy.failNext('GET', fault, 2)
    expect(await backend.list(everyContext)).toHaveLength(1)
  },
)

test('F18: a store that hangs is unavailable for reads and unknown for writes; it is used again when it goes on', async () => {
  const { backend } = await pair({ requestMs: 700, patienceMs: 300 })
  const { head: base } = await store(backend)
  const batch = batchOf({ base })
  server.freeze()
  try {
    expect(await errorOf(backend.load(contextId))).toEqual(unavailable(/cannot be reached/))
    expect(await errorOf(backend.commit(batch))).toEqual(unknown)
  } finally {
    server.thaw()
  }
  // What was under way is done or not by now; the same batch finds out.
  await until(() =>
    backend.heads([contextId]).then(
      () => true,
      () => false,
    ),
  )
  const again = await backend.commit(batch)
  expect(again.type === 'committed' || (again.type === 'conflict' && again.head.revision === batch.head.revision)).toBe(true)
})

test('an object that is damaged is told, keeps others from nothing, and is not overwritten', async () => {
  const { backend, prefix } = await pair()
  const objects = new Bucket(`${server.endpoint}/${bucket}`, 'us-east-1', server.keys, 2_000)
  for (const [index, body] of ['{"contextd":', '[]', '{"contextd":2,"write":"x"}', 'null'].entries()) {
    await objects.write(`${prefix}contexts/damaged${index}`, null, body, '')
    const id = `damaged${index}`
    const calls = [
      () => backend.load(id),
      () => backend.commit(batchOf({ contextId: id })),
      () => backend.heads([id]),
      () => backend.sync(queryOf({ contextId: id })),
    ]
    for (const call of calls) expect(await errorOf(call())).toEqual(unavailable(/is damaged, or of a newer contextd/))
    expect(await objects.read(`${prefix}contexts/damaged${index}`, null)).toMatchObject({ body })
  }
  await store(backend)
  expect(await backend.heads([contextId])).not.toEqual([noHead])
})
