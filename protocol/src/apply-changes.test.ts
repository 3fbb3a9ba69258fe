import { describe, expect, test, vi } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import type { Change } from './delta.ts'
import { invert } from './invert.ts'
import { deepestNesting } from './json-shape.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { applyChangesPlainly } from './testing/oracle.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

const added = (path: Change['path'], value: JsonValue): Change => ({ path, action: 'added', value })
const removed = (...path: Change['path']): Change => ({ path, action: 'removed' })
const modified = (path: Change['path'], value: JsonValue): Change => ({ path, action: 'modified', value })
const state = {
  n: 1,
  o: { a: 1, b: { c: 1 } },
  list: [1, 2, 3],
  cards: [
    { id: 'x', n: 0 },
    { id: 'y', n: 0 },
  ],
  other: [{ id: 'z' }],
}

function nested(depth: number): JsonValue {
  let value: JsonValue = 1
  for (let level = 0; level < depth; level += 1) value = [value]
  return value
}

describe('applying changes', () => {
  test('copies what lies on the way to a change, and nothing else', () => {
    const next = applyChanges(state, [modified(['o', 'b', 'c'], 2)])
    expect(next).toEqual({ ...state, o: { a: 1, b: { c: 2 } } })
    expect(next.cards).toBe(state.cards)
    expect(next.list).toBe(state.list)
    expect(state.o.b.c).toBe(1)
  })

  test('gives the same reference for no change, for values that are there already, and for changes that undo each other', () => {
    expect(applyChanges(state, [])).toBe(state)
    expect(applyChanges(state, [modified(['n'], 1)])).toBe(state)
    expect(applyChanges(state, [modified(['o'], { b: { c: 1 }, a: 1 })])).toBe(state)
    expect(applyChanges(state, [modified([], structuredClone(state))])).toBe(state)
    expect(applyChanges(state, [added(['x'], 1), removed('x')])).toBe(state)
    expect(applyChanges(state, [removed('list', 0), added(['list', 0], 1)])).toBe(state)
  })

  test('keeps the parts of a replaced value that stay', () => {
    const next = applyChanges(state, [modified(['cards'], [{ id: 'w' }, { id: 'y', n: 0 }, { id: 'x', n: 1 }])])
    expect(next.cards[1]).toBe(state.cards[1])
    expect(next.cards[2]).toEqual({ id: 'x', n: 1 })
    expect(applyChanges(state, [modified([], { o: { a: 2, b: { c: 1 } } })]).o.b).toBe(state.o.b)
  })

  test('keeps an item that moves, to another place or another list, though its value travels', () => {
    const within = applyChanges(state, [removed('cards', 0), added(['cards', 1], { id: 'x', n: 0 })])
    expect(within.cards[1]).toBe(state.cards[0])
    const across = applyChanges(state, [removed('cards', 0), added(['other', 0], { n: 0, id: 'x' })])
    expect(across.other[0]).toBe(state.cards[0])
    expect(across.other[1]).toBe(state.other[0])
  })

  test('does not take an old value that somebody sends for what was there', () => {
    const planted = new Date(0) as unknown as JsonValue
    const next = applyChanges<JsonObject>({ a: { b: 1 }, c: {} }, [{ path: ['c'], action: 'removed', oldValue: planted }, added(['d'], {})])
    expect(next['d']).not.toBe(planted)
  })

  test.each<[string, Change[]]>([
    ['added where something is', [added(['n'], 2)]],
    ['modified where nothing is', [modified(['x'], 2)]],
    ['removed where nothing is', [removed('x')]],
    ['into a missing object', [added(['x', 'y'], 1)]],
    ['into a scalar', [added(['n', 'y'], 1)]],
    ['through a missing item', [modified(['cards', 2, 'n'], 1)]],
    ['added beyond the end', [added(['list', 4], 1)]],
    ['several added beyond the end', [added(['list', 3], 1), added(['list', 5], 1)]],
    ['modified at the end', [modified(['list', 3], 1)]],
    ['removed at the end', [removed('list', 3)]],
    ['several removed at the end', [removed('list', 3), removed('list', 2)]],
    ['a key of a list', [added(['list', 'length'], 1)]],
    ['the length of a list', [modified(['list', 'length'], 4_294_967_295)]],
    ['a position of an object', [modified(['o', 0], 1)]],
    ['positions of an object', [added(['o', 0], 1), added(['o', 1], 1)]],
    ['positions of nothing', [added(['x', 0], 1), added(['x', 1], 1)]],
    ['a negative position', [modified(['list', -1], 1)]],
    ['a broken position', [modified(['list', 0.5], 1)]],
    ['an item address', [modified(['cards', { id: 'x' }, 'n'], 1)]],
    ['an inherited key', [modified(['o', 'toString'], 1)]],
    ['the root removed', [removed()]],
    ['the root added', [added([], {})]],
    ['the root a list', [modified([], [])]],
    ['a value too deep for its place', [added(['o', 'x'], nested(deepestNesting - 1))]],
    ['no value', [{ path: ['x'], action: 'added' }]],
    ['an unknown action', [{ path: ['n'], action: 'replaced' as 'added', value: 1 }]],
    ['no path', [{ action: 'added', value: 1 } as unknown as Change]],
    ['null', [null as unknown as Change]],
    ['a text', ['added' as unknown as Change]],
    ['null behind a good one', [added(['list', 3], 1), null as unknown as Change]],
    ['no list', {} as unknown as Change[]],
  ])('refuses %s as invalid_operation, and leaves the state alone', (_, changes) => {
    const text = JSON.stringify(state)
    expect(() => applyChanges(state, changes)).toThrow(expect.objectContaining({ name: 'ContextdError', code: 'invalid_operation' }))
    expect(JSON.stringify(state)).toBe(text)
  })

  test('makes runs of additions and removals as if one after the other', () => {
    const before = { list: Array.from({ length: 40 }, (_, index) => index) }
    const cases: Change[][] = [
      [added(['list', 0], 'a'), added(['list', 1], 'b'), added(['list', 5], 'c'), added(['list', 43], 'd')],
      [added(['list', 40], 'a'), added(['list', 41], 'b')],
      [removed('list', 39), removed('list', 38), removed('list', 3), removed('list', 0)],
      [removed('list', 3), removed('list', 3), removed('list', 4), removed('list', 1)],
      [added(['list', 5], 'a'), added(['list', 5], 'b'), added(['list', 2], 'c')],
      [removed('list', 1), added(['list', 0], 'a'), added(['list', 1], 'b'), removed('list', 0)],
    ]
    for (const changes of cases) expect(applyChanges(before, changes)).toEqual(applyChangesPlainly(before, changes))
  })

  test('changes a hundred thousand items of a long list in one go', () => {
    const list = Array.from({ length: 200_000 }, (_, index) => index)
    const changes = Array.from({ length: 100_000 }, (_, index) => removed('list', 199_998 - 2 * index))
    const odd = applyChanges({ list }, changes)
    expect(odd.list).toHaveLength(100_000)
    expect(odd.list.every((value) => value % 2 === 1)).toBe(true)
    const back = applyChanges(
      odd,
      changes.map((_, index) => added(['list', 2 * index], 2 * index)),
    )
    expect(back.list).toEqual(list)
  })
})

describe('turning changes round', () => {
  test('swaps values, and the order', () => {
    expect(
      invert([
        { path: ['a'], action: 'added', value: 1 },
        { path: ['b'], action: 'modified', value: 2, oldValue: null },
        { path: ['c'], action: 'removed', oldValue: 3 },
      ]),
    ).toEqual([
      { path: ['c'], action: 'added', value: 3 },
      { path: ['b'], action: 'modified', value: null, oldValue: 2 },
      { path: ['a'], action: 'removed', oldValue: 1 },
    ])
  })

  test.each<[string, Change]>([
    ['a removal without its old value', removed('a')],
    ['a modification without its old value', modified(['a'], 1)],
    ['an addition without its value', { path: ['a'], action: 'added' }],
    ['a modification without its value', { path: ['a'], action: 'modified', oldValue: 1 }],
    ['another action', { path: ['a'], action: 'moved' as 'added', value: 1, oldValue: 1 }],
  ])('throws a TypeError for %s', (_, change) => {
    expect(() => invert([change])).toThrow(TypeError)
  })
})
