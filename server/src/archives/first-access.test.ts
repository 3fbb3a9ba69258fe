import { ContextdError } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines, storeNames, stores } from '../../support/stores.ts'
import { served } from '../../support/served.ts'
import type { Contexts } from '../contexts/contexts.ts'
import type { ArchivedContext, ExportedContext } from './archive.ts'
import { engineOf } from '../engine/engine.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const newStore = stores()
const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const hour = 3_600_000
const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const

/** An archive that counts what it is asked. */
class Shelf {
  readonly kept = new Map<string, ExportedContext>()
  readonly asked: string[] = []
  failure: Error | null = null
  readonly export = (snapshot: ExportedContext): void => void this.kept.set(snapshot.contextId, snapshot)
  readonly restore = async (contextId: string): Promise<ArchivedContext | null> => {
    this.asked.push(contextId)
    await Promise.resolve()
    if (this.failure !== null) throw this.failure
    return this.kept.get(contextId) ?? null
  }
}

describe.each(storeNames)('first access on %s', (name) => {
  /** Two nodes on one store and one archive, with contexts that have expired after an export. */
  async function expired(ids: readonly string[]): Promise<{ shelf: Shelf; here: Contexts<{}, unknown>; there: Contexts<{}, unknown> }> {
    const clock = new FakeClock()
    const store = newStore(name)
    const shelf = new Shelf()
    const options = { archive: shelf, clock, contextTtlMs: hour, autoDelete: true }
    const [here, there] = [engine({ backend: store(), ...options }), engine({ backend: store(), ...options })]
    for (const id of ids) {
      await here.set(id, { n: 1 })
      await here.apply(id, [...increment])
      await here.export(id)
    }
    clock.advance(hour + 1)
    expect(await here.cleanup()).toMatchObject({ contexts: ids.length })
    return { shelf, here, there }
  }

  test('an expired context comes back when it is read, written or synced', async () => {
    const ids = ['get', 'update', 'apply', 'transact', 'sync', 'history', 'at', 'between', 'initial']
    const { here, there, shelf } = await expired(ids)
    expect(await there.get('get')).toMatchObject({ version: 2, state: { n: 2 } })
    expect((await there.update('update', { m: 1 })).context).toMatchObject({ version: 3, state: { n: 2, m: 1 } })
    expect((await there.apply('apply', [...increment])).context).toMatchObject({ version: 3, state: { n: 3 } })
    expect((await there.transact('transact', ({ n }) => n)).result).toBe(2)
    expect(await there.sync('sync', 2)).toMatchObject({ type: 'no_change', version: 2 })
    expect(await there.history('history')).toEqual([])
    expect(await there.at('at', 2)).toMatchObject({ state: { n: 2 } })
    expect(await there.between('between', 2, 2)).toMatchObject({ changes: [] })
    // What it would begin as is for contexts that are in no archive.
    expect((await there.apply('initial', [...increment], { initial: { n: 100 } })).context).toMatchObject({ version: 3, state: { n: 3 } })
    expect((await there.apply('none', [...increment], { initial: { n: 100 } })).context).toMatchObject({ version: 1, state: { n: 101 } })
    expect(await here.get('apply')).toMatchObject({ version: 3, state: { n: 3 } })
    expect(shelf.asked).toEqual([...ids, 'none'])
  })

  test('what replaces or deletes all of it asks no archive', async () => {
    const { there, shelf } = await expired(['set', 'delete'])
    expect((await there.set('set', { n: 9 })).context).toMatchObject({ version: 1, state: { n: 9 } })
    await there.delete('delete')
    expect(shelf.asked).toEqual([])
  })

  test('one that was deleted is never brought back by looking at it; restore() does', async () => {
    const shelf = new Shelf()
    const store = newStore(name)
    const [here, there] = [engine({ backend: store(), archive: shelf }), engine({ backend: store(), archive: shelf })]
    await here.set('a', { n: 1 })
    await here.export('a')
    await here.delete('a')
    expect(await there.get('a')).toBeNull()
    await expect(there.update('a', { n: 2 })).rejects.toEqual(code('not_found'))
    await expect(there.sync('a', null)).rejects.toEqual(code('not_found'))
    expect(shelf.asked).toEqual([])
    expect(await there.restore('a')).toMatchObject({ version: 1, state: { n: 1 } })
    expect(await here.get('a')).toMatchObject({ version: 1 })
  })

  test('many who ask two nodes at once get one context, and each node asks the archive once', async () => {
    const { here, there, shelf } = await expired(['a'])
    const asked = Array.from({ length: 40 }, (_, index) => {
      const contexts = index % 2 === 0 ? here : there
      return index < 20 ? contexts.get('a') : contexts.apply('a', [...increment])
    })
    await Promise.all(asked)
    expect(await here.get('a')).toMatchObject({ version: 22, state: { n: 22 } })
    expect(shelf.asked.length).toBeLessThanOrEqual(2)
  })

  test('a context that never was comes from the archive too: of another installation, or of functions of the application', async () => {
    const shelf = new Shelf()
    const contexts = engine({
      backend: newStore(name)(),
      archive: { export: () => {}, restore: (id) => (id === 'a' ? { version: 5, state: { id } } : null) },
    })
    expect(await contexts.get('a')).toMatchObject({ version: 5, state: { id: 'a' } })
    expect(await contexts.get('b')).toBeNull()
    expect(shelf.asked).toEqual([])
  })
})

describe('first access', () => {
  test('that the archive has nothing is remembered as long as the context is in memory', async () => {
    const shelf = new Shelf()
    const contexts = engine({ archive: shelf }, { graceMs: 1 })
    for (let n = 0; n < 3; n += 1) expect(await contexts.get('a')).toBeNull()
    await expect(contexts.apply('a', [...increment])).rejects.toEqual(code('not_found'))
    expect(shelf.asked).toEqual(['a'])
    const end = engineOf(contexts).watch('b', { frame: () => {}, head: () => {} })
    expect(await contexts.get('b')).toBeNull()
    await vi.waitFor(async () => {
      await contexts.get('a')
      expect(shelf.asked.filter((id) => id === 'a').length).toBeGreaterThan(1)
    })
    expect(await contexts.get('b')).toBeNull()
    expect(shelf.asked.filter((id) => id === 'b')).toEqual(['b'])
    end()
  })

  test('an archive that fails is an error of who asked, held for who wrote; nothing is created over it, and the next one asks again', async () => {
    const shelf = new Shelf()
    const contexts = engine({ archive: shelf })
    shelf.kept.set('a', { version: 7, state: { n: 7 } } as unknown as ExportedContext)
    shelf.failure = new Error('on fire')
    await expect(contexts.get('a')).rejects.toMatchObject({ code: 'backend_unavailable', contextId: 'a', cause: shelf.failure })
    await expect(contexts.apply('a', [...increment], { initial: { n: 0 } })).rejects.toEqual(code('backend_unavailable'))
    shelf.failure = new ContextdError('backend_unavailable', 'the bucket is away')
    await expect(contexts.sync('a', null)).rejects.toEqual(shelf.failure)
    shelf.failure = null
    expect((await contexts.apply('a', [...increment], { initial: { n: 0 } })).context).toMatchObject({ version: 8, state: { n: 8 } })
  })

  test('what is damaged refuses who goes on from it, for good; a set replaces it', async () => {
    const contexts = engine({ archive: { export: () => {}, restore: () => ({ version: 0, state: {} }) } })
    await expect(contexts.get('a')).rejects.toEqual(code('invalid_state'))
    const [update, set] = await Promise.allSettled([contexts.update('a', { n: 1 }, { initial: {} }), contexts.set('a', { n: 2 })])
    expect(update).toMatchObject({ status: 'rejected', reason: { code: 'invalid_state' } })
    expect(set).toMatchObject({ status: 'fulfilled', value: { context: { version: 1, state: { n: 2 } } } })
    expect(await contexts.get('a')).toMatchObject({ version: 1 })
  })

  test('a client that opens an expired context gets it from the archive, with what was said of its own commits', async () => {
    const shelf = new Shelf()
    const clock = new FakeClock()
    const first = await served({}, { archive: shelf, clock })
    const session = await (await first.connect()).attach()
    await session.sync('a')
    session.write('a', '', [[{ type: 'set', path: ['n'], value: 0 }], [...increment]])
    await session.client.until(() => session.seen('a').length === 2)
    await first.contexts.export('a')
    // Another installation: nothing is known there but what the archive has.
    const second = await served({}, { archive: shelf, clock })
    const again = await (await second.connect()).attach(session.id)
    const { answer, record, reset } = await again.sync('a', null, { told: 0, settled: 0 })
    expect(answer).toMatchObject({ type: 'full', state: { n: 1 }, head: { version: 2, incarnation: expect.any(String) as string } })
    expect([record.epoch, record.last, record.verdicts.length, reset]).toEqual([0, 2, 2, null])
    // The answer to the second commit was lost: it is sent again, and counts once.
    again.send('a', [{ seq: 2, incarnation: (answer as { head: { incarnation: string } }).head.incarnation, operations: increment }])
    expect(await again.outcome('a', 2)).toMatchObject({ type: 'applied', head: { version: 2 } })
    expect(await second.contexts.get('a')).toMatchObject({ version: 2, state: { n: 1 } })
  })

  test('two exports into a backend keep writes exactly-once: the records are those of the second', async () => {
    const archive = new SharedMemory()
    const clock = new FakeClock()
    const first = await served({}, { archive: archive.handle(), clock })
    const session = await (await first.connect()).attach()
    await session.sync('a')
    session.write('a', '', [[{ type: 'set', path: ['n'], value: 0 }]])
    await session.client.until(() => session.seen('a').length === 1)
    const { incarnation } = await first.contexts.export('a')
    session.write('a', incarnation, [[...increment]])
    await session.client.until(() => session.seen('a').length === 2)
    await first.contexts.export('a')
    const second = await served({}, { archive: archive.handle(), clock })
    const again = await (await second.connect()).attach(session.id)
    await again.sync('a', null, { told: 1, settled: 1 })
    again.send('a', [{ seq: 2, incarnation, operations: increment }], { settled: 1 })
    expect(await again.outcome('a', 2)).toMatchObject({ type: 'applied' })
    expect(await second.contexts.get('a')).toMatchObject({ version: 2, state: { n: 1 } })
  })
})
