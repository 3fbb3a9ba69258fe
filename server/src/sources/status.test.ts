import { isContextdError } from '@contextd/protocol'
import { expect, test, vi } from 'vitest'
import { engines } from '../../support/stores.ts'
import { Feedable } from '../../support/feedable.ts'
import { until } from '../../support/until.ts'
import { silentLogger } from '../logger.ts'
import { SharedMemory } from '../testing/shared-memory.ts'
import type { Contexts } from '../contexts/contexts.ts'
import type { SourceStatus } from './source-types.ts'

const engine = engines()
const hour = 3_600_000
const nothing = (): void => {}

test('a source that is removed fetches no more; what it was about to give is dropped, and the context stays', async () => {
  const contexts = engine()
  const signals: AbortSignal[] = []
  let release = nothing
  let calls = 0
  const options = {
    contextId: 's',
    refreshIntervalMs: hour,
    fetch: (_: undefined, { signal }: { signal: AbortSignal }) => {
      signals.push(signal)
      calls += 1
      if (calls === 1) return { n: 1 }
      return new Promise<object>((resolve) => (release = () => resolve({ n: calls })))
    },
  }
  const added = contexts.addSource(options)
  await until(() => added.status.lastSuccessAt !== null)
  const asked = added.refresh().catch((caught: unknown) => caught)
  await until(() => calls === 2)
  await Promise.all([added.remove(), added.remove()])
  release()
  expect(isContextdError(await asked, 'closed')).toBe(true)
  expect(isContextdError(await added.refresh().catch((caught: unknown) => caught), 'closed')).toBe(true)
  expect(signals[1]!.aborted).toBe(true)
  expect(added.status).toMatchObject({ leader: false, running: false, failures: 0, nextRunAt: null, version: 1 })
  expect((await contexts.get('s'))?.state).toEqual({ n: 1 })
  expect(contexts.leader.isLeader).toBe(false)
  // And it may be added again.
  const again = contexts.addSource({ ...options, fetch: () => ({ n: 'again' }) })
  await again.refresh()
  expect((await contexts.get('s'))?.state).toEqual({ n: 'again' })
})

test('who waits for the leader hears of it when the source is removed', async () => {
  const shared = new SharedMemory()
  const [a, b] = [0, 1].map(() => engine({ backend: shared.handle() })) as [Contexts<{}, unknown>, Contexts<{}, unknown>]
  const first = new Feedable()
  const onA = a.addSource({ contextId: 's', fetch: first.fetch, refreshIntervalMs: hour })
  await until(() => onA.status.lastSuccessAt !== null)
  first.answer = () => new Promise(nothing)
  const onB = b.addSource({ contextId: 's', fetch: first.fetch, refreshIntervalMs: hour })
  const asked = [onB.refresh(), onB.refresh()].map((each) => each.catch((caught: unknown) => caught))
  await until(() => first.calls === 2)
  await onB.remove()
  for (const error of await Promise.all(asked)) expect(isContextdError(error, 'closed')).toBe(true)
})

test('the status is told when it changes; a listener may throw, or refresh', async () => {
  const error = vi.fn<(details: object, message: string) => void>()
  const contexts = engine({ logger: { ...silentLogger, error } })
  const source = new Feedable()
  const added = contexts.addSource({ contextId: 's', fetch: source.fetch, refreshIntervalMs: hour })
  const told: SourceStatus[] = []
  const asked: Promise<void>[] = []
  added.subscribe(() => {
    throw new Error('mine')
  })
  const end = added.subscribe((status) => {
    told.push(status)
    // Right when the first one is done.
    if (status.lastSuccessAt !== null && asked.length === 0) asked.push(added.refresh())
  })
  await until(() => source.calls === 2)
  await Promise.all(asked)
  expect(source.mostAtOnce).toBe(1)
  expect(told[0]).toMatchObject({ leader: true, running: true, version: 0 })
  expect(told.at(-1)).toMatchObject({ leader: true, failures: 0, lastError: null, version: 2 })
  expect(error).toHaveBeenCalled()
  end()
  const { length } = told
  await added.refresh()
  expect(told.length).toBe(length)
  expect(() => added.subscribe(undefined as never)).toThrow(/function/)
})
