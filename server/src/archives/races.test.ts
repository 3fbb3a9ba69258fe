import { ContextdError } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines, storeNames, stores } from '../../support/stores.ts'
import type { RestoreBatch, RestoreResult } from '../backends/backend.ts'
import { MemoryBackend, memoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { SharedMemory } from '../testing/shared-memory.ts'
import type { ExportedContext } from './archive.ts'

const newStore = stores()
const engine = engines()

test('of exports of one context that come at once the newest stays in the archive, however long each takes', async () => {
  const kept: number[] = []
  const free: (() => void)[] = []
  const archive = {
    async export({ version }: ExportedContext) {
      // The first is slow.
      if (version === 1) await new Promise<void>((resolve) => free.push(resolve))
      kept.push(version)
    },
    restore: () => null,
  }
  const contexts = engine({ backend: memoryBackend(), archive })
  await contexts.set('a', { n: 1 })
  const first = contexts.export('a')
  await vi.waitUntil(() => free.length === 1)
  await contexts.set('a', { n: 2 })
  const second = contexts.export('a')
  await contexts.set('b', { n: 1 })
  // Another context does not wait.
  const other = contexts.export('b')
  await vi.waitUntil(() => free.length === 2)
  expect(kept).toEqual([])
  for (const each of free) each()
  expect((await Promise.all([first, second, other])).map(({ version }) => version)).toEqual([1, 2, 1])
  expect(kept.at(-1)).toBe(2)
})

/** Does what it is asked, and says that it does not know, as often as it is told to. */
class Unanswering extends MemoryBackend {
  silent = 0
  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    const result = await super.restore(batch)
    this.silent -= 1
    if (this.silent >= 0) throw new ContextdError('timeout', 'Nobody knows.', { details: { outcome: 'unknown' } })
    return result
  }
}

test('F2: a restore of which nothing is heard is asked for again, and done once; one in place of what is there is not', async () => {
  const store = new StoreModel()
  const backend = new Unanswering(store)
  const archive = { export: () => {}, restore: () => ({ version: 7, state: { n: 7 } }) }
  const contexts = engine({ backend, archive })
  backend.silent = 2
  const found = await contexts.get('a')
  expect(found).toMatchObject({ version: 7, state: { n: 7 } })
  expect(store.load('a')!.row.head.revision).toBe(found!.revision)
  backend.silent = 99
  await expect(contexts.get('b')).rejects.toMatchObject({ code: 'timeout' })
  // Others may have written on what an earlier attempt has put in place.
  backend.silent = 1
  await expect(contexts.restore('a')).rejects.toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
})

test.each(['expired', 'never was here'])('a delete of a context that %s keeps the archive from bringing it back', async (how) => {
  const clock = new FakeClock()
  const [archive, store] = [memoryBackend(), new SharedMemory()]
  const options = { archive, clock, contextTtlMs: 1_000, autoDelete: true }
  const [here, there] = [engine({ backend: store.handle(), ...options }), engine({ backend: store.handle(), ...options })]
  const first = how === 'expired' ? here : engine({ backend: memoryBackend(), archive })
  await first.set('a', { n: 1 })
  await first.export('a')
  clock.advance(2_000)
  await here.cleanup()
  const heard: unknown[] = []
  there.subscribe('b', (delta) => heard.push(delta), { onDelete: () => heard.push('deleted') })
  for (const id of ['a', 'b']) await here.delete(id)
  for (const contexts of [here, there]) {
    expect(await contexts.get('a')).toBeNull()
    await expect(contexts.update('a', { n: 2 })).rejects.toMatchObject({ code: 'not_found' })
  }
  expect(await here.list()).toEqual([])
  // Whoever asks for it by name gets it.
  expect(await there.restore('a')).toMatchObject({ state: { n: 1 } })
  expect(heard).toEqual([])
})

describe.each(storeNames)('an archive on %s', (name) => {
  test('that is the very store of the contexts, under another handle, is refused before anything is replaced', async () => {
    const store = newStore(name)
    const contexts = engine({ backend: store(), archive: store() })
    await contexts.set('a', { n: 1 })
    await contexts.set('a', { n: 2 })
    await expect(contexts.export('a')).rejects.toMatchObject({ code: 'invalid_operation', message: expect.stringContaining('very store') })
    expect(await contexts.history('a')).toHaveLength(2)
    expect(await contexts.list()).toHaveLength(1)
    // Another one will do.
    const others = engine({ backend: store(), archive: newStore(name)() })
    expect(await others.export('a')).toMatchObject({ version: 2 })
  })
})
