import { setImmediate as turn } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { CommitBatch, CommitResult } from '../backends/backend.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { Contextd } from '../contextd/contextd.ts'
import { contextsWith } from './contexts.ts'
import type { Contexts } from './contexts.ts'
import { engineOf } from '../engine/engine.ts'
import { silentLogger } from '../logger.ts'
import type { Timing } from '../engine/timing.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const opened: { close(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((contexts) => contexts.close()))
})
function create(options: Parameters<typeof contextsWith>[0] = {}, timing: Partial<Timing> = {}): Contexts<{}, unknown> {
  const contexts = contextsWith({ deltaFormat: 'changes', ...options }, timing)
  opened.push(contexts)
  return contexts
}
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 })
const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })

function listen(contexts: Contexts<{}, unknown>, id = 'a'): { readonly log: unknown[]; readonly end: () => void } {
  const log: unknown[] = []
  const end = contexts.subscribe(id, ({ baseVersion, version }, { state }) => log.push([baseVersion, version, state]), {
    onDelete: () => log.push('gone'),
  })
  return { log, end }
}

describe('subscribe', () => {
  test('calls for each commit once and in order, for a delete, and not after its end', async () => {
    const contexts = create()
    const { log, end } = listen(contexts)
    await contexts.set('a', { n: 0 })
    await Promise.all([contexts.apply('a', [...increment]), contexts.apply('a', [...increment]), contexts.apply('a', [])])
    await contexts.delete('a')
    await contexts.set('a', { n: 7 })
    await until(() => expect(log).toEqual([[0, 1, { n: 0 }], [1, 2, { n: 1 }], [2, 3, { n: 2 }], 'gone', [0, 1, { n: 7 }]]))
    end()
    end()
    await contexts.set('a', { n: 8 })
    await turn()
    expect(log).toHaveLength(5)
  })

  test('hears the commits of another engine', async () => {
    const shared = new SharedMemory()
    const [one, two] = [create({ backend: shared.handle() }), create({ backend: shared.handle() })]
    await one.set('a', { n: 0 })
    const { log } = listen(two)
    await two.get('a')
    for (let n = 1; n <= 3; n += 1) await one.apply('a', [...increment])
    await until(() =>
      expect(log).toEqual([
        [1, 2, { n: 1 }],
        [2, 3, { n: 2 }],
        [3, 4, { n: 3 }],
      ]),
    )
  })

  test('G7: a history that went back is one delta to what is there now', async () => {
    const shared = new SharedMemory()
    const contexts = create({ backend: shared.handle() }, { beaconMs: 20 })
    await contexts.set('a', { n: 1 })
    const dump = shared.store.copy('a')
    const { log } = listen(contexts)
    await contexts.set('a', { n: 2 })
    await until(() => expect(log).toEqual([[1, 2, { n: 2 }]]))
    shared.store.putBack(dump)
    await until(() => expect(log.at(-1)).toEqual([2, 1, { n: 1 }]))
  })

  test.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new Error('mine')
      },
    ],
    ['rejects', () => Promise.reject(new Error('mine'))],
  ])('a subscriber that %s is logged, and takes nothing from the others', async (_name, failing) => {
    const error = vi.fn<(details: object, message: string) => void>()
    const shared = new SharedMemory()
    const contexts = create({ backend: shared.handle(), logger: { ...silentLogger, error } })
    contexts.subscribe('a', failing, { onDelete: failing })
    const { log } = listen(contexts)
    const context = new Contextd({ contextKey: 'a', backend: shared.handle(), logger: { ...silentLogger, error } })
    context.on('update', failing)
    await context.initialize()
    await contexts.set('a', {})
    await until(() => expect(error).toHaveBeenCalledTimes(2))
    await contexts.delete('a')
    await until(() => expect(log).toEqual([[0, 1, {}], 'gone']))
    await until(() => expect(error).toHaveBeenCalledTimes(3))
    expect(error.mock.calls.map(([, message]) => message)).toEqual(Array(3).fill('a subscriber failed'))
    await context.close()
  })

  test('G5: watchers get frames in the order of the commits, and the head at each beacon', async () => {
    const shared = new SharedMemory()
    const contexts = create({ backend: shared.handle() }, { beaconMs: 20 })
    const frames: string[] = []
    const heads: Head[] = []
    const end = engineOf(contexts).watch('a', { frame: (text) => frames.push(text), head: (head) => heads.push(head) })
    await contexts.set('a', { n: 0 })
    await contexts.apply('a', [...increment])
    await contexts.delete('a')
    expect(frames.map((text) => (JSON.parse(text) as [string, unknown[]])[0])).toEqual(['d', 'd', 'h'])
    await until(() => expect(heads.at(-1)).toMatchObject({ version: 0 }))
    end()
  })
})

/** A store whose answers can be lost. */
class Faulty extends MemoryBackend {
  lose: ('after' | 'before' | 'refuse' | 'break')[] = []
  loads = 0
  override async load(contextId: string): ReturnType<MemoryBackend['load']> {
    this.loads += 1
    return super.load(contextId)
  }
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const fault = this.lose.shift()
    if (fault === 'break') throw new Error('a bug')
    if (fault === 'refuse') throw new ContextdError('backend_unavailable', 'gone')
    if (fault !== 'before') {
      const result = await super.commit(batch)
      if (fault === undefined) return result
    }
    throw new ContextdError('timeout', 'lost', { details: { outcome: 'unknown' } })
  }
}

describe('faults', () => {
  test.each([[['after']], [['before']], [['after', 'before', 'after']], [['before', 'refuse', 'after']]])(
    'G3: %j: the write is stored once and told',
    async (lose) => {
      const backend = new Faulty(new StoreModel())
      const contexts = create({ backend })
      await contexts.set('a', { n: 0 })
      backend.lose = [...lose] as Faulty['lose']
      const writes = await Promise.all([contexts.apply('a', [...increment]), contexts.apply('a', [...increment])])
      expect(writes.map(({ context }) => context.version)).toEqual([2, 3])
      expect((await contexts.get('a'))?.state).toEqual({ n: 2 })
    },
  )

  test('a creation whose answer was lost is told as done', async () => {
    const backend = new Faulty(new StoreModel())
    const contexts = create({ backend })
    backend.lose = ['after']
    expect((await contexts.set('a', { n: 0 })).context.version).toBe(1)
  })

  test('a store that refuses is an error that says so, and the next write works', async () => {
    const backend = new Faulty(new StoreModel())
    const contexts = create({ backend })
    backend.lose = ['refuse']
    await expect(contexts.set('a', {})).rejects.toEqual(code('backend_unavailable'))
    await contexts.set('a', {})
  })

  test('P7: what a broken store did is unknown, and said to be', async () => {
    const backend = new Faulty(new StoreModel())
    const contexts = create({ backend })
    backend.lose = ['break']
    await expect(contexts.set('a', {})).rejects.toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
  })

  test('a store that throws before it gives a promise is one that rejects', async () => {
    const backend = new MemoryBackend(new StoreModel())
    const contexts = create({ backend })
    await contexts.set('a', { n: 1 })
    const commit = backend.commit.bind(backend)
    backend.commit = () => {
      throw new ContextdError('backend_unavailable', 'away')
    }
    await expect(contexts.set('a', { n: 2 })).rejects.toEqual(code('backend_unavailable'))
    backend.commit = commit
    await contexts.set('a', { n: 3 })
    expect(await contexts.get('a')).toMatchObject({ version: 2, state: { n: 3 } })
  })

  test('close finishes what is queued, and refuses what comes later', async () => {
    const contexts = create()
    const queued = Array.from({ length: 300 }, () => contexts.apply('a', [...increment], { initial: { n: 0 } }))
    await contexts.close()
    expect((await Promise.all(queued)).at(-1)?.context.version).toBe(300)
    await expect(contexts.set('a', {})).rejects.toEqual(code('closed'))
    await expect(contexts.get('a')).rejects.toEqual(code('closed'))
  })

  test('close answers what stays unknown', async () => {
    const backend = new Faulty(new StoreModel())
    const contexts = create({ backend }, { drainMs: 20 })
    backend.lose = Array(1_000).fill('before') as Faulty['lose']
    const write = contexts.set('a', {}).catch((error: unknown) => error)
    await until(() => expect(backend.lose.length).toBeLessThan(1_000))
    await contexts.close()
    expect(await write).toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
  })

  test('a context that nobody has open leaves the memory, one that is watched stays', async () => {
    const backend = new Faulty(new StoreModel())
    const contexts = create({ backend }, { graceMs: 1 })
    await contexts.set('a', {})
    await contexts.set('b', {})
    const end = engineOf(contexts).watch('b', { frame: () => {}, head: () => {} })
    const loads = async (id: string): Promise<number> => {
      const before = backend.loads
      await contexts.get(id)
      return backend.loads - before
    }
    await vi.waitFor(async () => expect(await loads('a')).toBe(1), { timeout: 10_000, interval: 30 })
    expect(await loads('b')).toBe(0)
    end()
  })
})
