import { expect, test } from 'vitest'
import { contentOf, errorOf, opened, redisFor } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { author, batchOf, contextId, startAt, store } from '../../testing/contract/kit.ts'
import { noHead } from '../backend.ts'
import type { ContextBackend, LockRequest, LockResult } from '../backend.ts'
import { namesOf } from './keys.ts'

const locksKey = namesOf('contextd', 'contextd').locks(contextId)
const dayMs = 86_400_000

function take(backend: ContextBackend, request: Partial<LockRequest> = {}): Promise<LockResult> {
  return backend.lock({ contextId, key: 'k', hold: 'h', holder: author, ttlMs: 60_000, extend: false, now: startAt, ...request })
}

async function tokenOf(taken: Promise<LockResult>): Promise<number> {
  const result = await taken
  if (result.type !== 'held') throw new Error('The lock was not taken.')
  return result.lock.token
}

test('leases run by the clock of Redis, whatever the time of the node; tokens and begins are of the node', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const past = await take(backend, { key: 'past', now: 1_000 })
  const future = await take(backend, { key: 'future', now: startAt * 2 })
  expect([past, future]).toMatchObject([
    { type: 'held', lock: { token: 1_000, since: 1_000, remainingMs: 60_000 } },
    { type: 'held', lock: { token: startAt * 2, since: startAt * 2, remainingMs: 60_000 } },
  ])
  expect(await take(backend, { key: 'past', hold: 'other', now: startAt })).toMatchObject({ type: 'locked', by: { token: 1_000 } })
  await take(backend, { key: 'short', ttlMs: 1 })
  await until(async () => (await backend.locks(contextId, 0)).length === 2)
  expect((await backend.locks(contextId, 0)).map(({ key }) => key)).toEqual(['future', 'past'])
})

test('a lock key of another type fails what asks for locks, whole, and nothing else', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.set(locksKey, 'x')
  const before = await contentOf(admin)
  const demanding = batchOf({ base, members: [{ locks: [{ key: 'k', token: null }] }] })
  const calls = [take(backend), backend.unlock(contextId, 'k', 'h', startAt), backend.locks(contextId, startAt), backend.commit(demanding)]
  for (const error of await Promise.all(calls.map(errorOf))) {
    expect(error).toMatchObject({ code: 'backend_unavailable', message: expect.stringContaining('damaged') })
  }
  expect(await contentOf(admin)).toEqual(before)
  await store(backend, { base })
  await take(backend, { contextId: 'other' })
})

test('a hold whose lock key was evicted is over: its commits are refused, and the next hold has a higher token', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  const token = await tokenOf(take(backend))
  await admin.del(locksKey)
  const fenced = batchOf({ base, members: [{ locks: [{ key: 'k', token }] }] })
  expect(await backend.commit(fenced)).toEqual({ type: 'members', answers: [{ member: 0, answer: { type: 'locked', key: 'k' } }] })
  expect(await take(backend, { extend: true })).toEqual({ type: 'locked', by: null })
  expect(await tokenOf(take(backend, { hold: 'next', now: startAt + 1 }))).toBeGreaterThan(token)
  expect(await backend.commit(fenced)).toMatchObject({ type: 'members' })
})

test('a token grows also where the clock of the node has gone back, for a day after the last lease', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const token = await tokenOf(take(backend))
  await backend.unlock(contextId, 'k', 'h', startAt)
  expect(await admin.pttl(locksKey)).toBeGreaterThan(dayMs)
  expect(await admin.pttl(locksKey)).toBeLessThanOrEqual(dayMs + 60_000)
  await take(backend, { key: 'shorter', ttlMs: 1_000, now: 1 })
  expect(await admin.pttl(locksKey)).toBeGreaterThan(dayMs + 50_000)
  expect(await tokenOf(take(backend, { hold: 'later', now: startAt - 3_600_000 }))).toBe(token + 2)
})

test('locks whose lease is over are removed by those that come after, a few at a time', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await take(backend, { key: 'kept' })
  for (let number = 0; number < 200; number += 1) await take(backend, { key: `k${number}`, ttlMs: 1 })
  expect(await admin.hlen(locksKey)).toBeLessThan(100)
  await until(async () => {
    await take(backend, { key: 'again' })
    return (await admin.hlen(locksKey)) === 3
  })
  expect((await backend.locks(contextId, 0)).map(({ key }) => key)).toEqual(['again', 'kept'])
})

test('out of memory: no lock is taken, one that is held is given back', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await take(backend)
  await admin.config('SET', 'maxmemory', '1')
  const before = await contentOf(admin)
  expect(await errorOf(take(backend, { key: 'second' }))).toMatchObject({ code: 'backend_unavailable' })
  expect(await contentOf(admin)).toEqual(before)
  expect(await backend.unlock(contextId, 'k', 'h', startAt)).toBe(true)
  expect(await backend.locks(contextId, startAt)).toEqual([])
})

test('a holder and a hold may be any text', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const odd = ['', ' ', '1 2 3\n', 'é😀\u0000', '"}{', '#']
  for (const [index, text] of odd.entries()) {
    const holder = { userId: text, actor: text }
    const request = { key: `k${index}`, hold: text, holder }
    expect(await take(backend, request)).toMatchObject({ type: 'held', lock: { holder } })
    expect(await take(backend, { ...request, extend: true })).toMatchObject({ type: 'held', lock: { holder, since: startAt } })
    expect(await take(backend, { ...request, hold: `${text}.` })).toMatchObject({ type: 'locked', by: { holder } })
    expect(await backend.unlock(contextId, request.key, `${text}.`, startAt)).toBe(false)
    expect(await backend.unlock(contextId, request.key, text, startAt)).toBe(true)
  }
})

test('a batch may demand many locks, and is told of each that is not held as it demands', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const tokens = await Promise.all(
    Array.from({ length: 300 }, (_, index) => tokenOf(take(backend, { key: `k${index}`, hold: `h${index}` }))),
  )
  expect(new Set(tokens).size).toBe(300)
  const held = tokens.map((token, index) => ({ key: `k${index}`, token }))
  const members = Array.from({ length: 30 }, (_, member) => ({
    locks: [...held, { key: member === 7 ? 'k299' : 'free', token: null }, { key: 'k5', token: member === 9 ? tokens[4]! : tokens[5]! }],
  }))
  expect(await backend.commit(batchOf({ base: noHead, members }))).toEqual({
    type: 'members',
    answers: [
      { member: 7, answer: { type: 'locked', key: 'k299' } },
      { member: 9, answer: { type: 'locked', key: 'k5' } },
    ],
  })
  await store(backend, { members: members.filter((_, member) => member !== 7 && member !== 9) })
})
