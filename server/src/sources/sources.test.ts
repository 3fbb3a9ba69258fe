import { setTimeout as pause } from 'node:timers/promises'
import { isContextdError } from '@contextd/protocol'
import { afterEach, describe, expect, test } from 'vitest'
import { Feedable } from '../../support/feedable.ts'
import { until } from '../../support/until.ts'
import { memoryBackend } from '../backends/memory.ts'
import { contextsWith } from '../contexts/contexts.ts'
import type { Contexts } from '../contexts/contexts.ts'
import { SharedMemory } from '../testing/shared-memory.ts'
import { pauseAfter } from './source.ts'

const opened: Contexts<{}, unknown>[] = []
function engine(backend = memoryBackend(), more: object = {}): Contexts<{}, unknown> {
  const contexts = contextsWith({ backend, ...more })
  opened.push(contexts)
  return contexts
}
afterEach(async () => {
  await Promise.all(opened.splice(0).map((contexts) => contexts.close()))
})

const hour = 3_600_000
const nothing = (): void => {}

test('a source fetches at once, then at its interval, and commits what changed', async () => {
  const contexts = engine()
  const source = new Feedable()
  source.answer = () => ({
    rows: [
      { id: 'a', n: 1 },
      { id: 'b', n: Math.min(source.calls, 3) },
    ],
  })
  const deltas: unknown[] = []
  contexts.subscribe('s', (delta) => deltas.push(delta.changes))
  const added = contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: 20 })
  await until(() => source.calls > 5)
  await until(async () => (await contexts.get('s'))?.version === 3)
  expect(added.status).toMatchObject({ leader: true, failures: 0, lastError: null, version: 3 })
  expect(contexts.leader.isLeader).toBe(true)
  // Without a change there is no version.
  expect((await contexts.get('s'))?.version).toBe(3)
  expect(deltas.length).toBeGreaterThanOrEqual(2)
  await added.remove()
  const { calls } = source
  await pause(60)
  expect(source.calls).toBe(calls)
  expect(added.status).toMatchObject({ leader: false, nextRunAt: null })
})

test('R15: a list is stored as items; params reach the fetch', async () => {
  const contexts = engine()
  const added = contexts.addSource({
    contextId: 's',
    params: { from: 7 },
    fetch: ({ from }: { from: number }) => [{ id: 'a', from }],
    refreshIntervalMs: hour,
  })
  await until(async () => (await contexts.get('s')) !== null)
  expect((await contexts.get('s'))?.state).toEqual({ items: [{ id: 'a', from: 7 }] })
  expect(added.status.lastSuccessAt).not.toBeNull()
})

test('fetches never overlap, however short the interval, and who asks meanwhile gets the one under way', async () => {
  const contexts = engine()
  const source = new Feedable()
  let release = nothing
  source.answer = () => new Promise((resolve) => (release = () => resolve({ n: source.calls })))
  const added = contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: 1 })
  await until(() => source.calls === 1)
  const asked = Promise.all([added.refresh(), added.refresh()])
  await pause(30)
  expect(source.calls).toBe(1)
  expect(added.status.running).toBe(true)
  release()
  await asked
  source.answer = () => ({ n: 2 })
  await until(() => source.calls > 3)
  expect(source.mostAtOnce).toBe(1)
})

describe('a fetch that fails', () => {
  test.each([
    [
      'throws',
      () => {
        throw new Error('down')
      },
      /down/,
    ],
    ['rejects', () => Promise.reject(new Error('away')), /away/],
    ['throws what is no error', () => Promise.reject('a text'), /a text/],
    ['gives nothing', () => undefined, /undefined/],
    ['gives a text', () => 'text', /string/],
    ['gives what is not JSON', () => ({ at: new Date(0) }), /at/],
    ['gives a key that could do harm', () => JSON.parse('{"__proto__":{"x":1}}') as object, /__proto__/],
    ['gives far too much', () => ({ text: 'x'.repeat(5_000_000) }), /stateBytes/],
  ])('%s: the last state stays, and the status says why', async (_, answer, message) => {
    const contexts = engine()
    const source = new Feedable()
    const added = contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: hour })
    await until(() => added.status.lastSuccessAt !== null)
    source.answer = answer
    const error: unknown = await added.refresh().catch((caught: unknown) => caught)
    expect(error instanceof Error ? error.message : error).toMatch(message)
    expect(added.status).toMatchObject({ failures: 1, lastError: expect.objectContaining({ message: expect.stringMatching(message) }) })
    expect((await contexts.get('s'))?.state).toEqual({ n: 1 })
    source.answer = () => ({ n: 'again' })
    await added.refresh()
    expect(added.status).toMatchObject({ failures: 0, lastError: null, version: 2 })
  })

  test('that never answers is given up in time, its signal says so, and what it gives later is not looked at', async () => {
    const contexts = engine()
    const signals: AbortSignal[] = []
    let late = nothing
    let calls = 0
    const added = contexts.addSource({
      contextId: 's',
      timeoutMs: 30,
      refreshIntervalMs: hour,
      fetch: (_, { signal }) => {
        signals.push(signal)
        calls += 1
        if (calls !== 2) return { n: calls }
        return new Promise((resolve) => (late = () => resolve({ late: true })))
      },
    })
    await until(() => added.status.lastSuccessAt !== null)
    const error: unknown = await added.refresh().catch((caught: unknown) => caught)
    expect(isContextdError(error, 'timeout') && error.message).toContain('30 ms (timeoutMs)')
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true])
    expect(added.status).toMatchObject({ failures: 1, running: false, version: 1 })
    late()
    await added.refresh()
    expect((await contexts.get('s'))?.state).toEqual({ n: 3 })
  })

  test('R16: the next fetch comes after a longer pause, the longer the more it failed', async () => {
    const contexts = engine()
    const source = new Feedable()
    source.answer = () => {
      throw new Error('down')
    }
    const added = contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: 60_000 })
    await until(() => added.status.failures === 1)
    const pauses: number[] = []
    for (let failures = 1; failures < 5; failures += 1) {
      pauses.push(added.status.nextRunAt! - Date.now())
      await added.refresh().catch(nothing)
    }
    const within = (ms: number): boolean[] => pauses.map((each) => each > ms * 0.7 && each <= ms)
    expect(within(120_000)[0] && within(240_000)[1] && within(300_000)[2] && within(300_000)[3]).toBe(true)
    expect(source.calls).toBe(5)
  })

  test('R16: the pauses double from the interval on, up to five minutes, with jitter', () => {
    expect([1, 2, 3].map((failures) => pauseAfter(failures, 1_000, 1))).toEqual([2_000, 4_000, 8_000])
    expect(pauseAfter(1, 1_000, 0)).toBe(1_500)
    expect(pauseAfter(60, 1_000, 1)).toBe(300_000)
    expect(pauseAfter(60, 1_000_000, 1)).toBe(1_000_000)
  })

  test('it is tried again, and comes back', async () => {
    const contexts = engine()
    const source = new Feedable()
    source.answer = () => {
      if (source.calls < 4) throw new Error('not yet')
      return { n: 4 }
    }
    contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: 5 })
    await until(async () => (await contexts.get('s')) !== null)
    expect((await contexts.get('s'))?.state).toMatchObject({ n: expect.any(Number) })
    expect(source.calls).toBeGreaterThanOrEqual(4)
  })
})

test('only the leader fetches; a clean stop hands over at once, and the next one fetches at once', async () => {
  const shared = new SharedMemory()
  const nodes = [0, 1, 2].map(() => {
    const contexts = engine(shared.handle())
    const source = new Feedable()
    return { contexts, source, added: contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: hour }) }
  })
  await until(() => nodes.some(({ source }) => source.calls > 0))
  const leader = nodes.find(({ contexts }) => contexts.leader.isLeader)!
  expect(nodes.map(({ source }) => source.calls).toSorted((x, y) => x - y)).toEqual([0, 0, 1])
  await leader.contexts.close()
  const others = nodes.filter((node) => node !== leader)
  await until(() => others.some(({ source }) => source.calls > 0))
  expect(others.map(({ source }) => source.calls).toSorted((x, y) => x - y)).toEqual([0, 1])
})

test('refresh on a node that does not lead is done by the leader, and its failure is told there', async () => {
  const shared = new SharedMemory()
  const [a, b] = [engine(shared.handle()), engine(shared.handle())]
  const [first, second] = [new Feedable(), new Feedable()]
  const onA = a.addSource({ contextId: 's', fetch: first.fetch, refreshIntervalMs: hour })
  await until(() => onA.status.lastSuccessAt !== null)
  const onB = b.addSource({ contextId: 's', fetch: second.fetch, refreshIntervalMs: hour })
  await onB.refresh()
  expect([first.calls, second.calls]).toEqual([2, 0])
  expect((await b.get('s'))?.state).toEqual({ n: 2 })
  first.answer = () => {
    throw new Error('the table is gone')
  }
  const error: unknown = await onB.refresh().catch((caught: unknown) => caught)
  expect(isContextdError(error, 'internal') && error.message).toContain('the table is gone')
  expect(second.calls).toBe(0)
})

test('requests wait for the next leader where there is none', async () => {
  const shared = new SharedMemory()
  const [a, b] = [engine(shared.handle()), engine(shared.handle())]
  const [first, second] = [new Feedable(), new Feedable()]
  const onA = a.addSource({ contextId: 's', fetch: first.fetch, refreshIntervalMs: hour })
  await until(() => onA.status.lastSuccessAt !== null)
  let release = nothing
  first.answer = () => new Promise((resolve) => (release = () => resolve({ late: true })))
  const onB = b.addSource({ contextId: 's', fetch: second.fetch, refreshIntervalMs: hour })
  const asked = onB.refresh()
  await until(() => first.calls === 2)
  await a.close()
  await asked
  release()
  expect(second.calls).toBeGreaterThan(0)
  expect((await b.get('s'))?.state).not.toHaveProperty('late')
})

test('what a former leader fetched is not written once another has taken over, which fetches for who asked', async () => {
  const shared = new SharedMemory()
  const [a, b] = [engine(shared.handle(), { leaseMs: 1_500 }), engine(shared.handle(), { leaseMs: 1_500 })]
  const [first, second] = [new Feedable(), new Feedable()]
  first.answer = () => ({ by: 'a' })
  second.answer = () => ({ by: 'b' })
  const onA = a.addSource({ contextId: 's', fetch: first.fetch, refreshIntervalMs: hour })
  await until(() => onA.status.lastSuccessAt !== null)
  let release = nothing
  first.answer = () => new Promise((resolve) => (release = () => resolve({ by: 'a, late' })))
  const asked = onA.refresh()
  await until(() => first.calls === 2)
  // As if this node had been stopped: its leases are taken over, and it does not know.
  for (const copy of ['s', '~cluster'].map((id) => shared.store.copy(id))) shared.store.putBack({ ...copy, locks: new Map() })
  const onB = b.addSource({ contextId: 's', fetch: second.fetch, refreshIntervalMs: hour })
  await until(() => onB.status.lastSuccessAt !== null)
  const { calls } = second
  release()
  await asked
  expect(second.calls).toBe(calls + 1)
  expect((await b.get('s'))?.state).toEqual({ by: 'b' })
  expect(onA.status).toMatchObject({ leader: false, failures: 0, lastError: null })
})

test.each([
  ['no object', null, /takes an object/],
  ['no fetch', { contextId: 's', refreshIntervalMs: 1 }, /fetch/],
  ['a time limit of 0', { contextId: 's', fetch: () => ({}), refreshIntervalMs: 1, timeoutMs: 0 }, /timeoutMs/],
  ['an interval longer than a timer', { contextId: 's', fetch: () => ({}), refreshIntervalMs: 2 ** 31 }, /refreshIntervalMs/],
  ['an interval below 0', { contextId: 's', fetch: () => ({}), refreshIntervalMs: -1 }, /refreshIntervalMs/],
  ['an interval of 0', { contextId: 's', fetch: () => ({}), refreshIntervalMs: 0 }, /refreshIntervalMs/],
  ['half an interval', { contextId: 's', fetch: () => ({}), refreshIntervalMs: 0.5 }, /refreshIntervalMs/],
  ['an unknown option', { contextId: 's', fetch: () => ({}), refreshIntervalMs: 1, intervall: 2 }, /intervall/],
  [
    'keys where there are none',
    { contextId: 's', fetch: () => ({}), refreshIntervalMs: 1, materialize: [{ key: 'k', type: 'list' }] },
    /Redis/,
  ],
])('%s is refused at once', (_, options, message) => {
  const contexts = engine()
  expect(() => contexts.addSource(options as never)).toThrow(TypeError)
  expect(() => contexts.addSource(options as never)).toThrow(message)
})

test('many who ask on many nodes while a fetch is under way get that one', async () => {
  const shared = new SharedMemory()
  const nodes = Array.from({ length: 3 }, () => engine(shared.handle()))
  const source = new Feedable()
  const added = nodes.map((contexts) => contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: hour }))
  await until(() => added.some(({ status }) => status.lastSuccessAt !== null))
  let release = nothing
  source.answer = () => new Promise((resolve) => (release = () => resolve({ n: source.calls })))
  const asked = Promise.all(added.flatMap((each) => [each.refresh(), each.refresh()]))
  await until(() => source.calls === 2)
  await pause(50)
  release()
  source.answer = () => ({ n: source.calls })
  await asked
  // Those who came too late for the one that was under way share another.
  expect(source.calls).toBeLessThanOrEqual(3)
  expect(source.mostAtOnce).toBe(1)
})

test('refresh right after addSource waits for the first fetch', async () => {
  const contexts = engine()
  const source = new Feedable()
  const added = contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: hour })
  await added.refresh()
  expect(added.status).toMatchObject({ leader: true, version: 1 })
  expect(source.calls).toBeLessThanOrEqual(2)
})

test('two sources of one context on one node are a mistake; an id that is none too', () => {
  const contexts = engine()
  const options = { contextId: 's', fetch: () => ({}), refreshIntervalMs: hour }
  contexts.addSource(options)
  expect(() => contexts.addSource(options)).toThrow(/has a source already/)
  expect(() => contexts.addSource({ ...options, contextId: '~s' })).toThrow(/contextId|id/)
})
