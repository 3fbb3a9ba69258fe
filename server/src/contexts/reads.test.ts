import type { Change, Delta, JsonObject, JsonValue } from '@contextd/protocol'
import { formats } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines, storeNames, stores } from '../../support/stores.ts'
import { createContexts } from './contexts.ts'
import { FakeClock } from '../testing/fake-clock.ts'

const newStore = stores()
const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const hour = 3_600_000

/** Commits each of these states over the one before. */
async function commit(contexts: ReturnType<typeof engine>, states: readonly object[]): Promise<void> {
  for (const state of states) await contexts.set('a', state)
}

describe.each(storeNames)('between on %s', (name) => {
  const states: readonly JsonObject[] = [{ n: 1 }, { n: 2, m: 1 }, { n: 3, list: ['a'] }, { n: 3, list: ['a', 'b'] }, { n: 1 }]

  test('one delta leads from any retained version to any other, forwards and back', async () => {
    const contexts = engine({ backend: newStore(name)(), deltaFormat: 'verbose' })
    await commit(contexts, states)
    const history = (await contexts.history('a')).toReversed() as Delta[]
    for (let from = 0; from <= states.length; from += 1) {
      for (let to = 1; to <= states.length; to += 1) {
        const delta = await contexts.between('a', from, to)
        const { revision, committedAt, author } = history[to - 1]!
        const ends = { before: from === 0 ? {} : states[from - 1]!, after: states[to - 1]! }
        expect(delta).toEqual({
          contextId: 'a',
          baseVersion: from,
          version: to,
          revision,
          committedAt,
          author,
          changes: formats.verbose(undefined as never, ends),
        })
      }
    }
  })

  test('the net effect counts: there and back is nothing, added and removed is nothing, the first old value stays', async () => {
    const contexts = engine({ backend: newStore(name)(), deltaFormat: 'verbose' })
    await commit(contexts, [{ a: 1 }, { a: 2, b: 1 }, { a: 1, c: 1 }, { a: { x: 1 } }, { a: { x: 2 } }])
    const changes = async (from: number, to: number): Promise<unknown> => (await contexts.between('a', from, to)).changes
    expect(await changes(1, 3)).toEqual({ c: { action: 'added', value: 1 } })
    expect(await changes(1, 2)).toEqual({ a: { action: 'modified', value: 2, oldValue: 1 }, b: { action: 'added', value: 1 } })
    expect(await changes(2, 4)).toEqual({ a: { action: 'modified', value: { x: 1 }, oldValue: 2 }, b: { action: 'removed', oldValue: 1 } })
    // A scalar became an object, which changed inside.
    expect(await changes(3, 5)).toMatchObject({ a: { action: 'modified', value: { x: 2 }, oldValue: 1 } })
    expect(await changes(4, 5)).toEqual({ a: { x: { action: 'modified', value: 2, oldValue: 1 } } })
    expect(await changes(5, 4)).toEqual({ a: { x: { action: 'modified', value: 1, oldValue: 2 } } })
  })

  test('what is beyond the retained log is expired, what has not been is not found', async () => {
    const clock = new FakeClock()
    const contexts = engine({ backend: newStore(name)(), clock, deltaTtlMs: hour })
    await commit(contexts, states.slice(0, 3))
    clock.advance(hour + 1)
    await commit(contexts, states.slice(3))
    expect(await contexts.cleanup()).toMatchObject({ deltas: 3 })
    // The state of version 3 is what version 4 was made on; who made it is not known any more.
    expect(await contexts.between('a', 3, 5)).toMatchObject({ baseVersion: 3, version: 5 })
    await expect(contexts.between('a', 2, 5)).rejects.toMatchObject({ code: 'expired', contextId: 'a' })
    await expect(contexts.between('a', 5, 3)).rejects.toEqual(code('expired'))
    await expect(contexts.between('a', 0, 5)).rejects.toEqual(code('expired'))
    await expect(contexts.at('a', 3)).rejects.toEqual(code('expired'))
    await expect(contexts.between('a', 4, 6)).rejects.toEqual(code('not_found'))
    await expect(contexts.between('a', 6, 4)).rejects.toEqual(code('not_found'))
    await expect(contexts.between('b', 1, 2)).rejects.toEqual(code('not_found'))
    expect((await contexts.between('a', 5, 5)).changes).toEqual([])
  })
})

const modified = (value: JsonValue, oldValue: JsonValue): object => ({ a: { action: 'modified', value, oldValue } })

describe('a sync over several commits is their net effect', () => {
  test.each<[string, JsonObject, JsonObject, JsonObject, object]>([
    ['modified, then modified', { a: 1 }, { a: 2 }, { a: 3 }, modified(3, 1)],
    ['added, then modified', {}, { a: 1 }, { a: 2 }, { a: { action: 'added', value: 2 } }],
    ['added, then removed', {}, { a: 1 }, {}, {}],
    ['modified, then removed', { a: 1 }, { a: 2 }, {}, { a: { action: 'removed', oldValue: 1 } }],
    ['removed, then added', { a: 1 }, {}, { a: 2 }, modified(2, 1)],
    ['removed, then added as it was', { a: 1 }, {}, { a: 1 }, {}],
    ['there and back', { a: 2 }, { a: 1 }, { a: 2 }, {}],
    ['a scalar to an object, then a change inside', { a: 1 }, { a: { x: 1 } }, { a: { x: 2 } }, modified({ x: 2 }, 1)],
    ['a null that stays, over two commits', { a: null, b: 1 }, { a: null, b: 2 }, { a: null, b: 1 }, {}],
    ['a list edited twice', { a: [1] }, { a: [1, 2] }, { a: [2] }, modified([2], [1])],
  ])('%s', async (_name, first, second, third, changes) => {
    const contexts = engine({ deltaFormat: 'verbose' })
    await commit(contexts, [first, second, third])
    const { revision } = (await contexts.get('a'))!
    const delta = { baseVersion: 1, version: 3, revision, changes }
    expect(await contexts.sync('a', 1)).toEqual({ type: 'delta', delta: expect.objectContaining(delta) as object })
  })
})

test.each<[unknown, unknown]>([
  [-1, 1],
  [1, 0],
  [1.5, 2],
  ['1', 2],
  [1, undefined],
  [1, 2 ** 53],
])('between refuses %o to %o', async (from, to) => {
  const contexts = engine()
  await contexts.set('a', {})
  await expect(contexts.between('a', from as number, to as number)).rejects.toThrow(TypeError)
})

describe('formats of an application', () => {
  test('one is given the delta and the states at both its ends, of one commit as of several', async () => {
    const seen: unknown[] = []
    const contexts = engine({
      deltaFormat: ({ baseVersion, version, changes }, { before, after }) => {
        seen.push([baseVersion, version, changes.length, before, after])
        return seen.length
      },
    })
    await commit(contexts, [{ n: 1 }, { n: 2, m: 1 }])
    const answers = [await contexts.sync('a', 0), ...(await contexts.history('a', { limit: 1 })), await contexts.between('a', 2, 1)]
    expect(seen).toEqual([
      [0, 1, 1, {}, { n: 1 }],
      [1, 2, 2, { n: 1 }, { n: 2, m: 1 }],
      [0, 2, 2, {}, { n: 2, m: 1 }],
      [1, 2, 2, { n: 1 }, { n: 2, m: 1 }],
      [2, 1, 2, { n: 2, m: 1 }, { n: 1 }],
    ])
    expect(answers).toMatchObject([{ type: 'delta', delta: { changes: 3 } }, { changes: 4 }, { changes: 5 }])
  })

  const failing: [string, () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error('mine')
      },
    ],
    ['returns a promise', () => Promise.resolve([])],
    ['returns a promise that is rejected', () => Promise.reject(new Error('mine'))],
    ['never answers', () => new Promise(() => {})],
  ]
  test.each(failing)(
    'one that %s is a coded error that says that the write is stored; reads without deltas go on',
    async (_name, deltaFormat) => {
      const contexts = engine({ deltaFormat })
      await expect(contexts.set('a', { n: 1 })).rejects.toMatchObject({
        code: 'aborted',
        contextId: 'a',
        message: expect.stringContaining('stored') as string,
        details: { version: 1 },
        cause: expect.any(Error) as Error,
      })
      expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
      expect(await contexts.sync('a', null)).toMatchObject({ type: 'full_context' })
      await expect(contexts.sync('a', 0)).rejects.toEqual(code('aborted'))
      await expect(contexts.history('a')).rejects.toEqual(code('aborted'))
      await expect(contexts.between('a', 0, 1)).rejects.toEqual(code('aborted'))
    },
  )

  test('one that changes what it is given fails, and changes nothing', async () => {
    const contexts = engine({
      deltaFormat: (delta, { before, after }) => {
        for (const part of [delta.changes as unknown as JsonObject, before, after]) expect(Object.isFrozen(part)).toBe(true)
        after['n'] = 9
        return delta.changes
      },
    })
    await expect(contexts.set('a', { n: 1 })).rejects.toMatchObject({ code: 'aborted', cause: expect.any(TypeError) as TypeError })
    expect(await contexts.get('a')).toMatchObject({ state: { n: 1 } })
  })

  test('one that fails for some deltas takes these from subscribers alone, and is logged', async () => {
    const error = vi.fn<(details: object, message: string) => void>()
    const contexts = engine({
      logger: { debug: () => {}, info: () => {}, warn: () => {}, error },
      deltaFormat: ({ version, changes }: { version: number; changes: Change[] }) => {
        if (version === 2) throw new Error('mine')
        return changes
      },
    })
    const told: number[] = []
    contexts.subscribe('a', ({ version }) => told.push(version))
    await Promise.allSettled([{ n: 1 }, { n: 2 }, { n: 3 }].map((state) => contexts.set('a', state)))
    await vi.waitFor(() => expect(told).toEqual([1, 3]))
    expect(error).toHaveBeenCalled()
  })

  test.each([['xml'], [5], [{}], [null], ['toString']])('%o is no format', (deltaFormat) => {
    expect(() => createContexts({ deltaFormat } as never)).toThrow(TypeError)
  })
})
