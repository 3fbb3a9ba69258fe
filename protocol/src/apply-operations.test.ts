import { describe, expect, test, vi } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import { StateDraft, applyOperations } from './apply-operations.ts'
import { ContextdError } from './errors.ts'
import type { JsonObject, JsonValue } from './json.ts'
import type { Operation } from './operation.ts'
import { untouchable } from './testing/untouchable.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

const state = {
  n: 1,
  text: 'x',
  nothing: null,
  o: { a: 1, b: { c: 1 } },
  cards: [
    { id: 'x', n: 0 },
    { id: 'y', n: 0 },
  ],
  tags: ['a', 'b', 'a'],
}
const after = (...operations: Operation[]): typeof state => applyOperations(state, operations).state
const refusalOf = (...operations: Operation[]): ContextdError => {
  try {
    applyOperations(state, operations)
  } catch (error) {
    if (error instanceof ContextdError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('applying operations', () => {
  test('looks into nothing but what lies on the paths', () => {
    const big = {
      n: 1,
      o: { a: 1, other: untouchable({}) },
      cards: [untouchable({ id: 'z' }), { id: 'x', n: 0, more: untouchable([]) }],
      other: untouchable({}),
    }
    const { state: next, changes } = applyOperations(big, [
      { type: 'increment', path: ['n'], by: 1 },
      { type: 'set', path: ['o', 'a'], value: 2 },
      { type: 'set', path: ['cards', 1, 'n'], value: 3 },
    ])
    expect(changes.map(({ path, value }) => [path, value])).toEqual([
      [['n'], 2],
      [['o', 'a'], 2],
      [['cards', 1, 'n'], 3],
    ])
    expect([next.n, next.o.a, (next.cards[1] as JsonObject)['n']]).toEqual([2, 2, 3])
    const told = applyChanges(
      big,
      changes.map(({ oldValue: _old, ...change }) => change),
    )
    expect([told.n, told.o.a, (told.cards[1] as JsonObject)['n'], told.other === big.other]).toEqual([2, 2, 3, true])
  })

  test('gives the same reference and no changes when nothing changed', () => {
    const nothings: Operation[][] = [
      [],
      [{ type: 'set', path: ['o'], value: { b: { c: 1 }, a: 1 } }],
      [{ type: 'set', path: [], value: structuredClone(state) as unknown as JsonObject }],
      [{ type: 'merge', path: [], value: { o: { b: { c: 1 } }, gone: null } }],
      [{ type: 'remove', path: ['gone'] }],
      [{ type: 'increment', path: ['n'], by: 0 }],
      [{ type: 'insert', path: ['tags'], values: [], at: 'end' }],
      [{ type: 'move', from: { path: ['cards'], item: { id: 'y' } }, to: { path: ['cards'], at: { after: { id: 'x' } } } }],
      [{ type: 'move', from: { path: ['cards'], item: { id: 'y' } }, to: { path: ['cards'], at: { before: { id: 'y' } } } }],
      [{ type: 'move', from: { path: ['cards'], item: { id: 'x' } }, to: { path: ['cards'], at: { after: { id: 'x' } } } }],
      [
        {
          type: 'move',
          from: { path: ['tags'], item: { index: 2, value: 'a' } },
          to: { path: ['tags'], at: { before: { index: 2, value: 'a' } } },
        },
      ],
      [{ type: 'test', path: ['n'], value: 1 }],
      [
        { type: 'increment', path: ['n'], by: 1 },
        { type: 'increment', path: ['n'], by: -1 },
      ],
      [
        { type: 'set', path: ['o', 'a'], value: 2 },
        { type: 'set', path: ['n'], value: 2 },
        { type: 'set', path: ['o', 'a'], value: 1 },
        { type: 'set', path: ['n'], value: 1 },
      ],
      [
        { type: 'remove', path: ['o'] },
        { type: 'set', path: ['o'], value: { a: 1, b: { c: 1 } } },
      ],
    ]
    for (const operations of nothings) {
      const answer = applyOperations(state, operations)
      expect(answer.changes).toEqual([])
      expect(answer.state).toBe(state)
    }
  })

  test('keeps what is there and back again out of the changes, and its identity', () => {
    const { state: next, changes } = applyOperations(state, [
      { type: 'set', path: ['o', 'a'], value: 2 },
      { type: 'set', path: ['o', 'a'], value: 1 },
      { type: 'increment', path: ['n'], by: 1 },
      { type: 'increment', path: ['n'], by: 1 },
    ])
    expect(changes).toEqual([{ path: ['n'], action: 'modified', value: 3, oldValue: 1 }])
    expect(next.o).toBe(state.o)
  })

  test('sends one item for an append to a long list, and one leaf for a set of the whole', () => {
    const long = { list: Array.from({ length: 10_000 }, (_, index) => ({ id: `i${index}`, n: index })) }
    const appended = applyOperations(long, [{ type: 'insert', path: ['list'], values: [{ id: 'new' }], at: 'end' }])
    expect(appended.changes).toEqual([{ path: ['list', 10_000], action: 'added', value: { id: 'new' } }])
    const edited = structuredClone(long)
    edited.list[5_000]!.n = -1
    const { changes, state: next } = applyOperations(long, [{ type: 'set', path: [], value: edited }])
    expect(changes).toEqual([{ path: ['list', 5_000, 'n'], action: 'modified', value: -1, oldValue: 5_000 }])
    expect(next.list[4_999]).toBe(long.list[4_999])
  })

  test('tells old values as they were, also when what was replaced or moved is edited again', () => {
    const before = {
      l: [
        { id: 'a', n: 0 },
        { id: 'b', n: 0 },
        { id: 'c', n: 0 },
      ],
    }
    const moved = applyOperations(before, [
      { type: 'increment', path: ['l', { id: 'a' }, 'n'], by: 1 },
      { type: 'move', from: { path: ['l'], item: { id: 'a' } }, to: { path: ['l'], at: 'end' } },
      { type: 'increment', path: ['l', { id: 'a' }, 'n'], by: 1 },
    ])
    expect(moved.changes).toEqual([
      { path: ['l', 0, 'n'], action: 'modified', value: 1, oldValue: 0 },
      { path: ['l', 0], action: 'removed', oldValue: { id: 'a', n: 1 } },
      { path: ['l', 2], action: 'added', value: { id: 'a', n: 1 } },
      { path: ['l', 2, 'n'], action: 'modified', value: 2, oldValue: 1 },
    ])
    const replaced = applyOperations(before, [
      { type: 'increment', path: ['l', { id: 'a' }, 'n'], by: 1 },
      { type: 'set', path: ['l'], value: [{ id: 'a', n: 1 }, 0] },
      { type: 'increment', path: ['l', 0, 'n'], by: 1 },
    ])
    expect(replaced.changes[1]).toEqual({
      path: ['l'],
      action: 'modified',
      value: [{ id: 'a', n: 1 }, 0],
      oldValue: [
        { id: 'a', n: 1 },
        { id: 'b', n: 0 },
        { id: 'c', n: 0 },
      ],
    })
    expect(replaced.state.l[0]).toEqual({ id: 'a', n: 2 })
  })

  test('tells a change of what has come to a place apart from the removal there', () => {
    const { changes } = applyOperations(state, [
      { type: 'remove', path: ['tags', 0] },
      { type: 'set', path: ['tags', 0], value: 'B' },
    ])
    expect(changes).toEqual([
      { path: ['tags', 0], action: 'removed', oldValue: 'a' },
      { path: ['tags', 0], action: 'modified', value: 'B', oldValue: 'b' },
    ])
  })

  test('looks through each operation of a list, whichever of them were looked through before', () => {
    const good: Operation = { type: 'increment', path: ['n'], by: 1 }
    applyOperations(state, [good])
    const bad = { type: 'set', path: ['n'], value: new Date() as unknown as JsonValue } as const
    expect(() => applyOperations(state, [good, bad])).toThrow(expect.objectContaining({ code: 'invalid_operation' }))
  })

  test('keeps the item that moves', () => {
    const next = after({ type: 'move', from: { path: ['cards'], item: { id: 'x' } }, to: { path: ['cards'], at: 'end' } })
    expect(next.cards.map(({ id }) => id)).toEqual(['y', 'x'])
    expect(next.cards[1]).toBe(state.cards[0])
  })

  test('knows items by the key that is said', () => {
    const keyed = {
      list: [
        { key: 'k', id: 'x' },
        { key: 'l', id: 'x' },
      ],
    }
    const { state: next } = applyOperations(keyed, [{ type: 'remove', path: ['list', { id: 'l' }] }], { itemKey: 'key' })
    expect(next.list).toEqual([{ key: 'k', id: 'x' }])
    for (const itemKey of ['', '__proto__', 1 as unknown as string])
      expect(() => applyOperations(keyed, [], { itemKey })).toThrow(TypeError)
  })

  test('merges as RFC 7396 does', () => {
    const cases: [JsonObject, JsonValue, JsonObject][] = [
      [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
      [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
      [{ a: 'b' }, { a: null }, {}],
      [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
      [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
      [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
      [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
      [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
      [{ e: null }, { a: 1 }, { e: null, a: 1 }],
      [{ a: 'foo' }, { b: { c: null } }, { a: 'foo', b: {} }],
      [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
      [{ a: 1 }, { a: { b: null, c: { d: 1 } } }, { a: { c: { d: 1 } } }],
    ]
    for (const [target, patch, result] of cases)
      expect(applyOperations(target, [{ type: 'merge', path: [], value: patch }]).state).toEqual(result)
    expect(refusalOf({ type: 'merge', path: [], value: ['c'] }).code).toBe('invalid_operation')
  })

  test('adds missing keys, counts from 0, removes nothing twice', () => {
    expect(after({ type: 'set', path: ['new'], value: null })).toEqual({ ...state, new: null })
    expect(after({ type: 'increment', path: ['new'], by: 2 })).toEqual({ ...state, new: 2 })
    expect(after({ type: 'merge', path: ['new'], value: { a: null, b: 1 } })).toEqual({ ...state, new: { b: 1 } })
    expect(after({ type: 'remove', path: ['new'] })).toBe(state)
    expect(after({ type: 'increment', path: ['o', 'toString'], by: 2 }).o).toEqual({ ...state.o, toString: 2 })
    expect(applyOperations(state, [{ type: 'set', path: ['valueOf'], value: 1 }]).changes).toEqual([
      { path: ['valueOf'], action: 'added', value: 1 },
    ])
  })

  test('is all or nothing', () => {
    const text = JSON.stringify(state)
    expect(refusalOf({ type: 'increment', path: ['n'], by: 1 }, { type: 'test', path: ['text'], value: 'y' }).code).toBe('conflict')
    expect(JSON.stringify(state)).toBe(text)
  })

  test.each<[string, Operation]>([
    ['a test that fails', { type: 'test', path: ['n'], value: 2 }],
    ['a test of what is gone', { type: 'test', path: ['gone'], value: null }],
    ['an item that is gone', { type: 'set', path: ['cards', { id: 'z' }], value: { id: 'z' } }],
    ['the inside of an item that is gone', { type: 'set', path: ['cards', { id: 'z' }, 'n'], value: 1 }],
    ['a removed item', { type: 'remove', path: ['cards', { id: 'z' }] }],
    ['a value that is gone', { type: 'remove', path: ['tags', { index: 0, value: 'z' }] }],
    ['a position beyond the end', { type: 'set', path: ['tags', 3], value: 'x' }],
    ['a far position', { type: 'set', path: ['tags', Number.MAX_SAFE_INTEGER], value: 'x' }],
    ['the inside of an object that is gone', { type: 'set', path: ['gone', 'a'], value: 1 }],
    ['an increment inside of one', { type: 'increment', path: ['gone', 'a'], by: 1 }],
    ['a merge inside of one', { type: 'merge', path: ['gone', 'a'], value: {} }],
    ['a removal inside of one', { type: 'remove', path: ['gone', 'a'] }],
    ['the inside of a number', { type: 'set', path: ['n', 'a'], value: 1 }],
    ['the inside of null', { type: 'set', path: ['nothing', 'a'], value: 1 }],
    ['an insert into what is gone', { type: 'insert', path: ['gone'], values: [1], at: 'end' }],
    ['an insert into null', { type: 'insert', path: ['nothing'], values: [1], at: 'end' }],
    ['a move of an item that is gone', { type: 'move', from: { path: ['cards'], item: { id: 'z' } }, to: { path: ['cards'], at: 'end' } }],
    ['a move from a list that is gone', { type: 'move', from: { path: ['gone'], item: { id: 'x' } }, to: { path: ['cards'], at: 'end' } }],
    ['a move to a list that is gone', { type: 'move', from: { path: ['cards'], item: { id: 'x' } }, to: { path: ['gone'], at: 'end' } }],
    ['an inherited key', { type: 'set', path: ['toString', 'a'], value: 1 }],
  ])('is a conflict, with the operation in its details: %s', (_, operation) => {
    const error = refusalOf({ type: 'increment', path: ['n'], by: 0 }, operation)
    expect(error).toMatchObject({ code: 'conflict', details: { operations: [operation] }, retryable: false })
    expect(error.message).toMatch(/Read the state again/)
  })

  test.each<[string, Operation]>([
    ['a key of a list', { type: 'set', path: ['tags', 'length'], value: 0 }],
    ['a key on the way through a list', { type: 'set', path: ['cards', 'x', 'n'], value: 0 }],
    ['a position of an object', { type: 'set', path: ['o', 0], value: 0 }],
    ['an item of an object', { type: 'remove', path: ['o', { id: 'a' }] }],
    ['an insert into an object', { type: 'insert', path: ['o'], values: [1], at: 'end' }],
    ['an insert into the state', { type: 'insert', path: [], values: [1], at: 'end' }],
    ['an increment of a text', { type: 'increment', path: ['text'], by: 1 }],
    ['an increment of null', { type: 'increment', path: ['nothing'], by: 1 }],
    ['an increment of the state', { type: 'increment', path: [], by: 1 }],
    ['a removal of the state', { type: 'remove', path: [] }],
    ['a set of the state to a list', { type: 'set', path: [], value: [] }],
    ['a set of the state to null', { type: 'set', path: [], value: null }],
    ['an id that is there', { type: 'insert', path: ['cards'], values: [{ id: 'x' }], at: 'end' }],
    [
      'an id that is there, among many',
      { type: 'insert', path: ['cards'], values: [{ id: 'p' }, { id: 'q' }, { id: 'y' }, {}], at: 'end' },
    ],
    ['an id twice among many', { type: 'insert', path: ['cards'], values: [{ id: 'p' }, { id: 'q' }, { id: 'p' }], at: 'end' }],
    ['an id twice in one insert', { type: 'insert', path: ['cards'], values: [{ id: 'z' }, { id: 'z' }], at: 'end' }],
    ['an item set to another one’s id', { type: 'set', path: ['cards', { id: 'x' }], value: { id: 'y' } }],
    ['an id set to another one’s', { type: 'set', path: ['cards', { id: 'x' }, 'id'], value: 'y' }],
    ['an id merged to another one’s', { type: 'merge', path: ['cards', 0], value: { id: 'y' } }],
  ])('is an invalid operation: %s', (_, operation) => {
    expect(refusalOf(operation)).toMatchObject({ code: 'invalid_operation', retryable: false })
  })

  test('refuses to count beyond every number', () => {
    const huge = { n: Number.MAX_VALUE }
    expect(() => applyOperations(huge, [{ type: 'increment', path: ['n'], by: Number.MAX_VALUE }])).toThrow(
      expect.objectContaining({ code: 'invalid_operation' }),
    )
  })

  test('refuses to move an item into itself, or where its id is', () => {
    const tree = {
      nodes: [
        { id: 'a', nodes: [{ id: 'b', nodes: [] }] },
        { id: 'b', nodes: [] },
      ],
    }
    const move = (path: Operation & { type: 'move' } extends never ? never : (string | { id: string })[]): void =>
      void applyOperations(tree, [{ type: 'move', from: { path: ['nodes'], item: { id: 'b' } }, to: { path, at: 'end' } }])
    expect(() => move(['nodes', { id: 'b' }, 'nodes'])).toThrow('An item cannot be moved into itself.')
    expect(() => move(['nodes', { id: 'a' }, 'nodes'])).toThrow('ids are used once in a list')
    const inner: Operation = {
      type: 'move',
      from: { path: ['nodes'], item: { id: 'a' } },
      to: { path: ['nodes', { id: 'a' }, 'nodes', { id: 'b' }, 'nodes'], at: 'end' },
    }
    expect(() => applyOperations(tree, [inner])).toThrow('An item cannot be moved into itself.')
  })

  test('moves an item into a later one of its list, whose position shifts', () => {
    const tree = { nodes: [{ id: 'a' }, { id: 'b', nodes: [] as JsonValue[] }] }
    const { state: next, changes } = applyOperations<JsonObject>(tree, [
      { type: 'move', from: { path: ['nodes'], item: { id: 'a' } }, to: { path: ['nodes', 1, 'nodes'], at: 'end' } },
    ])
    expect(next).toEqual({ nodes: [{ id: 'b', nodes: [{ id: 'a' }] }] })
    expect(changes.map(({ path }) => path)).toEqual([
      ['nodes', 0],
      ['nodes', 0, 'nodes', 0],
    ])
  })

  test('leaves a very long operation out of the details, so that a refusal stays short', () => {
    const value = 'x'.repeat(5_000)
    expect(refusalOf({ type: 'test', path: ['text'], value }).details).toEqual({})
    expect(refusalOf({ type: 'test', path: ['text'], value }).message.length).toBeLessThan(500)
  })

  test('looks through operations once, however often they are applied', () => {
    const value = { deep: [1, 2, 3] }
    const operation: Operation = { type: 'insert', path: ['tags'], values: [value], at: 'end' }
    const first = after(operation)
    expect(first.tags[3]).toBe(value)
    let looked = 0
    const watched = { type: 'test', path: ['n'], value: 1 } as Operation
    Object.defineProperty(watched, 'path', { enumerable: true, get: () => (looked++, ['n']) })
    applyOperations(state, [watched])
    const once = looked
    applyOperations(state, [watched])
    expect(looked - once).toBeLessThan(once)
  })
})

test.each([
  ['an equal item behind it', [1, 0], 0, { after: { index: 1, value: 1 } }, [0, 1]],
  ['equal items on both sides', [1, 1, 2, 1, 1], 1, { after: { index: 2, value: 1 } }, [1, 2, 1, 1, 1]],
  ['itself', [1, 0], 0, { after: { index: 0, value: 1 } }, [1, 0]],
  ['the first of two equal ones', [0, 5, 5], 0, { after: { index: 0, value: 5 } }, [5, 0, 5]],
] as const)('OP-6: an anchor by position counts without the item that moves: beside %s', (_, list, index, at, expected) => {
  const item = { index, value: list[index]! }
  const moved = applyOperations({ list: [...list] }, [{ type: 'move', from: { path: ['list'], item }, to: { path: ['list'], at } }])
  expect(moved.state).toEqual({ list: expected })
})

describe('a draft', () => {
  const first = { items: [{ id: 'a', x: 1 }, { id: 'b' }], plain: [0, 0] }

  test('is spoilt by an operation that fails half way, and by no other', () => {
    const draft = new StateDraft(first)
    expect(() => draft.apply([{ type: 'merge', path: ['items', { id: 'a' }], value: { id: 'b', x: 2 } }])).toThrow('ids are used once')
    expect(draft.isSpoilt).toBe(false)
    expect(() => draft.apply([{ type: 'merge', path: ['items', { id: 'a' }], value: { x: 2, id: 'b' } }])).toThrow('ids are used once')
    expect(draft.isSpoilt).toBe(true)
    expect(first.items[0]!.x).toBe(1)
  })

  test('tells no change where a move puts an equal item', () => {
    const move: Operation = { type: 'move', from: { path: ['plain'], item: { index: 0, value: 0 } }, to: { path: ['plain'], at: 'end' } }
    expect(new StateDraft(first).apply([move])).toEqual([])
  })
})
