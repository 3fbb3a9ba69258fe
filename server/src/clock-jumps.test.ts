import { defineContext } from '@contextd/protocol'
import type { Delta, StandardSchema } from '@contextd/protocol'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { served } from '../support/served.ts'
import { engines, storeNames, stores } from '../support/stores.ts'
import { setTo } from '../support/wire-client.ts'
import { createContexts } from './contexts/contexts.ts'
import { Leader } from './locks/leader.ts'
import { silentLogger } from './logger.ts'
import { FakeClock } from './testing/fake-clock.ts'
import { SharedMemory } from './testing/shared-memory.ts'

const newStore = stores()
const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const
const hour = 3_600_000
const once = { maxRetries: 0 }

describe.each(storeNames)('F28: a clock that jumps back by an hour, on %s', (name) => {
  test('versions go on without gap, no commit is lost, and reads, history and deltas are right over the jump', async () => {
    const clock = new FakeClock()
    const store = newStore(name)
    const contexts = engine({ backend: store(), clock })
    const start = clock.now()
    await contexts.set('a', { n: 0 })
    for (let n = 0; n < 3; n += 1) await contexts.apply('a', [...increment])
    clock.advance(-hour)
    await Promise.all(Array.from({ length: 5 }, () => contexts.apply('a', [...increment])))
    // Another node, which has nothing in memory, and whose clock is right.
    const other = engine({ backend: store(), clock: new FakeClock() })
    await other.apply('a', [...increment])
    for (const each of [contexts, other]) {
      expect(await each.get('a')).toMatchObject({ version: 10, state: { n: 9 }, createdAt: start, updatedAt: start })
      expect((await each.at('a', 4)).state).toEqual({ n: 3 })
      expect(await each.sync('a', 2)).toMatchObject({ type: 'delta', delta: { baseVersion: 2, version: 10 } })
    }
    const history = (await contexts.history('a')).toReversed() as Delta[]
    expect(history.map(({ version }) => version)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(history.map(({ committedAt }) => committedAt - start)).toEqual([0, 0, 0, 0, -hour, -hour, -hour, -hour, -hour, 0])
  })

  test('nothing is pruned or expires before its time, and all of it goes in the end', async () => {
    const clock = new FakeClock()
    const contexts = engine({ backend: newStore(name)(), clock, deltaTtlMs: hour, contextTtlMs: 4 * hour, autoDelete: true })
    await contexts.set('before', { n: 0 })
    await contexts.set('both', { n: 0 })
    clock.advance(-hour)
    await contexts.apply('both', [...increment])
    await contexts.set('after', { n: 0 })
    const versions = async (id: string): Promise<number[]> => (await contexts.history(id)).map(({ version }) => version)
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
    // Two hours later, by the clock one: what was committed before the jump is no older than an hour.
    clock.advance(2 * hour)
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 1 })
    expect([await versions('before'), await versions('both'), await versions('after')]).toEqual([[1], [2, 1], []])
    clock.advance(1)
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 3 })
    expect((await contexts.get('both'))?.state).toEqual({ n: 1 })
    clock.advance(2 * hour)
    await contexts.cleanup()
    // Where a store keeps the latest use of each, what was used before and after the jump lives as long as what was used before.
    expect([await contexts.get('before'), await contexts.get('after')]).toEqual([expect.anything(), null])
    clock.advance(hour)
    await contexts.cleanup()
    expect(await contexts.list()).toEqual([])
  })

  test('a lock stays with its holder, whose writes pass; after its release the next token is higher', async () => {
    const clock = new FakeClock()
    const store = newStore(name)
    const [one, two] = [engine({ backend: store(), clock }), engine({ backend: store(), clock })]
    const lock = await one.lock('a', 'k', { ttlMs: 60_000 })
    clock.advance(-hour)
    await expect(two.lock('a', 'k', once)).rejects.toEqual(code('locked'))
    await one.set('a', { n: 1 }, { lock })
    await lock.extend()
    await one.update('a', { n: 2 }, { lock })
    expect(lock.signal.aborted).toBe(false)
    await lock.release()
    const next = await two.lock('a', 'k', once)
    expect(next.token).toBeGreaterThan(lock.token)
    await expect(one.update('a', { n: 3 }, { lock })).rejects.toEqual(code('locked'))
    await two.update('a', { n: 4 }, { lock: next })
    expect((await one.get('a'))?.state).toEqual({ n: 4 })
  })
})

test('F28: the leader stays it when its clock jumps back, and so does who is not', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const [shared, clock] = [new SharedMemory(), new FakeClock()]
  const [one, two] = [0, 1].map(
    () => new Leader({ backend: shared.handle(), clock, logger: silentLogger, leaseMs: 900, open: async () => {} }),
  )
  const pass = async (): Promise<void> => {
    clock.advance(50)
    await vi.advanceTimersByTimeAsync(50)
  }
  one!.need()
  await pass()
  two!.need()
  for (let step = 0; step < 60; step += 1) {
    if (step === 20) clock.advance(-hour)
    await pass()
    expect([step, one!.isLeader, two!.isLeader]).toEqual([step, true, false])
  }
  await one!.close()
  for (let step = 0; step < 20; step += 1) await pass()
  expect(two!.isLeader).toBe(true)
  await two!.close()
})

test('F28: a node whose clock is ahead may end a lease too early; what the holder writes then is refused, and it is told', async () => {
  const shared = new SharedMemory()
  const [clock, ahead] = [new FakeClock(), new FakeClock()]
  ahead.advance(hour)
  const [one, two] = [engine({ backend: shared.handle(), clock }), engine({ backend: shared.handle(), clock: ahead })]
  const lock = await one.lock('a', 'k')
  await one.set('a', { n: 1 }, { lock })
  const next = await two.lock('a', 'k', once)
  expect(next.token).toBeGreaterThan(lock.token)
  await two.update('a', { n: 2 }, { lock: next })
  await expect(one.update('a', { n: 3 }, { lock })).rejects.toEqual(code('locked'))
  expect(lock.signal.aborted).toBe(true)
  expect((await one.get('a'))?.state).toEqual({ n: 2 })
})

test('F28: a client goes on over the jump: what it sent before is told its verdict again, what it sends then is applied', async () => {
  const clock = new FakeClock()
  const { connect, contexts } = await served({}, { clock, sessionTtlMs: hour })
  const session = await (await connect()).attach()
  await session.sync('a')
  session.write('a', '', [[setTo('n', 1)], [...increment]])
  await session.client.until(() => session.seen('a').length === 2)
  clock.advance(-2 * hour)
  const { incarnation } = (await contexts.get('a'))!
  session.write('a', incarnation, [[...increment]])
  await session.client.until(() => session.seen('a').length === 3)
  session.send('a', [{ seq: 2, incarnation, operations: increment }])
  expect(await session.outcome('a', 2)).toMatchObject({ type: 'applied', head: { version: 2 } })
  expect(await contexts.get('a')).toMatchObject({ version: 3, state: { n: 3 } })
  // To the server's clock this session begins in the future.
  await session.sync('b')
  session.write('b', '', [[setTo('n', 1)]])
  await session.client.until(() => session.seen('b').length === 1)
  expect(await contexts.get('b')).toMatchObject({ version: 1, updatedAt: clock.now() })
})

test('F28: a schema version is moved on over the jump', async () => {
  const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as StandardSchema<object>
  const clock = new FakeClock()
  const shared = new SharedMemory()
  await engine({ backend: shared.handle(), clock }).set('a', { n: 1 })
  clock.advance(-hour)
  const contexts = engine({
    backend: shared.handle(),
    clock,
    contexts: [defineContext('a', { state: anything, version: 2, migrate: () => ({ n: 2 }) })],
  })
  expect(await contexts.get('a')).toMatchObject({ version: 2, state: { n: 2 } })
})

test.each([[Number.NaN], ['1'], [undefined], [Infinity], [new Date()]])('a clock that gives %s is refused', (now) => {
  expect(() => createContexts({ clock: { now: () => now as number } })).toThrow(/clock\.now/)
})
