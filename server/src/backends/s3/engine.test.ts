import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import type { S3Fault } from '../../../support/s3-proxy.ts'
import { bucket, freshPrefix, opened, proxied } from '../../../support/s3-store.ts'
import { createContexts } from '../../contexts/contexts.ts'
import type { Contexts } from '../../contexts/contexts-types.ts'
import { startS3Server } from '../../testing/s3-server.ts'
import type { S3Server } from '../../testing/s3-server.ts'
import { FakeClock } from '../../testing/fake-clock.ts'
import { s3Backend } from '../s3.ts'
import type { S3Timing } from './context-objects.ts'

let server: S3Server
beforeAll(async () => {
  server = await startS3Server()
  await server.createBucket(bucket)
})
afterAll(() => server.stop())

interface Board {
  count: number
}

async function engineAt(prefix: string, timing: Partial<S3Timing> = {}, endpoint = server.endpoint): Promise<Contexts> {
  const contexts = createContexts({ backend: await opened(server, prefix, { endpoint, timing }) })
  onTestFinished(() => contexts.close())
  return contexts
}

test('the beacon of a bucket is its own: 15 s', () => {
  expect(s3Backend({ bucket, endpoint: server.endpoint }).publishing).toEqual({ type: 'beacon', intervalMs: 15_000 })
})

test('G5: engines on one bucket see what each other commit, delete and create again: when they write at once, else at the beacon', async () => {
  const prefix = freshPrefix()
  const [one, two] = [await engineAt(prefix, { beaconMs: 100 }), await engineAt(prefix, { beaconMs: 100 })]
  const seen: number[] = []
  const heard = new Map<number, () => void>()
  const reached = (count: number): Promise<void> => new Promise((resolve) => (seen.includes(count) ? resolve() : heard.set(count, resolve)))
  const stop = two.subscribe('board:1', (_, { state }) => {
    const { count } = state as object as Board
    seen.push(count)
    heard.get(count)?.()
  })
  await one.set('board:1', { count: 1 })
  await reached(1)
  await one.update('board:1', { count: 2 })
  await reached(2)
  await two.update('board:1', { by: { two: 1 } })
  await one.update('board:1', { by: { one: 1 } })
  expect(await one.get('board:1')).toMatchObject({ version: 4, state: { count: 2, by: { one: 1, two: 1 } } })
  await one.delete('board:1')
  await one.set('board:1', { count: 7 })
  await reached(7)
  expect(await two.get('board:1')).toEqual(await one.get('board:1'))
  stop()
})

test('a batch of many commits is one write', async () => {
  const proxy = await proxied(server)
  const contexts = await engineAt(freshPrefix(), {}, proxy.endpoint)
  await contexts.set('board:1', { count: 0 })
  const before = proxy.answers['PUT 200'] ?? 0
  await Promise.all(Array.from({ length: 100 }, (_, index) => contexts.update('board:1', { by: { [`w${index}`]: index } })))
  expect((proxy.answers['PUT 200'] ?? 0) - before).toBeLessThanOrEqual(2)
  expect(await contexts.get('board:1')).toMatchObject({ version: 101 })
})

test('F29: a lock on a bucket is held by one, over engines, and who lost it writes no more under it', async () => {
  const prefix = freshPrefix()
  const [one, two] = [await engineAt(prefix), await engineAt(prefix)]
  await one.set('board:1', { count: 0 })
  const lock = await one.lock('board:1', 'turn')
  await expect(two.lock('board:1', 'turn', { maxRetries: 0 })).rejects.toMatchObject({ code: 'locked' })
  await one.update('board:1', { count: 1 }, { lock })
  await lock.release()
  const next = await two.lock('board:1', 'turn')
  expect(next.token).toBeGreaterThan(lock.token)
  await expect(one.update('board:1', { count: 2 }, { lock })).rejects.toMatchObject({ code: 'locked' })
  await two.update('board:1', { count: 3 }, { lock: next })
  await next.release()
  expect(await one.get('board:1')).toMatchObject({ version: 3, state: { count: 3 } })
})

test('F28: nodes whose clocks are hours apart lose and double nothing; a lock that one of them takes too early ends the rights of the other', async () => {
  const prefix = freshPrefix()
  const [early, late] = await Promise.all(
    [-3, 3].map(async (hours) => {
      const contexts = createContexts({ backend: await opened(server, prefix), clock: new FakeClock(Date.now() + hours * 3_600_000) })
      onTestFinished(() => contexts.close())
      return contexts
    }),
  )
  await late!.set('board:1', { count: 0, by: {} })
  const writing = [early!, late!].flatMap((contexts, node) =>
    [1, 2, 3, 4].map((n) =>
      contexts.apply('board:1', [
        { type: 'increment', path: ['count'], by: 1 },
        { type: 'set', path: ['by', `${node}-${n}`], value: n },
      ]),
    ),
  )
  await Promise.all(writing)
  expect(await early!.get('board:1')).toMatchObject({ version: 9, state: { count: 8 } })
  const lock = await early!.lock('board:1', 'turn', { ttlMs: 60_000 })
  // Six hours later by its own clock.
  const next = await late!.lock('board:1', 'turn', { maxRetries: 0 })
  expect(next.token).toBeGreaterThan(lock.token)
  await expect(early!.update('board:1', { count: -1 }, { lock })).rejects.toMatchObject({ code: 'locked' })
  await late!.update('board:1', { count: 10 }, { lock: next })
  // Here the lease that the other has given seems to last for hours: tokens grow all the same.
  await next.release()
  const last = await early!.lock('board:1', 'turn', { maxRetries: 0 })
  expect(last.token).toBeGreaterThan(next.token)
  expect(await early!.get('board:1')).toMatchObject({ version: 10, state: { count: 10 } })
})

test('F2: a context whose restore was not answered is back, once, for everybody who asks for it first', async () => {
  const prefix = freshPrefix()
  const proxy = await proxied(server)
  const archive = { export: () => {}, restore: (contextId: string) => ({ version: 7, state: { contextId } }) }
  const nodes = await Promise.all(
    [proxy.endpoint, server.endpoint].map(async (endpoint) => {
      const contexts = createContexts({ backend: await opened(server, prefix, { endpoint }), archive })
      onTestFinished(() => contexts.close())
      return contexts
    }),
  )
  // The write is done and not answered, and another has written when the object is read again.
  const lost: S3Fault[] = [{ type: 'lost' }, { type: 'late', until: () => nodes[1]!.update('board:1', { more: 1 }) }]
  proxy.fault = ({ method }) => (method === 'PUT' ? (lost.shift() ?? null) : null)
  expect(await nodes[0]!.get('board:1')).toMatchObject({ version: 8, state: { contextId: 'board:1', more: 1 } })
  expect(lost).toEqual([])
  expect(await nodes[1]!.get('board:1')).toEqual(await nodes[0]!.get('board:1'))
})
