import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Mock } from 'vitest'
import { engines } from '../../support/stores.ts'
import type { ContextBackend } from '../backends/backend.ts'
import { Contextd } from './contextd.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()
const opened: Contextd[] = []
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })

interface Kept {
  readonly context: Contextd
  /** How often a write with demands of locks was sent to the store. */
  readonly attempts: () => number
  readonly lock: Mock<ContextBackend['lock']>
}

/** An instance, and a lock that somebody else has. */
async function kept(): Promise<Kept> {
  const shared = new SharedMemory()
  const backend = shared.handle()
  const context = new Contextd({ contextKey: 'my_cxtd', backend })
  opened.push(context)
  await context.initialize()
  await engine({ backend: shared.handle() }).lock('my_cxtd', 'user', { ttlMs: 60_000 })
  const commit = vi.spyOn(backend, 'commit')
  const attempts = (): number => commit.mock.calls.filter(([{ members }]) => members.some(({ locks }) => locks !== undefined)).length
  return { context, attempts, lock: vi.spyOn(backend, 'lock') }
}

/** Lets so many ms pass, as timers count them. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    await vi.advanceTimersByTimeAsync(50)
    await turn()
    await turn()
  }
}

/** How a call ends; null: it has not. */
function ending(call: Promise<unknown>): () => unknown {
  let end: unknown = null
  call.then(
    (value) => (end = { value }),
    (error: unknown) => (end = error),
  )
  return () => end
}
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(opened.splice(0).map((context) => context.close()))
})

describe('R14: where another keeps the lock', () => {
  test('a write is refused with locked after 50 tries of 100 ms, and nothing of it is stored', async () => {
    const { context, attempts } = await kept()
    const written = ending(context.transactionalUpdate({ user: 1, other: 1 }))
    await pass(4_900)
    expect(written()).toBeNull()
    await pass(200)
    expect(written()).toEqual(code('locked'))
    // A try takes a moment too, and the time is up after 5 s.
    expect(attempts()).toBeGreaterThan(45)
    expect(attempts()).toBeLessThan(52)
    expect(await context.getContext()).toEqual({})
  })

  test('acquireLock asks for 10 s, and again 50 times after 100 ms each; then it is false', async () => {
    const { context, lock } = await kept()
    const acquired = ending(context.acquireLock({ key: 'user' }))
    await pass(4_900)
    expect([acquired(), lock.mock.calls.length]).toEqual([null, 50])
    await pass(150)
    expect([acquired(), lock.mock.calls.length]).toEqual([{ value: false }, 51])
    expect(new Set(lock.mock.calls.map(([{ ttlMs }]) => ttlMs))).toEqual(new Set([10_000]))
  })

  test('acquireLock asks as often and for as long as it is told to', async () => {
    const { context, lock } = await kept()
    const acquired = ending(context.acquireLock({ key: 'user', lockTimeout: 15_000, retryDelay: 200, maxRetries: 3 }))
    await pass(550)
    expect([acquired(), lock.mock.calls.length]).toEqual([null, 3])
    await pass(100)
    expect([acquired(), lock.mock.calls.map(([{ ttlMs }]) => ttlMs)]).toEqual([{ value: false }, [15_000, 15_000, 15_000, 15_000]])
  })
})
