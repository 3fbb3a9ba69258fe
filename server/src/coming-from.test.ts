import { inspect } from 'node:util'
import { ContextdError } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines, storeNames, stores } from '../support/stores.ts'
import { turn } from '../support/until.ts'
import { MemoryBackend } from './backends/memory.ts'
import { StoreModel } from './backends/store-model.ts'
import { Contextd } from './contextd/contextd.ts'
import { FakeClock } from './testing/fake-clock.ts'

/** What users of Chord and Contextd are told in docs/reference/coming-from.md, where no other file shows it. */
const newStore = stores()
const engine = engines()
const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const

describe.each(storeNames)('on %s', (name) => {
  test('fifty first calls at once open the store once, and each counts', async () => {
    const contexts = engine({ backend: newStore(name)() })
    const first = Array.from({ length: 50 }, (_, n) =>
      n % 2 === 0 ? contexts.apply('a', [...increment], { initial: { n: 0 } }) : contexts.get('a'),
    )
    await Promise.all(first)
    expect(await contexts.get('a')).toMatchObject({ version: 25, state: { n: 25 } })
  })

  test('while a context is replaced again and again nobody reads it as absent, half, or older than before', async () => {
    const store = newStore(name)
    const [here, there] = [engine({ backend: store() }), engine({ backend: store() })]
    await here.set('a', { n: 0, same: 0 })
    const going = { on: true }
    let reads = 0
    const readers = [here, there, there].map(async (contexts) => {
      for (let last = 1; going.on; reads += 1) {
        const read = await contexts.get('a')
        expect(read?.state['same']).toBe(read?.state['n'])
        expect(read?.version).toBeGreaterThanOrEqual(last)
        last = read!.version
        await turn()
      }
    })
    for (let n = 1; n <= 100; n += 1) await here.set('a', { n, same: n })
    going.on = false
    await Promise.all(readers)
    expect(reads).toBeGreaterThan(20)
    expect(await there.get('a')).toMatchObject({ version: 101, state: { n: 100 } })
  })

  test('a lock has no name that a context could have', async () => {
    const store = newStore(name)
    const one = new Contextd({ contextKey: 'x', backend: store() })
    const other = new Contextd({ contextKey: 'x_lock', backend: store() })
    await other.updateContext('key', 1)
    expect(await one.acquireLock({ key: 'key' })).toBe(true)
    await one.updateContext('key', 2)
    await other.updateContext('key', 3)
    await one.releaseLock({ key: 'key' })
    expect([await one.getContext(), await other.getContext()]).toEqual([{ key: 2 }, { key: 3 }])
    await Promise.all([one.close(), other.close()])
  })
})

test('update merges objects at any depth, and replaces everything else, lists too', async () => {
  const contexts = engine({ deltaFormat: 'verbose' })
  await contexts.set('a', { deep: { er: { x: 1, y: 1 } }, list: [{ id: 'a' }, { id: 'b' }], was: { an: 'object' } })
  const { context } = await contexts.update('a', { deep: { er: { y: 2 }, new: { map: {} } }, list: [{ id: 'c' }], was: 1 })
  expect(context.state).toEqual({ deep: { er: { x: 1, y: 2 }, new: { map: {} } }, list: [{ id: 'c' }], was: 1 })
})

test('R1: answers, syncs and subscribers are given the same envelope of a delta', async () => {
  const contexts = engine({ deltaFormat: 'verbose' })
  const told: unknown[] = []
  await contexts.set('a', { n: 1 })
  contexts.subscribe('a', (delta, snapshot) => told.push(delta, snapshot))
  const { context, delta } = await contexts.update('a', { n: 2 }, { user: { id: 'ada' } })
  const { revision, updatedAt } = context
  const author = { userId: 'ada', actor: 'server' }
  const changes = { n: { action: 'modified', value: 2, oldValue: 1 } }
  expect(delta).toEqual({ contextId: 'a', baseVersion: 1, version: 2, revision, changes, committedAt: updatedAt, author })
  expect(await contexts.sync('a', 1)).toEqual({ type: 'delta', delta })
  expect(await contexts.history('a', { limit: 1 })).toEqual([delta])
  await vi.waitFor(() => expect(told).toEqual([delta, context]))
})

test('R2: what changes nothing is told to nobody', async () => {
  const contexts = engine()
  const told: number[] = []
  await contexts.set('a', { n: 1 })
  contexts.subscribe('a', ({ version }) => told.push(version))
  for (const n of [1, 2, 2, 2, 3]) await contexts.set('a', { n })
  await contexts.update('a', { n: 3 })
  await vi.waitFor(() => expect(told.at(-1)).toBe(3))
  expect(told).toEqual([2, 3])
})

test('R3: null is stored by set and by operations', async () => {
  const contexts = engine()
  await contexts.set('a', { n: null, m: 1 })
  const { context } = await contexts.apply('a', [{ type: 'set', path: ['m'], value: null }])
  expect(context.state).toEqual({ n: null, m: null })
})

test('list and history give a hundred when nothing is said', async () => {
  const contexts = engine()
  for (let n = 0; n <= 100; n += 1) {
    await contexts.set(`c:${n}`, {})
    await contexts.set('a', { n })
  }
  expect([(await contexts.list()).length, (await contexts.history('a')).length]).toEqual([100, 100])
  expect([(await contexts.list({ limit: 500 })).length, (await contexts.history('a', { limit: 500 })).length]).toEqual([102, 101])
})

test('times are of the injected clock: created once, updated by each commit, and by nothing else', async () => {
  const clock = new FakeClock()
  const contexts = engine({ clock })
  const start = clock.now()
  await contexts.set('a', { n: 1 })
  clock.advance(1_000)
  const { delta } = await contexts.update('a', { n: 2 })
  clock.advance(1_000)
  await contexts.set('a', { n: 2 })
  await contexts.update('a', { n: 2 })
  const times = { createdAt: start, updatedAt: start + 1_000 }
  expect(delta.committedAt).toBe(start + 1_000)
  expect(await contexts.get('a')).toMatchObject({ version: 2, ...times })
  expect(await contexts.list()).toMatchObject([times])
})

test('a version of zero answers all that has been, and the log of a deleted context is never part of the next one', async () => {
  const contexts = engine({ deltaFormat: 'verbose' })
  for (const n of [1, 2, 3]) await contexts.set('a', { n, old: true })
  await contexts.delete('a')
  await contexts.set('a', { n: 9 })
  const changes = { n: { action: 'added', value: 9 } }
  expect(await contexts.sync('a', 0)).toMatchObject({ type: 'delta', delta: { baseVersion: 0, version: 1, changes } })
  expect(await contexts.sync('a', 2)).toMatchObject({ type: 'full_context', context: { version: 1, state: { n: 9 } } })
  expect(await contexts.history('a')).toHaveLength(1)
})

test('nothing that is logged has a state in it, whatever goes well or wrong', async () => {
  const logged: string[] = []
  const log = (details: object, message: string): void =>
    void logged.push(`${message} ${inspect(details, { depth: 20, showHidden: true })}`)
  const clock = new FakeClock()
  const backend = new Away(new StoreModel())
  const contexts = engine({
    backend,
    clock,
    logger: { debug: log, info: log, warn: log, error: log },
    contextTtlMs: 1_000,
    autoDelete: true,
    archive: {
      export: () => {
        throw new Error('full')
      },
      restore: () => ({ version: 0, state: { secret: 'sesame' } }),
    },
    hooks: {
      afterCommit: () => {
        throw new Error('mine')
      },
    },
  })
  contexts.subscribe('a', () => {
    throw new Error('mine')
  })
  await contexts.set('a', { secret: 'sesame' })
  await contexts.update('a', { more: 'sesame' })
  const failing = [contexts.export('a'), contexts.restore('a'), contexts.get('b'), contexts.update('b', { secret: 'sesame' })]
  await Promise.allSettled(failing)
  clock.advance(2_000)
  backend.away = true
  await Promise.allSettled([contexts.set('a', { secret: 'sesame', n: 1 }), contexts.cleanup()])
  backend.away = false
  await contexts.cleanup()
  expect(logged.length).toBeGreaterThan(3)
  expect(logged.filter((line) => line.includes('sesame'))).toEqual([])
})

/** A store in memory that may be away. */
class Away extends MemoryBackend {
  away = false
  override async commit(...args: Parameters<MemoryBackend['commit']>): ReturnType<MemoryBackend['commit']> {
    if (this.away) throw new ContextdError('backend_unavailable', 'away')
    return super.commit(...args)
  }
}
