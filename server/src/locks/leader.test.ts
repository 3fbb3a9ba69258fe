import { ContextdError } from '@contextd/protocol'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { memoryBackend } from '../backends/memory.ts'
import { systemClock } from '../clock.ts'
import { createContexts } from '../contexts/contexts.ts'
import { Leader, clusterId } from './leader.ts'
import type { LeaderOptions } from './leader.ts'
import { silentLogger } from '../logger.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const opened: Leader[] = []
beforeEach(() => {
  // The monotonic clock too: it is what a leader goes by.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] })
  vi.spyOn(Math, 'random').mockReturnValue(1)
})
afterEach(async () => {
  vi.useRealTimers()
  await Promise.all(opened.splice(0).map((leader) => leader.close()))
  vi.restoreAllMocks()
})
const leaseMs = 900
function candidate(shared: SharedMemory, more: Partial<LeaderOptions> = {}): { leader: Leader; told: boolean[] } {
  const leader = new Leader({ backend: shared.handle(), clock: systemClock, logger: silentLogger, leaseMs, open: async () => {}, ...more })
  opened.push(leader)
  const told: boolean[] = []
  leader.onChange((leads) => told.push(leads))
  return { leader, told }
}
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

describe('an election', () => {
  test('begins with the first who needs a leader, and not before', async () => {
    const shared = new SharedMemory()
    const { leader, told } = candidate(shared)
    await pass(5_000)
    expect([leader.isLeader, leader.token, shared.store.locks(clusterId, Date.now())]).toEqual([false, null, []])
    leader.need()
    await pass(0)
    expect(leader.isLeader).toBe(true)
    expect(shared.store.locks(clusterId, Date.now())).toMatchObject([{ key: 'leader', token: leader.token }])
    expect(told).toEqual([true])
  })

  test('has one winner, who stays it by renewing at a third of the lease', async () => {
    const shared = new SharedMemory()
    const all = [candidate(shared), candidate(shared), candidate(shared)]
    for (const { leader } of all) leader.need()
    await pass(0)
    const [first] = all.filter(({ leader }) => leader.isLeader)
    const token = first!.leader.token
    for (let step = 0; step < 50; step += 1) {
      await pass(100)
      expect(all.filter(({ leader }) => leader.isLeader)).toEqual([first])
      const [held] = shared.store.locks(clusterId, Date.now())
      expect(held!.remainingMs).toBeGreaterThanOrEqual(leaseMs - leaseMs / 3)
    }
    expect(first!.leader.token).toBe(token)
    expect(first!.told).toEqual([true])
  })

  test('is won within half a second after a clean stop, with a higher token', async () => {
    const shared = new SharedMemory()
    const [one, two] = [candidate(shared, { leaseMs: 60_000 }), candidate(shared, { leaseMs: 60_000 })]
    one.leader.need()
    await pass(0)
    const before = one.leader.token!
    two.leader.need()
    await pass(10)
    await one.leader.close()
    expect(one.leader.isLeader).toBe(false)
    expect(one.told).toEqual([true, false])
    await pass(500)
    expect(two.leader.isLeader).toBe(true)
    expect(two.leader.token).toBeGreaterThan(before)
  })

  test('is won at once by who is told to hurry, when it was given up, and not before', async () => {
    const shared = new SharedMemory()
    const [one, two] = [candidate(shared, { leaseMs: 60_000 }), candidate(shared, { leaseMs: 60_000 })]
    const resign = one.leader.need()
    await pass(0)
    two.leader.need()
    await pass(10)
    two.leader.hurry()
    await pass(0)
    expect([one.leader.isLeader, two.leader.isLeader]).toEqual([true, false])
    await resign()
    two.leader.hurry()
    one.leader.hurry()
    await pass(0)
    expect([one.leader.isLeader, two.leader.isLeader]).toEqual([false, true])
  })

  test('ends for a node that nobody needs as leader any more, and can begin again', async () => {
    const shared = new SharedMemory()
    const { leader, told } = candidate(shared)
    const [first, second] = [leader.need(), leader.need()]
    await pass(0)
    void first()
    void first()
    await pass(10)
    expect(leader.isLeader).toBe(true)
    void second()
    await pass(10)
    expect(leader.isLeader).toBe(false)
    expect(shared.store.locks(clusterId, Date.now())).toEqual([])
    leader.need()
    await pass(10)
    expect(leader.isLeader).toBe(true)
    expect(told).toEqual([true, false, true])
  })
})

/** A store that this node cannot reach for a while. */
function cutOff(shared: SharedMemory): { backend: LeaderOptions['backend']; set(away: boolean): void } {
  const backend = shared.handle()
  const lock = backend.lock.bind(backend)
  let away = false
  vi.spyOn(backend, 'lock').mockImplementation((request) =>
    away ? Promise.reject(new ContextdError('backend_unavailable', 'gone')) : lock(request),
  )
  return { backend, set: (now) => (away = now) }
}

describe('a leader whose store is away', () => {
  test('leads until its lease is over, and no longer; another follows', async () => {
    const shared = new SharedMemory()
    const link = cutOff(shared)
    const [one, two] = [candidate(shared, { backend: link.backend }), candidate(shared)]
    one.leader.need()
    await pass(0)
    two.leader.need()
    link.set(true)
    await pass(leaseMs - 2)
    expect([one.leader.isLeader, two.leader.isLeader]).toEqual([true, false])
    await pass(1)
    expect(one.leader.isLeader).toBe(false)
    await pass(1)
    expect(one.told).toEqual([true, false])
    await pass(300)
    expect(two.leader.isLeader).toBe(true)
    link.set(false)
    await pass(5_000)
    expect([one.leader.isLeader, two.leader.isLeader]).toEqual([false, true])
  })

  test('is replaced right when its lease is over: the others know when that is', async () => {
    const shared = new SharedMemory()
    const link = cutOff(shared)
    const [one, two] = [candidate(shared, { backend: link.backend }), candidate(shared)]
    one.leader.need()
    await pass(100)
    two.leader.need()
    // Renewed last at 300; two asks every 300 ms from 100 on.
    await pass(250)
    link.set(true)
    await pass(300 + leaseMs - 350 - 1)
    expect(two.leader.isLeader).toBe(false)
    await pass(3)
    expect(two.leader.isLeader).toBe(true)
  })

  test('warns once, and stands again when it is back', async () => {
    const shared = new SharedMemory()
    const link = cutOff(shared)
    link.set(true)
    const warn = vi.fn<(details: object, message: string) => void>()
    const { leader } = candidate(shared, { backend: link.backend, logger: { ...silentLogger, warn } })
    leader.need()
    await pass(2_000)
    expect(warn).toHaveBeenCalledTimes(1)
    link.set(false)
    await pass(500)
    expect(leader.isLeader).toBe(true)
  })
})

test('a leader that was stopped for a while knows that its lease is over before it asks anybody', async () => {
  const shared = new SharedMemory()
  const { leader, told } = candidate(shared)
  leader.need()
  await pass(0)
  const before = leader.token!
  // No timer has run, as in a process that was stopped.
  const now = performance.now()
  const stopped = vi.spyOn(performance, 'now').mockReturnValue(now + leaseMs)
  expect([leader.isLeader, leader.token]).toEqual([false, null])
  stopped.mockRestore()
  expect(leader.isLeader).toBe(true)
  await vi.advanceTimersByTimeAsync(0)
  vi.setSystemTime(Date.now() + leaseMs + 1)
  vi.spyOn(performance, 'now').mockReturnValue(now + leaseMs + 1)
  await pass(leaseMs)
  expect(told).toEqual([true, false, true])
  expect(leader.token).toBeGreaterThan(before)
})

test('a listener that throws is logged, and takes nothing from the others', async () => {
  const error = vi.fn<(details: object, message: string) => void>()
  const { leader } = candidate(new SharedMemory(), { logger: { ...silentLogger, error } })
  leader.onChange(() => {
    throw new Error('mine')
  })
  const told: boolean[] = []
  const end = leader.onChange((leads) => told.push(leads))
  leader.need()
  await pass(0)
  expect(error).toHaveBeenCalledTimes(1)
  expect(told).toEqual([true])
  end()
  await leader.close()
  expect(told).toEqual([true])
})

test('leaseMs is a whole number, and leader.isLeader is there', async () => {
  for (const wrong of [0, 9, 1.5, '1000', Number.NaN]) {
    expect(() => createContexts({ leaseMs: wrong as number })).toThrow(TypeError)
  }
  const contexts = createContexts({ backend: memoryBackend(), leaseMs: 10 })
  expect(contexts.leader.isLeader).toBe(false)
  await contexts.close()
})
