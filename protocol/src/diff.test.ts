import { describe, expect, test, vi } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import { applyOperations } from './apply-operations.ts'
import type { Change } from './delta.ts'
import { diff } from './diff.ts'
import { diffToOperations } from './diff-to-operations.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting } from './json-shape.ts'
import type { Operation } from './operation.ts'
import { clone } from './testing/oracle.ts'
import { untouchable } from './testing/untouchable.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

const ids = (text: string): { id: string }[] => text.split('').map((id) => ({ id }))
const long = (count: number): { id: string; text: string }[] =>
  Array.from({ length: count }, (_, index) => ({ id: `i${index}`, text: 'some text' }))
const paths = (changes: readonly Change[]): string[] =>
  changes.map(
    ({ action, path }) =>
      `${action} ${JSON.stringify(path)
        .replaceAll(/["[\]]/g, '')
        .replaceAll(',', '.')}`,
  )

/** Short items make a list that is shorter than its changes; with longer ones the changes are told. */
const grow = (state: JsonObject): JsonObject =>
  JSON.parse(JSON.stringify(state).replaceAll(/"id":"(\w)"/g, `"id":"$1","more":"${'m'.repeat(80)}"`)) as JsonObject

const deep = (levels: number, core: JsonObject = {}): JsonObject => {
  let value = core
  for (let level = 1; level < levels; level += 1) value = { a: value, n: level }
  return value
}
const withMore = (levels: number): JsonObject => ({ ...deep(levels), n: -1 })
const withCore = (levels: number): JsonObject => deep(levels, { x: 1 })

const wide = (keys: number, inner: number, value: number): JsonObject =>
  Object.fromEntries(
    Array.from({ length: keys }, (_, key) => [
      `k${key}`,
      Object.fromEntries(Array.from({ length: inner }, (__, leaf) => [`l${leaf}`, value])),
    ]),
  )

const hundred = (leaf: JsonValue): JsonObject => {
  let value: JsonValue = leaf
  for (let level = 0; level < 100; level += 1) value = { a: value }
  return value as JsonObject
}
const padded = (n: number): JsonValue => Array.from({ length: 20 }, (_, index) => ({ id: `i${index}`, n, pad: 'p'.repeat(70) }))

describe('comparing two states', () => {
  test('looks into nothing that is the same reference', () => {
    const shared = untouchable({})
    const items = [{ text: 'x'.repeat(200) }, untouchable({}), untouchable({})]
    const before = { a: shared, list: [...items, { id: 'x', n: 1, more: shared }, ...items], n: 1 }
    const after = { a: shared, list: [...items, { id: 'x', n: 2, more: shared }, ...items], n: 2 }
    expect(paths(diff(before, after))).toEqual(['modified list.3.n', 'modified n'])
  })

  test.each<[string, JsonObject, JsonObject, string[]]>([
    ['keys', { a: 1, b: 1, c: 1 }, { b: 2, c: 1, d: 1 }, ['removed a', 'modified b', 'added d']],
    ['a kind', { a: [] }, { a: {} }, ['modified a']],
    ['an append', { l: ids('abc') }, { l: ids('abcd') }, ['added l.3']],
    ['a prepend', { l: ids('abc') }, { l: ids('xabc') }, ['added l.0']],
    ['a removal', { l: ids('abc') }, { l: ids('ac') }, ['removed l.1']],
    ['a move to the end', { l: ids('abcdef') }, { l: ids('bcdefa') }, ['removed l.0', 'added l.5']],
    ['a move to the start', { l: ids('abcdef') }, { l: ids('fabcde') }, ['removed l.5', 'added l.0']],
    ['a swap of neighbours', { l: ids('abcdef') }, { l: ids('abdcef') }, ['removed l.3', 'added l.2']],
    [
      'values in the middle',
      { l: [1, 2, 3, 4, 5, 6, 7, 8].map((n) => n * 1e14) },
      { l: [1, 2, 9, 3, 4, 6, 7, 8].map((n) => n * 1e14) },
      ['added l.2', 'removed l.5'],
    ],
    ['a value in place', { l: [100_000, 200_000, 300_000] }, { l: [100_000, 500_000, 300_000] }, ['modified l.1']],
    [
      'a leaf of an unkeyed item',
      {
        l: [
          { x: 1, y: 'long enough' },
          { x: 2, y: 'to be told' },
        ],
      },
      {
        l: [
          { x: 1, y: 'long enough' },
          { x: 3, y: 'to be told' },
        ],
      },
      ['modified l.1.x'],
    ],
    ['a list turned round', { l: ids('abcdef') }, { l: ids('fedcba') }, ['modified l']],
    ['an emptied list', { l: ids('abcdef') }, { l: [] }, ['modified l']],
    ['a filled list', { l: [] }, { l: ids('abcdef') }, ['modified l']],
  ])('finds %s', (_, before, after, expected) => {
    const changes = diff(before, after)
    expect(applyChanges(before, changes)).toEqual(after)
    expect(paths(diff(grow(before), grow(after)))).toEqual(expected)
  })

  test('a list replaced in part is replaced whole as soon as that is shorter', () => {
    const before = { l: long(100) }
    for (const changed of [1, 20, 100]) {
      const after = { l: before.l.map((item, index) => (index < changed ? { ...item, text: `${index}` } : item)) }
      const changes = diff(before, after)
      expect(changes).toHaveLength(changed === 100 ? 1 : changed)
      expect(applyChanges(before, changes)).toEqual(after)
    }
  })

  test('a list is replaced whole when only what travels would be longer', () => {
    const key = 'k'.repeat(100)
    expect(diff({ [key]: padded(1) }, { [key]: padded(2) })).toHaveLength(1)
    expect(diff({ k: padded(1) }, { k: padded(2) })).toHaveLength(20)
  })

  test('copes with long lists that have little in common', () => {
    const before = { l: Array.from({ length: 3_000 }, (_, index) => index) }
    const after = { l: Array.from({ length: 3_000 }, (_, index) => -index) }
    expect(applyChanges(before, diff(before, after))).toEqual(after)
    const mixed = { l: before.l.map((value) => (value % 7 === 0 ? { x: value } : value)) as JsonValue[] }
    expect(applyChanges(before, diff(before, mixed))).toEqual(mixed)
    expect(applyOperations(before, diffToOperations(before, mixed)).state).toEqual(mixed)
  })

  test.each<[string, unknown, unknown]>([
    ['a list', [], {}],
    ['null', {}, null],
    ['a Date', {}, new Date()],
    ['a Date in place of an object', { a: {} }, { a: new Date(0) }],
    ['a Map in place of an object', { a: {} }, { a: new Map() }],
    ['a Date in a plain list', { l: [{}, 1] }, { l: [new Date(0), 1] }],
    ['a Date in a keyed item', { l: [{ id: 'a', at: {} }] }, { l: [{ id: 'a', at: new Date(0) }] }],
    ['a hole', { l: [1] }, { l: Array(1) }],
    ['undefined in place of a value', { a: 1 }, { a: undefined }],
    ['NaN', { a: 1 }, { a: Number.NaN }],
    ['a forbidden key', {}, JSON.parse('{"__proto__":1}')],
    ['a forbidden key deep inside', { a: { b: 1 } }, { a: JSON.parse('{"b":1,"constructor":1}') as unknown }],
    ['something before that is not JSON', { a: new Date() }, {}],
  ])('throws a TypeError for %s', (_, before, after) => {
    expect(() => diff(before as object, after as object)).toThrow(TypeError)
  })

  test('throws a TypeError for the same when operations are wanted', () => {
    for (const after of [
      { a: new Date() },
      { a: { b: new Map() } },
      { a: undefined },
      { a: [Number.NaN] },
      JSON.parse('{"prototype":1}') as object,
    ]) {
      expect(() => diffToOperations({ a: {} }, after)).toThrow(TypeError)
    }
  })

  test('throws a TypeError for states that are too deep or contain themselves, and overflows nothing', () => {
    for (const compare of [diff, diffToOperations]) {
      expect(compare(deep(deepestNesting), withMore(deepestNesting))).toHaveLength(1)
      expect(compare(deep(deepestNesting - 1), withCore(deepestNesting - 1))).toHaveLength(1)
      expect(() => compare(deep(5_000), withCore(5_000))).toThrow(TypeError)
      const self: { self?: unknown; n: number } = { n: 1 }
      self.self = self
      const other: { self?: unknown; n: number } = { n: 2 }
      other.self = other
      expect(() => compare(self, other)).toThrow(TypeError)
    }
  })

  test('refuses an item key that is none', () => {
    for (const compare of [diff, diffToOperations]) expect(() => compare({}, {}, { itemKey: '__proto__' })).toThrow(TypeError)
  })
})

describe('operations computed from two states', () => {
  test('never are more than a commit may have: subtrees are set whole instead', () => {
    const cases: [number, number, number][] = [
      [2, 500, 1_000],
      [2, 501, 2],
      [100, 20, 100],
      [1_001, 1, 1],
      [10, 50, 500],
    ]
    for (const [keys, inner, expected] of cases) {
      const [before, after] = [wide(keys, inner, 0), wide(keys, inner, 1)]
      const operations = diffToOperations(before, after)
      expect(operations).toHaveLength(expected)
      expect(applyOperations(before, operations).state).toEqual(after)
    }
  })

  test('have no path of more than 64 steps', () => {
    const operations = diffToOperations(hundred(1), hundred(2))
    expect(operations).toHaveLength(1)
    expect((operations[0] as Operation & { type: 'set' }).path.length).toBeLessThan(64)
    expect(applyOperations(hundred(1), operations).state).toEqual(hundred(2))
    expect(diffToOperations(hundred(1), hundred(1))).toEqual([])
  })

  test('set a list whole when only some of its items have an id, or two the same', () => {
    const cases: [JsonValue[], JsonValue[]][] = [
      [
        [{ id: 'a' }, 1],
        [{ id: 'a' }, 2],
      ],
      [ids('a'), [1]],
      [ids('ab'), ids('aa')],
      [ids('aa'), ids('ab')],
    ]
    for (const [before, after] of cases) {
      expect(diffToOperations({ l: before }, { l: after })).toEqual([{ type: 'set', path: ['l'], value: after }])
      expect(diffToOperations({ l: before }, { l: clone(before) })).toEqual([])
    }
  })

  test('keep what others did when they are applied to another state', () => {
    const before = { todos: ids('abc'), meta: { title: 't', n: 1 } }
    const mine = { todos: [{ id: 'c' }, { id: 'a', done: true }, { id: 'x' }], meta: { title: 'mine', n: 1 } }
    const theirs = { todos: [{ id: 'a', by: 'them' }, { id: 'b' }, { id: 'c' }, { id: 'y' }], meta: { title: 't', n: 2 }, more: 1 }
    expect(applyOperations<JsonObject>(theirs, diffToOperations(before, mine)).state).toEqual({
      todos: [{ id: 'c' }, { id: 'a', by: 'them', done: true }, { id: 'y' }, { id: 'x' }],
      meta: { title: 'mine', n: 2 },
      more: 1,
    })
  })

  test('move as few items as can be', () => {
    const operations = diffToOperations({ l: ids('abcdefgh') }, { l: ids('bcdhefga') })
    expect(operations.map(({ type }) => type)).toEqual(['move', 'move'])
  })
})
