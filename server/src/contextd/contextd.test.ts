import { setTimeout as pause } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Contextd } from './contextd.ts'
import type { ContextdOptions } from './contextd.ts'
import { createContexts } from '../contexts/contexts.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()))
})
function keep<T extends { close(): Promise<void> }>(each: T): T {
  opened.push(each)
  return each
}
const instance = (shared = new SharedMemory(), options: Partial<ContextdOptions> = {}): Contextd =>
  keep(new Contextd({ contextKey: 'my_cxtd', backend: shared.handle(), ...options }))
const engine = (shared: SharedMemory): ReturnType<typeof createContexts> => keep(createContexts({ backend: shared.handle() }))
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const until = (check: () => void | Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 })
const quick = { retryDelay: 5, maxRetries: 2 }

describe('R13: the class', () => {
  test('an absent context reads {}; the first write creates it, before initialize() too', async () => {
    const shared = new SharedMemory()
    const context = instance(shared)
    expect(await context.getContext()).toEqual({})
    expect(shared.store.load('my_cxtd')?.snapshot ?? null).toBeNull()
    const another = instance(shared)
    await another.updateContext('user', { name: 'Ada' })
    await another.initialize()
    expect(await another.getContext()).toEqual({ user: { name: 'Ada' } })
    expect(await engine(shared).get('my_cxtd')).toMatchObject({ version: 1, state: { user: { name: 'Ada' } } })
  })

  test('an update replaces a top-level key whole, and leaves the others: also what this instance has not seen', async () => {
    const shared = new SharedMemory()
    const contexts = engine(shared)
    await contexts.set('my_cxtd', { user: { name: 'Ada', age: 36 }, other: 1 })
    const context = instance(shared)
    await context.initialize()
    await contexts.update('my_cxtd', { late: true })
    await context.updateContext('user', { name: 'Bob' })
    expect((await contexts.get('my_cxtd'))?.state).toEqual({ user: { name: 'Bob' }, other: 1, late: true })
  })

  test('several keys are one commit and one event; null is stored; no keys are no commit', async () => {
    const context = instance()
    const events: unknown[] = []
    context.on('update', (state, delta) => events.push([state, delta.version, delta.changes]))
    await context.transactionalUpdate({ user: { name: 'Ada' }, loggedIn: null })
    await context.transactionalUpdate({})
    expect(events).toEqual([
      [
        { user: { name: 'Ada' }, loggedIn: null },
        1,
        { user: { name: { action: 'added', value: 'Ada' } }, loggedIn: { action: 'added', value: null } },
      ],
    ])
  })

  test('what a caller does to a state or a value that it handed over changes nothing', async () => {
    const context = instance()
    const user = { name: 'Ada' }
    const written = context.updateContext('user', user)
    user.name = 'changed'
    await written
    const state = await context.getContext()
    state['user'] = 'mine'
    context.on('update', (told) => {
      ;(told['user'] as JsonObject)['name'] = 'changed'
    })
    await context.updateContext('other', 1)
    expect(await context.getContext()).toEqual({ user: { name: 'Ada' }, other: 1 })
  })

  test('the local copy follows the commits of others, without a round trip', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    const [updates, deletes] = [vi.fn<(state: JsonObject) => void>(), vi.fn<() => void>()]
    await two.initialize()
    two.on('update', updates)
    const end = two.on('delete', deletes)
    await one.updateContext('n', 1)
    await until(async () => expect(await two.getContext()).toEqual({ n: 1 }))
    expect(updates).toHaveBeenCalledTimes(1)
    await engine(shared).delete('my_cxtd')
    await until(async () => expect(await two.getContext()).toEqual({}))
    expect(deletes).toHaveBeenCalledTimes(1)
    end()
    await one.updateContext('n', 2)
    await until(async () => expect(await two.getContext()).toEqual({ n: 2 }))
    expect(updates).toHaveBeenCalledTimes(2)
  })

  test('an instance hears of its own context, and not of those of other instances', async () => {
    const shared = new SharedMemory()
    const [mine, other] = [instance(shared), instance(shared, { contextKey: 'other' })]
    const told = vi.fn<() => void>()
    mine.on('update', told)
    mine.on('delete', told)
    await mine.initialize()
    await other.updateContext('n', 1)
    await engine(shared).delete('other')
    await mine.updateContext('n', 1)
    expect(told).toHaveBeenCalledTimes(1)
    expect(await mine.getContext()).toEqual({ n: 1 })
  })

  test('a write that failed is not in the local copy, and does not go out with the next one', async () => {
    class Refusing extends MemoryBackend {
      refuses = false
      override commit(...args: Parameters<MemoryBackend['commit']>): ReturnType<MemoryBackend['commit']> {
        return this.refuses ? Promise.reject(new ContextdError('backend_unavailable', 'gone')) : super.commit(...args)
      }
    }
    const backend = new Refusing(new StoreModel())
    const context = keep(new Contextd({ contextKey: 'my_cxtd', backend }))
    await context.updateContext('a', 1)
    backend.refuses = true
    await expect(context.updateContext('b', 2)).rejects.toEqual(code('backend_unavailable'))
    backend.refuses = false
    await context.updateContext('c', 3)
    expect(await context.getContext()).toEqual({ a: 1, c: 3 })
  })

  test('two instances of one context lose nothing of what they write at once', async () => {
    const shared = new SharedMemory()
    const instances = [instance(shared), instance(shared)]
    await Promise.all(
      instances.flatMap((context, index) => Array.from({ length: 100 }, (_, n) => context.updateContext(`${index}-${n}`, n))),
    )
    const stored = await engine(shared).get('my_cxtd')
    expect(stored?.version).toBe(200)
    expect(Object.keys(stored!.state)).toHaveLength(200)
  })

  test('after close() every call says so, and a second close() is the same', async () => {
    const context = instance()
    await context.initialize()
    await Promise.all([context.close(), context.close()])
    for (const call of [() => context.initialize(), () => context.getContext(), () => context.updateContext('a', 1)]) {
      await expect(call()).rejects.toEqual(code('closed'))
    }
    await expect(context.acquireLock({ key: 'a' })).rejects.toEqual(code('closed'))
    expect(() => context.on('update', () => {})).toThrow(/closed/)
  })
})

describe('R13: what is malformed', () => {
  const base = { contextKey: 'my_cxtd' }
  test.each([
    [undefined],
    [{}],
    [{ contextKey: 'a b' }],
    [{ ...base, redisHost: '' }],
    [{ ...base, redisPort: '6379' }],
    [{ ...base, redisPort: 65_536 }],
    [{ ...base, redisDb: -1 }],
    [{ ...base, redisPassword: 1 }],
    [{ ...base, redisUrl: 'http://localhost' }],
    [{ ...base, redisUrl: 'redis://localhost', redisHost: 'localhost' }],
    [{ ...base, redisOptions: 'tls' }],
    [{ ...base, pubsubChannel: '' }],
    [{ ...base, backend: new SharedMemory().handle(), redisHost: 'localhost' }],
    [{ ...base, backend: new SharedMemory().handle(), pubsubChannel: 'updates' }],
    [{ ...base, backend: {} }],
    [{ ...base, redishost: 'localhost' }],
  ])('%j is a TypeError', (options) => {
    expect(() => new Contextd(options as unknown as ContextdOptions)).toThrow(TypeError)
  })

  test('values that are not JSON are TypeErrors, keys that reach a prototype are refused, and nothing is stored', async () => {
    const shared = new SharedMemory()
    const context = instance(shared)
    for (const value of [undefined, () => {}, new Date(), Number.NaN, { deep: [undefined] }]) {
      await expect(context.updateContext('a', value as never)).rejects.toThrow(TypeError)
    }
    await expect(context.transactionalUpdate({ a: 1, b: undefined } as never)).rejects.toThrow(TypeError)
    await expect(context.transactionalUpdate(null as never)).rejects.toThrow(TypeError)
    await expect(context.updateContext(1 as never, 1)).rejects.toThrow(TypeError)
    for (const key of ['__proto__', 'constructor', 'prototype']) {
      await expect(context.updateContext(key, {})).rejects.toEqual(code('invalid_operation'))
    }
    await expect(context.transactionalUpdate(JSON.parse('{"a":1,"__proto__":{"x":1}}'))).rejects.toEqual(code('invalid_operation'))
    await expect(context.updateContext('a', 'x'.repeat(4_200_000))).rejects.toEqual(code('too_large'))
    expect(shared.store.load('my_cxtd')?.snapshot ?? null).toBeNull()
    for (const bad of [{ key: 'a', lockTimeout: 0 }, { key: 'a', retryDelay: -1 }, { key: 'a', maxRetries: 1.5 }, { name: 'a' }]) {
      await expect(context.acquireLock(bad as never)).rejects.toThrow(TypeError)
    }
    await expect(context.acquireLock({ key: 'a b' })).rejects.toEqual(code('invalid_operation'))
    expect(() => context.on('changed' as never, () => {})).toThrow(TypeError)
    expect(() => context.on('update', 'x' as never)).toThrow(TypeError)
  })
})

describe('R14: its locks', () => {
  test('one holder per key at a time; other keys are free; each hold has its own token', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    expect(await one.acquireLock({ key: 'user', lockTimeout: 15_000, retryDelay: 200, maxRetries: 100 })).toBe(true)
    expect(await two.acquireLock({ key: 'user', ...quick })).toBe(false)
    expect(await two.acquireLock({ key: 'other', ...quick })).toBe(true)
    const [first] = shared.store.locks('my_cxtd', Date.now()).filter(({ key }) => key === 'user')
    await one.releaseLock({ key: 'user' })
    expect(await two.acquireLock({ key: 'user', ...quick })).toBe(true)
    const [second] = shared.store.locks('my_cxtd', Date.now()).filter(({ key }) => key === 'user')
    expect(second!.token).toBeGreaterThan(first!.token)
  })

  test('who takes a lock reads what its last holder wrote, though nothing has told of it', async () => {
    const shared = new SharedMemory()
    shared.tell = () => {}
    const [one, two] = [instance(shared), instance(shared)]
    await two.initialize()
    for (const n of [1, 2, 3]) {
      await one.acquireLock({ key: 'n' })
      await one.updateContext('n', n)
      await one.releaseLock({ key: 'n' })
      await two.acquireLock({ key: 'n' })
      expect(await two.getContext()).toEqual({ n })
      await two.releaseLock({ key: 'n' })
    }
  })

  test('a release without a hold, or after the hold was lost, frees nobody else', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    expect(await one.acquireLock({ key: 'user', lockTimeout: 30 })).toBe(true)
    expect(await two.acquireLock({ key: 'user' })).toBe(true)
    await one.releaseLock({ key: 'user' })
    await one.releaseLock({ key: 'user' })
    expect(await one.acquireLock({ key: 'user', ...quick })).toBe(false)
  })

  test('a late release of a lost hold does not free the next hold of the same instance', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    expect(await one.acquireLock({ key: 'user', lockTimeout: 30 })).toBe(true)
    expect(await one.acquireLock({ key: 'user' })).toBe(true)
    await one.releaseLock({ key: 'user' })
    expect(await two.acquireLock({ key: 'user', ...quick })).toBe(false)
    await one.releaseLock({ key: 'user' })
    expect(await two.acquireLock({ key: 'user', ...quick })).toBe(true)
  })

  test('callers of one instance exclude each other too', async () => {
    const context = instance()
    expect(await context.acquireLock({ key: 'user' })).toBe(true)
    expect(await context.acquireLock({ key: 'user', ...quick })).toBe(false)
    const waiting = context.acquireLock({ key: 'user', retryDelay: 1 })
    await context.releaseLock({ key: 'user' })
    expect(await waiting).toBe(true)
  })

  test('writes of the holder pass; those of others wait, and go on in their order once it is free', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    await one.acquireLock({ key: 'user' })
    const order: number[] = []
    const waiting = [1, 2, 3].map((n) => two.updateContext('user', n).then(() => order.push(n)))
    await two.updateContext('other', 1)
    await one.updateContext('user', 'mine')
    await one.transactionalUpdate({ user: 'mine too', more: 1 })
    expect(order).toEqual([])
    await one.releaseLock({ key: 'user' })
    await Promise.all(waiting)
    expect(order).toEqual([1, 2, 3])
    expect((await engine(shared).get('my_cxtd'))?.state).toEqual({ user: 3, other: 1, more: 1 })
  })

  test('a write of several keys waits for each of them, and is whole', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    await one.acquireLock({ key: 'b' })
    const waiting = two.transactionalUpdate({ a: 1, b: 1 })
    await two.updateContext('c', 1)
    expect(await two.getContext()).toEqual({ c: 1 })
    await one.releaseLock({ key: 'b' })
    await waiting
    expect(await two.getContext()).toEqual({ a: 1, b: 1, c: 1 })
  })

  test('what was computed under a lost hold is refused, also when the lock is free again, until it is given back', async () => {
    const shared = new SharedMemory()
    const [one, two] = [instance(shared), instance(shared)]
    await one.acquireLock({ key: 'user', lockTimeout: 20 })
    expect(await two.acquireLock({ key: 'user' })).toBe(true)
    await two.updateContext('user', 'two')
    await two.releaseLock({ key: 'user' })
    await expect(one.updateContext('user', 'stale')).rejects.toEqual(code('locked'))
    await expect(one.updateContext('user', 'stale')).rejects.toEqual(code('locked'))
    expect(await two.getContext()).toEqual({ user: 'two' })
    await one.releaseLock({ key: 'user' })
    await one.updateContext('user', 'fresh')
    expect(await one.getContext()).toEqual({ user: 'fresh' })
  })

  test('a write under a hold that was lost on the way is refused, also when another caller of the instance has the lock by then', async () => {
    const backend = new SharedMemory().handle()
    const context = instance(undefined, { backend })
    await context.acquireLock({ key: 'user', lockTimeout: 50 })
    const commit = backend.commit.bind(backend)
    const next = context.acquireLock({ key: 'user', retryDelay: 5, maxRetries: 1_000 })
    backend.commit = async (batch) => {
      expect(await next).toBe(true)
      return await commit(batch)
    }
    await expect(context.updateContext('user', 'stale')).rejects.toEqual(code('locked'))
    await context.updateContext('user', 'next')
    expect(await context.getContext()).toEqual({ user: 'next' })
  })

  test('a write that was under way when its lock was given back is stored', async () => {
    const context = instance()
    await context.acquireLock({ key: 'user' })
    const written = context.updateContext('user', 1)
    await Promise.all([written, context.releaseLock({ key: 'user' })])
    expect(await context.getContext()).toEqual({ user: 1 })
  })

  test('a key that no lock can have is written without one', async () => {
    const context = instance()
    await context.updateContext('first name', 'Ada')
    expect(await context.getContext()).toEqual({ 'first name': 'Ada' })
  })

  test('close() frees what is held, and ends the waiting', async () => {
    const shared = new SharedMemory()
    const [one, two, three] = [instance(shared), instance(shared), instance(shared)]
    await one.acquireLock({ key: 'user' })
    await two.initialize()
    const written = two.updateContext('user', 1)
    const waiting = two.acquireLock({ key: 'user' })
    const outcomes = Promise.allSettled([written, waiting])
    await pause(20)
    await two.close()
    expect(await outcomes).toEqual([
      { status: 'rejected', reason: code('closed') },
      { status: 'rejected', reason: code('closed') },
    ])
    await one.close()
    expect(await three.acquireLock({ key: 'user', maxRetries: 0 })).toBe(true)
  })

  test("a context named as the seed named a lock stands in nobody's way", async () => {
    const shared = new SharedMemory()
    const context = instance(shared, { contextKey: 'x' })
    await engine(shared).set('x_lock', { a: 1 })
    expect(await context.acquireLock({ key: 'a', ...quick })).toBe(true)
    await context.updateContext('a', 1)
  })
})
