import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { ContextBackend, LockRequest, LockResult } from '../backends/backend.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { redisBackend } from '../backends/redis/redis.ts'
import { sqliteBackend } from '../backends/sqlite.ts'
import { StoreModel } from '../backends/store-model.ts'
import { createContexts } from '../contexts/contexts.ts'
import type { Contexts } from '../contexts/contexts.ts'
import { startRedisServer } from '../testing/redis-server.ts'
import type { RedisServer } from '../testing/redis-server.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((contexts) => contexts.close()))
})
function create(backend: ContextBackend, more: object = {}): Contexts {
  const contexts = createContexts({ backend, ...more }) as unknown as Contexts
  opened.push(contexts)
  return contexts
}
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason))
  })
const once = { maxRetries: 0 }

let redis: RedisServer
let directory: string
beforeAll(async () => {
  redis = await startRedisServer()
  directory = await mkdtemp(join(tmpdir(), 'contextd-locks-'))
})
afterAll(async () => {
  await redis.stop()
  await rm(directory, { recursive: true, force: true })
})
let files = 0
const stores: { [name: string]: () => () => ContextBackend } = {
  memory: () => {
    const shared = new SharedMemory()
    return () => shared.handle()
  },
  SQLite: () => {
    const file = join(directory, `${(files += 1)}.db`)
    return () => sqliteBackend(file)
  },
  Redis: () => {
    const prefix = `locks${(files += 1)}`
    return () => redisBackend({ url: redis.url, prefix })
  },
}

describe.each(Object.keys(stores))('locks on %s', (name) => {
  const pair = (): [Contexts, Contexts] => {
    const backend = stores[name]!()
    return [create(backend()), create(backend())]
  }

  test('one holder at a time, each hold with a higher token, also where there is no context yet', async () => {
    const [one, two] = pair()
    const first = await one.lock('a', 'title')
    await expect(two.lock('a', 'title', once)).rejects.toMatchObject({
      code: 'locked',
      contextId: 'a',
      details: { key: 'title', holder: { userId: null, actor: 'server' }, since: expect.any(Number) as number },
    })
    await two.lock('a', 'other', once)
    await two.lock('b', 'title', once)
    await first.release()
    const second = await two.lock('a', 'title', once)
    expect(second).toMatchObject({ key: 'title' })
    expect(second.token).toBeGreaterThan(first.token)
    expect(await one.get('a')).toBeNull()
  })

  test('who waits gets it when it is released, or when its lease ends', async () => {
    const [one, two] = pair()
    const first = await one.lock('a', 'k')
    const waiting = two.lock('a', 'k', { retryDelayMs: 5, ttlMs: 50 })
    await first.release()
    const second = await waiting
    const third = await one.lock('a', 'k', { retryDelayMs: 5 })
    expect(second.signal.aborted).toBe(true)
    expect(third.token).toBeGreaterThan(second.token)
    expect(third.signal.aborted).toBe(false)
  })

  test('writes of every kind carry it; once it is lost they are refused and change nothing', async () => {
    const [one, two] = pair()
    const lock = await one.lock('a', 'k')
    await one.set('a', { n: 1 }, { lock })
    await one.update('a', { n: 2 }, { lock })
    await one.apply('a', [{ type: 'increment', path: ['n'], by: 1 }], { lock })
    const { key, token } = lock
    // Who was handed the proof may write too.
    expect((await two.transact('a', (draft) => (draft['n'] = 4), { lock: { key, token } })).context.version).toBe(4)
    await lock.release()
    await expect(one.set('a', {}, { lock })).rejects.toEqual(code('locked'))
    await expect(one.update('a', { n: 5 }, { lock })).rejects.toEqual(code('locked'))
    await expect(two.apply('a', [{ type: 'increment', path: ['n'], by: 1 }], { lock: { key, token } })).rejects.toEqual(code('locked'))
    await expect(two.transact('a', (draft) => (draft['n'] = 9), { lock })).rejects.toEqual(code('locked'))
    await expect(two.delete('a', { lock })).rejects.toEqual(code('locked'))
    expect(await one.get('a')).toMatchObject({ version: 4, state: { n: 4 } })
  })

  test('a lost token is refused though nobody holds the lock, and the others of its batch are stored', async () => {
    const [one, two] = pair()
    await one.set('a', {})
    const lost = await one.lock('a', 'k', { ttlMs: 1 })
    await aborted(lost.signal)
    await pause(5)
    const outcomes = await Promise.allSettled([
      two.update('a', { a: 1 }),
      two.update('a', { b: 1 }, { lock: lost }),
      two.update('a', { c: 1 }),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await one.get('a'))?.state).toEqual({ a: 1, c: 1 })
  })

  test('extend starts the lease anew; a lost one cannot be extended, and says so', async () => {
    const [one, two] = pair()
    const lock = await one.lock('a', 'k', { ttlMs: 40 })
    await lock.extend(60_000)
    await pause(60)
    expect(lock.signal.aborted).toBe(false)
    await expect(two.lock('a', 'k', once)).rejects.toEqual(code('locked'))
    await lock.extend(1)
    expect(await aborted(lock.signal)).toEqual(code('locked'))
    await expect(lock.extend()).rejects.toEqual(code('locked'))
    await lock.release()
    const next = await two.lock('a', 'k', { retryDelayMs: 1 })
    await lock.release()
    expect(next.signal.aborted).toBe(false)
    await expect(one.lock('a', 'k', once)).rejects.toEqual(code('locked'))
  })

  test('close() releases what the engine holds, tells its holders, and ends the waiting', async () => {
    const [one, two] = pair()
    const lock = await one.lock('a', 'k')
    const other = await two.lock('a', 'other')
    const waiting = one.lock('a', 'other')
    const ended = waiting.then(String, (error: unknown) => error)
    await one.close()
    expect(await ended).toEqual(code('closed'))
    expect(lock.signal.reason).toEqual(code('closed'))
    await expect(one.lock('a', 'k')).rejects.toEqual(code('closed'))
    await two.lock('a', 'k', once)
    expect(other.signal.aborted).toBe(false)
  })
})

describe('a lock', () => {
  test('is waited for maxRetries × retryDelayMs, and not longer', async () => {
    const shared = new SharedMemory()
    await create(shared.handle()).lock('a', 'k')
    const backend = shared.handle()
    const asked = vi.spyOn(backend, 'lock')
    await expect(create(backend).lock('a', 'k', { maxRetries: 4, retryDelayMs: 2 })).rejects.toEqual(code('locked'))
    expect(asked).toHaveBeenCalledTimes(5)
  })

  test('is given up by a signal: before, and while it is waited for', async () => {
    const contexts = create(new SharedMemory().handle())
    const lock = await contexts.lock('a', 'k')
    await expect(contexts.lock('a', 'other', { signal: AbortSignal.abort() })).rejects.toEqual(code('aborted'))
    const controller = new AbortController()
    const waiting = contexts.lock('a', 'k', { signal: controller.signal, retryDelayMs: 60_000 })
    setImmediate(() => controller.abort(new Error('mine')))
    await expect(waiting).rejects.toMatchObject({ code: 'aborted', cause: new Error('mine') })
    await lock.release()
    await contexts.lock('a', 'k', once)
  })

  test('that is granted to nobody who wants it any more is given back', async () => {
    const shared = new SharedMemory()
    const controller = new AbortController()
    const backend = shared.handle()
    const ask = backend.lock.bind(backend)
    vi.spyOn(backend, 'lock').mockImplementation(async (request) => {
      const result = await ask(request)
      controller.abort()
      return result
    })
    const contexts = create(backend)
    await expect(contexts.lock('a', 'k', { signal: controller.signal })).rejects.toEqual(code('aborted'))
    expect(shared.store.locks('a', Date.now())).toEqual([])
  })

  test('whose loss a commit finds out aborts its signal', async () => {
    const shared = new SharedMemory()
    const contexts = create(shared.handle())
    const lock = await contexts.lock('a', 'k', { ttlMs: 60_000 })
    const other = await contexts.lock('a', 'other', { ttlMs: 60_000 })
    // As after a failover that lost it.
    shared.store.putBack({ ...shared.store.copy('a'), locks: new Map() })
    await expect(contexts.set('a', {}, { lock })).rejects.toEqual(code('locked'))
    expect(lock.signal.reason).toEqual(code('locked'))
    expect(other.signal.aborted).toBe(false)
    await expect(other.extend()).rejects.toEqual(code('locked'))
    expect(other.signal.aborted).toBe(true)
  })

  test('needs a key, and options that are as they should be', async () => {
    const contexts = create(new SharedMemory().handle())
    for (const key of ['', 'a b', '~cluster', 'k'.repeat(129), 1, undefined]) {
      await expect(contexts.lock('a', key as string)).rejects.toEqual(code('invalid_operation'))
    }
    await contexts.lock('a', 'k'.repeat(128))
    await expect(contexts.lock('a b', 'k')).rejects.toEqual(code('invalid_operation'))
    const bad = [
      { ttlMs: 0 },
      { ttlMs: 2 ** 31 },
      { ttlMs: '1' },
      { retryDelayMs: -1 },
      { maxRetries: -1 },
      { signal: {} },
      { wait: 1 },
      null,
    ]
    for (const options of bad) await expect(contexts.lock('a', 'k', options as object)).rejects.toThrow(TypeError)
    const lock = await contexts.lock('a', 'k')
    await expect(lock.extend(-1)).rejects.toThrow(TypeError)
    for (const wrong of ['k', null, {}, { key: 'k' }, { key: 'k', token: '1' }, { key: 1, token: 1 }]) {
      await expect(contexts.set('a', {}, { lock: wrong as never })).rejects.toThrow(TypeError)
    }
    await expect(contexts.set('a', {}, { lock: { key: 'a b', token: 1 } })).rejects.toEqual(code('invalid_operation'))
    expect(await contexts.get('a')).toBeNull()
  })
})

describe('a store that fails', () => {
  /** Loses answers about locks: after, or before, the store has done what was asked. */
  class Faulty extends MemoryBackend {
    faults: ('after' | 'before' | 'away')[] = []
    asked = 0
    override async lock(request: LockRequest): Promise<LockResult> {
      return this.#faulty(() => super.lock(request))
    }
    override async unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean> {
      return this.#faulty(() => super.unlock(contextId, key, hold, now))
    }
    async #faulty<R>(work: () => Promise<R>): Promise<R> {
      this.asked += 1
      const fault = this.faults.shift()
      if (fault === 'away') throw new ContextdError('backend_unavailable', 'gone')
      if (fault === undefined || fault === 'after') {
        const result = await work()
        if (fault === undefined) return result
      }
      throw new ContextdError('timeout', 'lost', { details: { outcome: 'unknown' } })
    }
  }
  function faulty(): { backend: Faulty; store: StoreModel; contexts: Contexts } {
    const store = new StoreModel()
    const backend = new Faulty(store)
    return { backend, store, contexts: create(backend) }
  }

  test('an answer that was lost is asked for again, as the same hold', async () => {
    const { backend, store, contexts } = faulty()
    backend.faults = ['after', 'before', 'after']
    const lock = await contexts.lock('a', 'k', once)
    expect(store.locks('a', Date.now())).toMatchObject([{ key: 'k', token: lock.token }])
    expect(backend.asked).toBe(4)
    backend.faults = ['after']
    await lock.extend()
    expect(lock.signal.aborted).toBe(false)
    backend.faults = ['after']
    await lock.release()
    expect(store.locks('a', Date.now())).toEqual([])
  })

  test('a store that is away, or never answers, is backend_unavailable; nothing stays held', async () => {
    const { backend, store, contexts } = faulty()
    backend.faults = ['away']
    await expect(contexts.lock('a', 'k')).rejects.toEqual(code('backend_unavailable'))
    backend.faults = Array.from({ length: 5 }, () => 'after' as const)
    await expect(contexts.lock('a', 'k')).rejects.toEqual(code('backend_unavailable'))
    await vi.waitFor(() => expect(store.locks('a', Date.now())).toEqual([]))
  })

  test('an extension that did not come through leaves the lease as it is; a release may be tried again', async () => {
    const { backend, store, contexts } = faulty()
    const lock = await contexts.lock('a', 'k')
    backend.faults = ['away']
    await expect(lock.extend()).rejects.toEqual(code('backend_unavailable'))
    expect(lock.signal.aborted).toBe(false)
    backend.faults = ['away']
    await expect(lock.release()).rejects.toEqual(code('backend_unavailable'))
    await lock.release()
    expect(store.locks('a', Date.now())).toEqual([])
  })
})
