import { defineContext } from '@contextd/protocol'
import type { Delta, StandardSchema } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines, storeNames, stores } from '../../support/stores.ts'
import { memoryBackend } from '../backends/memory.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { SharedMemory } from '../testing/shared-memory.ts'
import type { ArchivedContext, ExportedContext } from './archive.ts'

const newStore = stores()
const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const until = (check: () => void | Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 20_000, interval: 5 })
const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const

/** An archive of two functions, as an application writes one: JSON in, JSON out. */
class Shelf {
  readonly kept = new Map<string, string>()
  asked = 0
  /** What it gives of each; default: all. */
  gives: (kept: ExportedContext) => ArchivedContext = (kept) => kept
  readonly export = (snapshot: ExportedContext): void => void this.kept.set(snapshot.contextId, JSON.stringify(snapshot))
  readonly restore = async (contextId: string): Promise<ArchivedContext | null> => {
    this.asked += 1
    const kept = this.kept.get(contextId)
    return kept === undefined ? null : this.gives(JSON.parse(kept) as ExportedContext)
  }
}

describe.each(storeNames)('archives on %s', (name) => {
  test('export hands the context over at its head, answers it, and leaves it where it is', async () => {
    const shelf = new Shelf()
    const contexts = engine({ backend: newStore(name)(), archive: shelf })
    await contexts.set('a', { n: 1 })
    const { context } = await contexts.apply('a', [...increment], { user: { id: 'ada' } })
    expect(await contexts.export('a')).toEqual(context)
    expect(JSON.parse(shelf.kept.get('a')!)).toEqual({ ...context, streams: { schema: 0, records: [] } })
    expect(await contexts.get('a')).toEqual(context)
    await expect(contexts.export('b')).rejects.toMatchObject({ code: 'not_found', contextId: 'b' })
  })

  test('R7: restore puts what the archive has in place: its version, a new revision, no log', async () => {
    const clock = new FakeClock()
    const shelf = new Shelf()
    const contexts = engine({ backend: newStore(name)(), archive: shelf, clock })
    await contexts.set('a', { n: 1 })
    await contexts.apply('a', [...increment])
    const exported = await contexts.export('a')
    for (let n = 0; n < 3; n += 1) await contexts.apply('a', [...increment])
    clock.advance(1_000)
    const restored = await contexts.restore('a')
    expect(restored).toEqual({ ...exported, revision: restored.revision })
    expect(restored.revision).not.toBe(exported.revision)
    expect(await contexts.get('a')).toEqual(restored)
    expect(await contexts.history('a')).toEqual([])
    // Nobody is sent what was committed before as if it still were.
    expect(await contexts.sync('a', exported)).toEqual({ type: 'full_context', context: restored })
    expect(await contexts.sync('a', 5)).toMatchObject({ type: 'full_context' })
    const { context, delta } = await contexts.apply('a', [...increment])
    expect([context.version, context.state, delta.baseVersion]).toEqual([3, { n: 3 }, 2])
    expect(await contexts.sync('a', restored)).toMatchObject({ type: 'delta', delta: { baseVersion: 2, version: 3 } })
    await expect(contexts.restore('b')).rejects.toMatchObject({ code: 'not_found', contextId: 'b' })
  })

  test('R7: { version, state } is enough: a new life, at that version, from now on', async () => {
    const clock = new FakeClock()
    const shelf = new Shelf()
    shelf.gives = ({ state }) => ({ version: 41, state })
    const contexts = engine({ backend: newStore(name)(), archive: shelf, clock })
    const { context } = await contexts.set('a', { n: 1 })
    await contexts.export('a')
    clock.advance(5_000)
    const restored = await contexts.restore('a')
    expect(restored).toMatchObject({ version: 41, state: { n: 1 }, createdAt: clock.now(), updatedAt: clock.now() })
    expect(restored.incarnation).not.toBe(context.incarnation)
    expect((await contexts.apply('a', [...increment])).context).toMatchObject({ version: 42, state: { n: 2 } })
  })

  test('subscribers of every node get one delta to a restored state of the same life, and onDelete and the whole of another', async () => {
    const store = newStore(name)
    const shelf = new Shelf()
    const [here, there] = [engine({ backend: store(), archive: shelf }), engine({ backend: store() })]
    await here.set('a', { n: 1 })
    await here.export('a')
    await here.set('a', { n: 2 })
    const told = [here, there].map((contexts) => {
      const log: unknown[] = []
      const onDelete = (): void => void log.push('gone')
      contexts.subscribe('a', ({ baseVersion, version }, { state }) => log.push([baseVersion, version, state]), { onDelete })
      return log
    })
    await until(async () => {
      await here.apply('a', [...increment])
      expect(told.every((log) => log.length > 0)).toBe(true)
    })
    const last = (await here.get('a'))!.version
    await until(() => expect(told.map((log) => (log.at(-1) as number[])[1])).toEqual([last, last]))
    for (const log of told) log.length = 0
    await here.restore('a')
    await until(() => expect(told).toEqual([[[last, 1, { n: 1 }]], [[last, 1, { n: 1 }]]]))
    for (const log of told) log.length = 0
    shelf.gives = () => ({ version: 7, state: { other: true } })
    await here.restore('a')
    const another = ['gone', [0, 7, { other: true }]]
    await until(() => expect(told).toEqual([another, another]))
  })

  test('a backend is an archive: what is exported twice comes back as it was the second time, with its times and its author', async () => {
    const store = newStore(name)
    const keeper = newStore(name)
    const clock = new FakeClock()
    const contexts = engine({ backend: store(), archive: keeper(), clock })
    await contexts.set('a', { n: 1 })
    await contexts.export('a')
    clock.advance(1_000)
    await contexts.apply('a', [...increment], { user: { id: 'ada' } })
    const exported = await contexts.export('a')
    await contexts.delete('a')
    clock.advance(1_000)
    const restored = await contexts.restore('a')
    expect(restored).toEqual({ ...exported, revision: restored.revision })
    // An engine on that backend has it as a context of its own.
    expect(await engine({ backend: keeper() }).get('a')).toMatchObject({ version: 2, state: { n: 2 } })
  })
})

test('P13: the archive is given what its definition makes of the state, and one of an older definition is moved on when it comes back', async () => {
  const state: StandardSchema<{ n: number }> = {
    '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as { n: number } }) },
  }
  const shelf = new Shelf()
  const shared = new SharedMemory()
  const old = engine({ backend: shared.handle(), archive: shelf, contexts: [defineContext('a', { state })] })
  await old.set('a', { n: 1 })
  await old.export('a')
  const second = defineContext('a', { state, version: 2, migrate: ({ n }) => ({ n: (n as number) + 100 }) })
  const contexts = engine({ archive: shelf, contexts: [second] })
  expect(await contexts.restore('a')).toMatchObject({ version: 2, state: { n: 101 } })
  await contexts.export('a')
  expect(JSON.parse(shelf.kept.get('a')!)).toMatchObject({ version: 2, state: { n: 101 }, streams: { schema: 2 } })
  await contexts.delete('a')
  expect(await contexts.restore('a')).toMatchObject({ version: 2, state: { n: 101 } })
})

test('without an archive export and restore are refused, and say what to do', async () => {
  const contexts = engine()
  await contexts.set('a', {})
  await expect(contexts.export('a')).rejects.toMatchObject({
    code: 'invalid_operation',
    message: expect.stringContaining('archive') as string,
  })
  await expect(contexts.restore('a')).rejects.toEqual(code('invalid_operation'))
})

test.each<[unknown]>([[{}], [{ export: () => {} }], [{ restore: () => null }], [null], ['s3://bucket'], [() => null]])(
  '%o is no archive',
  (archive) => {
    expect(() => engine({ archive } as never)).toThrow(TypeError)
  },
)

test('the backend of the contexts is no archive of them', () => {
  const backend = memoryBackend()
  expect(() => engine({ backend, archive: backend })).toThrow(TypeError)
})

test('the archive is closed with the engine', async () => {
  const archive = memoryBackend()
  const close = vi.spyOn(archive, 'close')
  await engine({ archive }).close()
  expect(close).toHaveBeenCalledTimes(1)
})

test('a restore drops no commit that comes at the same time: each is before it, or on top of it', async () => {
  const shelf = new Shelf()
  const shared = new SharedMemory()
  const [one, two] = [engine({ backend: shared.handle(), archive: shelf }), engine({ backend: shared.handle() })]
  await one.set('a', { n: 0 })
  await one.export('a')
  const [restored, ...writes] = await Promise.all([
    one.restore('a'),
    ...Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? one : two).apply('a', [...increment])),
  ])
  const after = (await one.get('a'))!
  expect(after.state).toEqual({ n: after.version - 1 })
  const later = ((await one.history('a')) as Delta[]).map(({ version }) => version)
  expect(later.toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: after.version - restored.version }, (_, n) => restored.version + 1 + n),
  )
  expect(writes.length).toBe(20)
})
