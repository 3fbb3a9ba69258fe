import { defineContext } from '@contextd/protocol'
import type { Delta, Head, JsonObject, StandardSchema } from '@contextd/protocol'
import { describe, expect, onTestFinished, test } from 'vitest'
import { code, create, increment } from '../../support/contexts.ts'
import type { ContextBackend } from '../backends/backend.ts'
import { createContexts } from './contexts.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

describe('writes', () => {
  test('set creates version 1, and answers snapshot and delta', async () => {
    const contexts = create({ clock: { now: () => 1_234.5 } })
    const { context, delta } = await contexts.set('a', { n: 1 }, { user: { id: 'ada' } })
    const author = { userId: 'ada', actor: 'server' }
    const { incarnation, revision } = context
    expect(context).toEqual({
      contextId: 'a',
      incarnation,
      version: 1,
      revision,
      state: { n: 1 },
      createdAt: 1234,
      updatedAt: 1234,
      updatedBy: author,
    })
    const changes = [{ path: ['n'], action: 'added', value: 1 }]
    expect(delta).toEqual({ contextId: 'a', baseVersion: 0, version: 1, revision, changes, committedAt: 1234, author })
    expect(await contexts.get('a')).toEqual(context)
  })

  test('R1, R10: deltas come in the chosen format', async () => {
    const verbose = createContexts()
    const patch = createContexts({ deltaFormat: 'jsonPatch' })
    const own = createContexts({ deltaFormat: (delta, { before, after }) => [delta.changes.length, before, after] as const })
    for (const each of [verbose, patch, own]) onTestFinished(() => each.close())
    for (const contexts of [verbose, patch, own]) await contexts.set('a', { n: 1 })
    expect((await verbose.update('a', { n: 2 })).delta.changes).toEqual({ n: { action: 'modified', value: 2, oldValue: 1 } })
    expect((await patch.update('a', { n: 2 })).delta.changes).toEqual([{ op: 'replace', path: '/n', value: 2 }])
    expect((await own.update('a', { n: 2 })).delta.changes).toEqual([1, { n: 1 }, { n: 2 }])
  })

  test('R2: what changes nothing is no commit; an empty state of an absent context is one', async () => {
    let time = 1
    const contexts = create({ clock: { now: () => (time += 1) } })
    const first = await contexts.set('a', {})
    expect(first.context.version).toBe(1)
    for (const result of [await contexts.set('a', {}), await contexts.update('a', {}), await contexts.apply('a', [])]) {
      expect(result.context).toEqual(first.context)
      expect(result.delta).toMatchObject({ baseVersion: 1, version: 1, revision: first.context.revision, changes: [] })
    }
  })

  test('R3: null in a patch removes, undefined is not mentioned', async () => {
    const contexts = create()
    await contexts.set('a', { keep: 1, drop: 1, deep: { x: 1, y: 2 } })
    const { context } = await contexts.update('a', { drop: null, keep: undefined, deep: { x: null, z: [1] } })
    expect(context.state).toEqual({ keep: 1, deep: { y: 2, z: [1] } })
  })

  test('R4: an absent context is not found by what needs it, unless there is an initial', async () => {
    const contexts = create()
    await expect(contexts.update('a', { n: 1 })).rejects.toEqual(code('not_found'))
    await expect(contexts.apply('a', [...increment])).rejects.toMatchObject({ code: 'not_found', contextId: 'a' })
    await expect(contexts.transact('a', () => 1)).rejects.toEqual(code('not_found'))
    await expect(contexts.sync('a', null)).rejects.toEqual(code('not_found'))
    await expect(contexts.history('a')).rejects.toEqual(code('not_found'))
    expect(await contexts.get('a')).toBeNull()
    await contexts.delete('a')
    const { context, delta } = await contexts.update('a', { b: 1 }, { initial: { a: 1 } })
    expect(context).toMatchObject({ version: 1, state: { a: 1, b: 1 } })
    expect(delta).toMatchObject({ baseVersion: 0, changes: [{ path: ['a'] }, { path: ['b'] }] })
  })

  test('ifVersion and ifRevision commit on that version only, and absent is version 0', async () => {
    const contexts = create()
    const { context } = await contexts.set('a', { n: 0 }, { ifVersion: 0 })
    await expect(contexts.set('a', { n: 9 }, { ifVersion: 0 })).rejects.toEqual(code('conflict'))
    await expect(contexts.update('a', {}, { ifRevision: 'other' })).rejects.toEqual(code('conflict'))
    await expect(contexts.delete('a', { ifVersion: 9 })).rejects.toEqual(code('conflict'))
    await contexts.apply('a', [...increment], { ifVersion: 1, ifRevision: context.revision })
    expect((await contexts.get('a'))?.state).toEqual({ n: 1 })
  })

  test('transact changes a draft, returns its result, and passes on what the function throws', async () => {
    const contexts = create()
    await contexts.set('a', { n: 1, list: [{ id: 'x', t: 1 }], gone: true })
    const { result, context } = await contexts.transact('a', (draft) => {
      draft['n'] = (draft['n'] as number) + 1
      draft['gone'] = undefined as never
      const list = draft['list'] as JsonObject[]
      list.push({ id: 'y' })
      return { list }
    })
    expect(context.state).toEqual({ n: 2, list: [{ id: 'x', t: 1 }, { id: 'y' }] })
    expect(result).toEqual({ list: [{ id: 'x', t: 1 }, { id: 'y' }] })
    const failure = new RangeError('mine')
    await expect(
      contexts.transact('a', () => {
        throw failure
      }),
    ).rejects.toBe(failure)
    await expect(contexts.transact('a', (async () => {}) as never)).rejects.toThrow(TypeError)
    await expect(
      contexts.transact('a', (draft) => {
        draft['at'] = new Date() as never
      }),
    ).rejects.toThrow(TypeError)
    expect((await contexts.get('a'))?.version).toBe(2)
  })

  test('what is handed in is copied, and what is handed out is frozen', async () => {
    const contexts = create()
    const mine = { list: [1] }
    const { context } = await contexts.set('a', mine)
    mine.list.push(2)
    expect((await contexts.get('a'))?.state).toEqual({ list: [1] })
    expect(() => (context.state['list'] as number[]).push(3)).toThrow(TypeError)
  })

  test('G1, G3: 64 concurrent increments are all kept, at versions without gap or repeat', async () => {
    const contexts = create()
    const add = (): Promise<{ context: Head; result: number }> =>
      contexts.transact('a', (draft) => (draft['n'] = (draft['n'] as number) + 1), { initial: { n: 0 } })
    const results = await Promise.all(Array.from({ length: 64 }, add))
    const upTo = Array.from({ length: 64 }, (_, index) => index + 1)
    expect(results.map(({ context }) => context.version)).toEqual(upTo)
    expect(results.map(({ result }) => result)).toEqual(upTo)
  })

  test('G1, G3: two engines on one store lose and double nothing', async () => {
    const shared = new SharedMemory()
    const engines = [create({ backend: shared.handle() }), create({ backend: shared.handle() })]
    const adds = Array.from({ length: 200 }, (_, index) => engines[index % 2]!.apply('a', [...increment], { initial: { n: 0 } }))
    const versions = (await Promise.all(adds)).map(({ context }) => context.version)
    expect(versions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
    for (const contexts of engines) expect((await contexts.get('a'))?.state).toEqual({ n: 200 })
  })

  test('transact gives up when others were faster too often', async () => {
    const shared = new SharedMemory()
    const [mine, other] = [create({ backend: shared.handle() }), create({ backend: racing(shared) })]
    await mine.set('a', { n: 0 })
    const lost = other.transact(
      'a',
      (draft) => {
        draft['n'] = -1
      },
      { retries: 2 },
    )
    await expect(lost).rejects.toEqual(code('conflict'))
  })

  test('a state over the limit is refused, and one that becomes smaller is not', async () => {
    const backend = new SharedMemory()
    const [free, bound] = [create({ backend: backend.handle() }), create({ backend: backend.handle(), limits: { stateBytes: 100 } })]
    await bound.set('edge', { t: 'x'.repeat(92) })
    await expect(bound.set('edge', { t: 'x'.repeat(93) })).rejects.toEqual(code('too_large'))
    await expect(bound.set('edge', { t: 'é'.repeat(47) })).rejects.toEqual(code('too_large'))
    await free.set('big', { t: 'x'.repeat(500), u: 1 })
    await expect(bound.update('big', { u: 10 })).rejects.toEqual(code('too_large'))
    await bound.update('big', { t: 'x'.repeat(400) })
  })
})

/** A store where somebody else commits before each batch of this backend. */
function racing(shared: SharedMemory): ContextBackend {
  const rival = create({ backend: shared.handle() })
  const handle = shared.handle()
  const commit = handle.commit.bind(handle)
  handle.commit = async (batch) => {
    await rival.apply(batch.contextId, [...increment])
    return commit(batch)
  }
  return handle
}

describe('reads', () => {
  test('R5, R6: sync answers nothing, the delta, or the whole', async () => {
    const contexts = create()
    const first = (await contexts.set('a', { n: 1, m: 1 })).context
    await contexts.update('a', { n: 2 })
    const { context } = await contexts.update('a', { n: 3, m: null })
    const { revision, incarnation } = context
    expect(await contexts.sync('a', null)).toEqual({ type: 'full_context', context })
    expect(await contexts.sync('a', 3)).toEqual({ type: 'no_change', version: 3, revision })
    expect(await contexts.sync('a', context)).toEqual({ type: 'no_change', version: 3, revision })
    expect(await contexts.sync('a', 9)).toMatchObject({ type: 'full_context' })
    const delta = {
      baseVersion: 1,
      version: 3,
      revision,
      changes: [
        { path: ['m'], action: 'removed', oldValue: 1 },
        { path: ['n'], action: 'modified', value: 3, oldValue: 1 },
      ],
    }
    expect(await contexts.sync('a', 1)).toMatchObject({ type: 'delta', delta })
    expect(await contexts.sync('a', first)).toMatchObject({ type: 'delta', delta })
    expect(await contexts.sync('a', 0)).toMatchObject({ type: 'delta', delta: { baseVersion: 0, version: 3 } })
    expect(await contexts.sync('a', { version: 3, revision: 'other' })).toMatchObject({ type: 'full_context' })
    expect(await contexts.sync('a', { version: 1, revision: 'other' })).toMatchObject({ type: 'full_context' })
    expect(await contexts.sync('a', { version: 1, revision: first.revision, incarnation: `${incarnation}x` })).toMatchObject({
      type: 'full_context',
    })
  })

  test('a delta of a sync that nets to nothing is an empty one', async () => {
    const contexts = create()
    await contexts.set('a', { n: 1 })
    await contexts.set('a', { n: 2 })
    await contexts.set('a', { n: 1 })
    expect(await contexts.sync('a', 1)).toMatchObject({ type: 'delta', delta: { baseVersion: 1, version: 3, changes: [] } })
  })

  test('R12: beyond deltaThreshold sync answers the whole, and the log is shortened', async () => {
    const contexts = create({ deltaThreshold: 3 })
    for (let n = 1; n <= 20; n += 1) await contexts.set('a', { n })
    expect(await contexts.sync('a', 17)).toMatchObject({ type: 'delta' })
    expect(await contexts.sync('a', 16)).toMatchObject({ type: 'full_context' })
    expect((await contexts.history('a')).length).toBeLessThan(12)
    await expect(contexts.at('a', 1)).rejects.toEqual(code('expired'))
  })

  test('G7: a head of a deleted life gets the whole of the new one', async () => {
    const contexts = create()
    const { context } = await contexts.set('a', { n: 1 })
    await contexts.delete('a')
    await contexts.set('a', { n: 2 })
    expect(await contexts.sync('a', context)).toMatchObject({ type: 'full_context', context: { state: { n: 2 } } })
  })

  test.each([[-1], [1.5], [2 ** 53], ['1'], [undefined], [{ version: -1, revision: 'r' }], [{ version: 1 }], [Number.NaN]])(
    'sync refuses %o',
    async (since) => {
      const contexts = create()
      await contexts.set('a', {})
      await expect(contexts.sync('a', since as never)).rejects.toThrow(TypeError)
    },
  )

  test('history and at go back as far as the log', async () => {
    const contexts = create()
    for (let n = 1; n <= 5; n += 1) await contexts.set('a', { n, list: Array.from({ length: n }, (_, index) => ({ id: String(index) })) })
    const history = (await contexts.history('a', { limit: 2 })) as Delta[]
    expect(history.map(({ baseVersion, version }) => [baseVersion, version])).toEqual([
      [4, 5],
      [3, 4],
    ])
    for (let n = 1; n <= 5; n += 1) expect(await contexts.at('a', n)).toMatchObject({ version: n, state: { n } })
    await expect(contexts.at('a', 6)).rejects.toEqual(code('not_found'))
    await expect(contexts.at('a', 0)).rejects.toThrow(TypeError)
  })

  test('R9: list gives ids in code-unit order, without states', async () => {
    let time = 0
    const contexts = create({ clock: { now: () => (time += 1) } })
    for (const id of ['b', 'a', 'B', 'a:1']) await contexts.set(id, {})
    const ids = async (options: Parameters<typeof contexts.list>[0]): Promise<string[]> =>
      (await contexts.list(options)).map(({ contextId }) => contextId)
    expect(await ids({})).toEqual(['B', 'a', 'a:1', 'b'])
    expect(await ids({ order: 'desc', limit: 2, offset: 1 })).toEqual(['a:1', 'a'])
    expect(await ids({ prefix: 'a' })).toEqual(['a', 'a:1'])
    const { updatedAt } = (await contexts.get('B'))!
    expect(await ids({ updatedSince: updatedAt })).toEqual(['B', 'a:1'])
    expect(Object.keys((await contexts.list({ limit: 1 }))[0]!)).toEqual(['contextId', 'version', 'revision', 'createdAt', 'updatedAt'])
  })

  test('a get sees what another engine has committed, also after the history went back', async () => {
    const shared = new SharedMemory()
    const [one, two] = [create({ backend: shared.handle() }), create({ backend: shared.handle() })]
    await one.set('a', { n: 1 })
    const dump = shared.store.copy('a')
    expect((await two.get('a'))?.state).toEqual({ n: 1 })
    await one.set('a', { n: 2 })
    expect((await two.get('a'))?.state).toEqual({ n: 2 })
    shared.store.putBack(dump)
    expect((await two.get('a'))?.state).toEqual({ n: 1 })
    await two.apply('a', [...increment])
    expect((await one.get('a'))?.state).toEqual({ n: 2 })
  })
})

describe('definitions', () => {
  const short: StandardSchema<{ text: string }> = {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value) =>
        (value as { text: string }).text.length <= 3 ? { value } : { issues: [{ message: 'too long', path: ['text'] }] },
    },
  }
  test('a schema refuses what makes a valid state invalid, and does not freeze what is invalid already', async () => {
    const shared = new SharedMemory()
    const free = create({ backend: shared.handle() })
    const bound = create({ backend: shared.handle(), contexts: [defineContext('note:*', { state: short })] })
    await expect(bound.set('note:1', { text: 'long' })).rejects.toMatchObject({
      code: 'invalid_state',
      details: { issues: [{ message: 'too long', path: ['text'] }] },
    })
    await bound.set('note:1', { text: 'ok' })
    await expect(bound.update('note:1', { text: 'long' })).rejects.toEqual(code('invalid_state'))
    await free.set('note:2', { text: 'longer' })
    await bound.update('note:2', { text: 'longest' })
    await bound.set('other', { text: 'longest' })
  })

  test('initial creates, itemKey finds items, and a whole id comes before a pattern', async () => {
    const any: StandardSchema<object> = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }
    const contexts = create({
      contexts: [
        defineContext('b:*', { state: any, itemKey: 'key', initial: (id) => ({ id, list: [{ key: 'x', n: 1 }] }) }),
        defineContext('b:1', { state: any, initial: { one: 1 } }),
      ],
    })
    const { context } = await contexts.apply('b:2', [{ type: 'increment', path: ['list', { id: 'x' }, 'n'], by: 1 }])
    expect(context.state).toEqual({ id: 'b:2', list: [{ key: 'x', n: 2 }] })
    expect((await contexts.update('b:1', {})).context.state).toEqual({ one: 1 })
  })
})
