import { ContextdError } from '@contextd/protocol'
import type { Delta } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines, storeNames, stores } from '../../support/stores.ts'
import type { CommitBatch, CommitResult, PruneBatch } from '../backends/backend.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { engineOf } from '../engine/engine.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const newStore = stores()
const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const until = (check: () => void | Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 })
const hour = 3_600_000
const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const

describe.each(storeNames)('cleanup on %s', (name) => {
  test('R11: a context goes when its last commit is older than contextTtlMs, by a cleanup, and not before', async () => {
    const clock = new FakeClock()
    const contexts = engine({ backend: newStore(name)(), clock, contextTtlMs: hour, autoDelete: true })
    await contexts.set('a', { n: 1 })
    await contexts.set('a', { n: 2 })
    clock.advance(hour)
    await contexts.set('b', { n: 1 })
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
    clock.advance(1)
    // Until a cleanup runs it is served.
    expect(await contexts.get('a')).toMatchObject({ version: 2 })
    expect(await contexts.cleanup()).toEqual({ contexts: 1, deltas: 2 })
    expect(await contexts.get('a')).toBeNull()
    await expect(contexts.sync('a', 1)).rejects.toEqual(code('not_found'))
    expect(await contexts.get('b')).toMatchObject({ version: 1 })
    // Its next life begins at version 1, and an old head is told that it is another.
    expect((await contexts.set('a', { n: 7 })).context.version).toBe(1)
  })

  test('R8: limit bounds what goes in one call, the oldest first; in the end every stale context is gone', async () => {
    const clock = new FakeClock()
    const contexts = engine({ backend: newStore(name)(), clock, contextTtlMs: hour, autoDelete: true })
    for (let n = 0; n < 7; n += 1) {
      await contexts.set(`c:${(n * 3) % 7}`, {})
      clock.advance(1_000)
    }
    clock.advance(hour)
    await contexts.set('c:fresh', {})
    expect(await contexts.cleanup({ limit: 3 })).toEqual({ contexts: 3, deltas: 3 })
    expect((await contexts.list({ prefix: 'c:' })).map(({ contextId }) => contextId)).toEqual(['c:1', 'c:2', 'c:4', 'c:5', 'c:fresh'])
    expect(await contexts.cleanup({ limit: 3 })).toEqual({ contexts: 3, deltas: 3 })
    expect(await contexts.cleanup({ limit: 3 })).toEqual({ contexts: 1, deltas: 1 })
    expect(await contexts.cleanup({ limit: 3 })).toEqual({ contexts: 0, deltas: 0 })
  })

  test('deltas older than deltaTtlMs go, those of its age stay; the state and what leads on from it stay', async () => {
    const clock = new FakeClock()
    const contexts = engine({ backend: newStore(name)(), clock, deltaTtlMs: hour })
    for (let n = 1; n <= 3; n += 1) await contexts.set('a', { n })
    clock.advance(hour)
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
    clock.advance(1)
    await contexts.set('a', { n: 4 })
    await contexts.set('a', { n: 5 })
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 3 })
    expect(((await contexts.history('a')) as Delta[]).map(({ version }) => version)).toEqual([5, 4])
    await expect(contexts.at('a', 3)).rejects.toEqual(code('expired'))
    expect(await contexts.sync('a', 3)).toMatchObject({ type: 'delta', delta: { baseVersion: 3, version: 5 } })
    // Where the log has a hole there is no delta: never a part of what happened.
    expect(await contexts.sync('a', 2)).toMatchObject({ type: 'full_context', context: { version: 5, state: { n: 5 } } })
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
  })

  test('R12: of a log longer than deltaThreshold the newest stay', async () => {
    const store = newStore(name)
    const before = engine({ backend: store() })
    for (let n = 1; n <= 8; n += 1) await before.set('a', { n, pad: 'x'.repeat(100) })
    await before.set('b', {})
    const contexts = engine({ backend: store(), deltaThreshold: 3 })
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 5 })
    expect(((await contexts.history('a')) as Delta[]).map(({ version }) => version)).toEqual([8, 7, 6])
    expect(await contexts.get('a')).toMatchObject({ version: 8, state: { n: 8 } })
    expect((await contexts.apply('a', [...increment])).context).toMatchObject({ version: 9, state: { n: 9 } })
  })

  test('subscribers hear of the end of a context, wherever the cleanup ran', async () => {
    const clock = new FakeClock()
    const store = newStore(name)
    const options = { clock, contextTtlMs: hour, autoDelete: true }
    const cleaner = engine({ backend: store(), ...options })
    // Without autoDelete a node does not note what it has open.
    const listener = engine({ backend: store(), clock }, { beaconMs: 50 })
    await cleaner.set('a', { n: 1 })
    let gone = 0
    const heard: unknown[] = []
    listener.subscribe('a', (delta) => heard.push(delta.version), { onDelete: () => (gone += 1) })
    await until(async () => {
      await cleaner.apply('a', [...increment])
      expect(heard.length).toBeGreaterThan(0)
    })
    clock.advance(hour + 1)
    expect(await cleaner.cleanup()).toMatchObject({ contexts: 1 })
    await until(() => expect(gone).toBe(1))
  })

  test('a context that a node has open does not expire, whichever node cleans up; once nobody has it open it does', async () => {
    const clock = new FakeClock()
    const store = newStore(name)
    const options = { clock, contextTtlMs: hour, autoDelete: true }
    const [here, there] = [engine({ backend: store(), ...options }), engine({ backend: store(), ...options })]
    await here.set('open', {})
    await here.set('closed', {})
    const end = there.subscribe('open', () => {})
    clock.advance(hour - 1)
    const noted = async (): Promise<boolean> =>
      (await engineOf(here).backend.stale(clock.now(), 9)).every(({ contextId }) => contextId !== 'open')
    await until(async () => expect(await noted()).toBe(true))
    clock.advance(2)
    expect(await here.cleanup()).toMatchObject({ contexts: 1 })
    expect(await here.get('open')).not.toBeNull()
    end()
    clock.advance(hour + 1)
    expect(await here.cleanup()).toMatchObject({ contexts: 1 })
  })

  test('at an interval it runs on one node of the cluster; when that one stops, another goes on', async () => {
    const store = newStore(name)
    const clock = new FakeClock()
    const options = { clock, contextTtlMs: hour, autoDelete: true, leaseMs: 300 }
    const runs = [0, 0]
    const nodes = [0, 1].map((node) => {
      const backend = store()
      const stale = backend.stale.bind(backend)
      backend.stale = (...asked) => {
        runs[node]! += 1
        return stale(...asked)
      }
      return engine({ backend, ...options })
    })
    for (const node of nodes) node.startCleanup({ intervalMs: 10 })
    await until(() => expect(runs[0]! + runs[1]!).toBeGreaterThan(3))
    const leader = nodes.findIndex((node) => node.leader.isLeader)
    expect(runs[1 - leader]).toBe(0)
    await nodes[0]!.set('a', {})
    clock.advance(hour + 1)
    await until(async () => expect(await nodes[0]!.get('a')).toBeNull())
    nodes[leader]!.stopCleanup()
    await until(() => expect(runs[1 - leader]).toBeGreaterThan(1))
  })
})

describe('cleanup', () => {
  test('without autoDelete nothing expires; with it and no contextTtlMs neither', async () => {
    for (const options of [{ contextTtlMs: hour }, { autoDelete: true }, { contextTtlMs: hour, autoDelete: false }]) {
      const clock = new FakeClock()
      const contexts = engine({ clock, ...options })
      await contexts.set('a', {})
      clock.advance(1_000 * hour)
      expect(await contexts.cleanup()).toMatchObject({ contexts: 0 })
      expect(await contexts.get('a')).not.toBeNull()
    }
  })

  test('a clock that is turned back removes nothing, and one that is before its own time neither', async () => {
    const clock = new FakeClock()
    const contexts = engine({ clock, contextTtlMs: hour, deltaTtlMs: hour, autoDelete: true })
    await contexts.set('a', { n: 1 })
    await contexts.set('a', { n: 2 })
    clock.advance(-100 * hour)
    await contexts.set('b', {})
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
    clock.set(5)
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
    clock.set(1_704_067_200_000 + 1)
    // By the clock as it was then, b is old, and a is not.
    expect(await contexts.cleanup()).toEqual({ contexts: 1, deltas: 1 })
    expect(await contexts.get('a')).toMatchObject({ version: 2 })
  })

  test('a context that is written between the look and its end stays', async () => {
    const clock = new FakeClock()
    const shared = new SharedMemory()
    const other = engine({ backend: shared.handle(), clock })
    const backend = shared.handle()
    const commit = backend.commit.bind(backend)
    backend.commit = async (batch) => {
      if (batch.remove) await other.apply('a', [...increment])
      return commit(batch)
    }
    const contexts = engine({ backend, clock, contextTtlMs: hour, autoDelete: true })
    await contexts.set('a', { n: 1 })
    clock.advance(hour + 1)
    expect(await contexts.cleanup()).toEqual({ contexts: 0, deltas: 0 })
    expect(await contexts.get('a')).toMatchObject({ version: 2, state: { n: 2 } })
  })

  test('a context that fails is logged and passed over, and does not stand before the others', async () => {
    const error = vi.fn<(details: object, message: string) => void>()
    const clock = new FakeClock()
    const backend = new Failing(new StoreModel())
    const logger = { debug: () => {}, info: () => {}, warn: () => {}, error }
    const contexts = engine({ backend, clock, logger, contextTtlMs: hour, deltaTtlMs: hour, autoDelete: true })
    for (let n = 0; n < 4; n += 1) {
      await contexts.set(`bad:${n}`, {})
      clock.advance(1_000)
    }
    for (let n = 0; n < 4; n += 1) await contexts.set(`good:${n}`, {})
    clock.advance(hour + 1)
    backend.fails = (contextId) => contextId.startsWith('bad')
    let gone = 0
    for (let run = 0; run < 4; run += 1) gone += (await contexts.cleanup({ limit: 2 })).contexts
    expect(gone).toBe(4)
    expect((await contexts.list()).map(({ contextId }) => contextId)).toEqual(['bad:0', 'bad:1', 'bad:2', 'bad:3'])
    expect(error).toHaveBeenCalledWith(expect.objectContaining({ contextId: 'bad:0' }), expect.stringContaining('passed over'))
    // What is wrong with them may pass.
    backend.fails = () => false
    expect(await contexts.cleanup()).toMatchObject({ contexts: 4 })
  })

  test('a log that cannot be pruned is passed over as well', async () => {
    const clock = new FakeClock()
    const backend = new Failing(new StoreModel())
    const contexts = engine({ backend, clock, deltaTtlMs: hour })
    for (const id of ['a', 'b', 'c']) await contexts.set(id, {})
    clock.advance(hour + 1)
    backend.fails = (contextId) => contextId === 'a'
    expect(await contexts.cleanup({ limit: 1 })).toEqual({ contexts: 0, deltas: 0 })
    expect(await contexts.cleanup({ limit: 1 })).toEqual({ contexts: 0, deltas: 1 })
    expect(await contexts.cleanup({ limit: 1 })).toEqual({ contexts: 0, deltas: 1 })
  })

  test('a store that is away is an error of cleanup(); the interval logs it and goes on', async () => {
    const warn = vi.fn<(details: object, message: string) => void>()
    const clock = new FakeClock()
    const backend = new Failing(new StoreModel())
    const logger = { debug: () => {}, info: () => {}, warn, error: () => {} }
    const contexts = engine({ backend, clock, logger, contextTtlMs: hour, autoDelete: true })
    await contexts.set('a', {})
    await contexts.set('b', {})
    clock.advance(hour + 1)
    backend.away = true
    await expect(contexts.cleanup()).rejects.toEqual(code('backend_unavailable'))
    contexts.startCleanup({ intervalMs: 5 })
    await until(() => expect(warn.mock.calls.filter(([, message]) => message.startsWith('a cleanup failed')).length).toBeGreaterThan(1))
    backend.away = false
    await until(async () => expect(await contexts.list()).toEqual([]))
  })

  test('commits of others go on beside it: each step is followed by a rest that is longer', async () => {
    const clock = new FakeClock()
    const backend = new Failing(new StoreModel())
    const contexts = engine({ backend, clock, contextTtlMs: hour, autoDelete: true })
    for (let n = 0; n < 300; n += 1) await contexts.set(`old:${n}`, {})
    clock.advance(hour + 1)
    const atOnce: number[] = []
    backend.removes = atOnce
    const cleaning = contexts.cleanup()
    const going = { on: true }
    void cleaning.finally(() => (going.on = false))
    let commits = 0
    for (; going.on; commits += 1) await contexts.apply('hot', [...increment], { initial: { n: 0 } })
    expect(await cleaning).toEqual({ contexts: 300, deltas: 300 })
    expect(atOnce.every((count) => count <= 50)).toBe(true)
    expect(atOnce.length).toBeGreaterThanOrEqual(6)
    expect(commits).toBeGreaterThan(atOnce.length)
  })

  test('looking for what is stale is rested for too, where a store takes long to tell', async () => {
    const clock = new FakeClock()
    const backend = new Failing(new StoreModel())
    const contexts = engine({ backend, clock, contextTtlMs: hour, autoDelete: true })
    for (let n = 0; n < 1_500; n += 1) await contexts.set(`old:${n}`, {})
    clock.advance(hour + 1)
    const looks: { readonly begun: number; readonly ended: number }[] = []
    const stale = backend.stale.bind(backend)
    vi.spyOn(backend, 'stale').mockImplementation((before, limit) => {
      const begun = performance.now()
      while (performance.now() - begun < 100) continue
      looks.push({ begun, ended: performance.now() })
      return stale(before, limit)
    })
    expect(await contexts.cleanup({ limit: 2_000 })).toMatchObject({ contexts: 1_500 })
    expect(looks.length).toBeGreaterThan(1)
    for (const [index, look] of looks.slice(1).entries()) {
      const last = looks[index]!
      expect(look.begun - last.ended).toBeGreaterThanOrEqual(4 * (last.ended - last.begun))
    }
  })

  test('10,000 stale contexts go in one call that allows it', async () => {
    const clock = new FakeClock()
    const contexts = engine({ clock, contextTtlMs: hour, autoDelete: true })
    await Promise.all(Array.from({ length: 10_000 }, (_, n) => contexts.set(`c:${n}`, {})))
    clock.advance(hour + 1)
    expect(await contexts.cleanup()).toEqual({ contexts: 1_000, deltas: 1_000 })
    expect(await contexts.cleanup({ limit: 100_000 })).toEqual({ contexts: 9_000, deltas: 9_000 })
  })

  test('close ends it after the step that is under way', async () => {
    const clock = new FakeClock()
    const backend = new Failing(new StoreModel())
    const contexts = engine({ backend, clock, contextTtlMs: hour, autoDelete: true })
    for (let n = 0; n < 500; n += 1) await contexts.set(`c:${n}`, {})
    clock.advance(hour + 1)
    backend.removes = []
    const cleaning = contexts.cleanup()
    await until(() => expect(backend.removes!.length).toBeGreaterThan(0))
    await contexts.close()
    const { contexts: gone } = await cleaning
    expect(gone).toBeGreaterThan(0)
    expect(gone).toBeLessThan(500)
    expect(() => contexts.startCleanup()).toThrow(ContextdError)
    await expect(contexts.cleanup()).rejects.toEqual(code('closed'))
  })
})

/** A store where some contexts cannot be cleaned up, or that is away; it counts the removals that are asked for at once. */
class Failing extends MemoryBackend {
  fails: (contextId: string) => boolean = () => false
  away = false
  removes: number[] | null = null
  #counting = false

  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (batch.remove) this.#fail(batch.contextId)
    if (batch.remove && this.removes !== null) {
      if (!this.#counting) {
        this.#counting = true
        this.removes.push(0)
        queueMicrotask(() => (this.#counting = false))
      }
      this.removes[this.removes.length - 1]! += 1
    }
    return super.commit(batch)
  }

  override async prune(batch: PruneBatch): Promise<number | null> {
    this.#fail(batch.contextId)
    return super.prune(batch)
  }

  #fail(contextId: string): void {
    if (this.away) throw new ContextdError('backend_unavailable', 'away')
    if (this.fails(contextId)) throw new Error('a wrong type')
  }
}
