import { applyOperations } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { addressed, incrementAt, insertAt, mergeAt, moveAt, recipeAt, removeAt, removeItemAt, setAt, valueAt } from './edits.ts'
import type { Edit } from './edits.ts'

const state: JsonObject = {
  n: 1,
  items: [
    { id: 'x', title: 'X' },
    { id: 'y', title: 'Y' },
    { id: 'z', title: 'Z' },
  ],
  other: [{ id: 'o' }],
  labels: ['a', 'b', 'c'],
  meta: { color: 'red', tags: { k: 'v' } },
}
const rows: readonly [string, Edit, readonly Operation[], Partial<JsonObject>][] = [
  ['set by key', setAt(['n'], 2), [{ type: 'set', path: ['n'], value: 2 }], { n: 2 }],
  [
    'set below a position of a keyed list',
    setAt(['items', 1, 'title'], 'W'),
    [{ type: 'set', path: ['items', { id: 'y' }, 'title'], value: 'W' }],
    {
      items: [
        { id: 'x', title: 'X' },
        { id: 'y', title: 'W' },
        { id: 'z', title: 'Z' },
      ],
    },
  ],
  [
    'set of an item without key',
    setAt(['labels', 1], 'B'),
    [{ type: 'set', path: ['labels', { index: 1, value: 'b' }], value: 'B' }],
    { labels: ['a', 'B', 'c'] },
  ],
  ['increment', incrementAt(['n'], 3), [{ type: 'increment', path: ['n'], by: 3 }], { n: 4 }],
  ['remove a key', removeAt(['meta', 'color']), [{ type: 'remove', path: ['meta', 'color'] }], { meta: { tags: { k: 'v' } } }],
  [
    'remove an item by position',
    removeItemAt(['items'], 0),
    [{ type: 'remove', path: ['items', { id: 'x' }] }],
    {
      items: [
        { id: 'y', title: 'Y' },
        { id: 'z', title: 'Z' },
      ],
    },
  ],
  [
    'insert at a position',
    insertAt(['labels'], 1, ['n']),
    [{ type: 'insert', path: ['labels'], values: ['n'], at: { after: { index: 0, value: 'a' } } }],
    { labels: ['a', 'n', 'b', 'c'] },
  ],
  [
    'insert before an item',
    insertAt(['items'], { before: { id: 'y' } }, [{ id: 'n' }]),
    [{ type: 'insert', path: ['items'], values: [{ id: 'n' }], at: { before: { id: 'y' } } }],
    { items: [{ id: 'x', title: 'X' }, { id: 'n' }, { id: 'y', title: 'Y' }, { id: 'z', title: 'Z' }] },
  ],
  ['insert nothing', insertAt(['labels'], 'end', []), [], {}],
  [
    'move to a position is where it lies afterwards',
    moveAt(['items'], 0, 1, ['items']),
    [{ type: 'move', from: { path: ['items'], item: { id: 'x' } }, to: { path: ['items'], at: { after: { id: 'y' } } } }],
    {
      items: [
        { id: 'y', title: 'Y' },
        { id: 'x', title: 'X' },
        { id: 'z', title: 'Z' },
      ],
    },
  ],
  [
    'move to another list',
    moveAt(['items'], { id: 'y' }, 'start', ['other']),
    [{ type: 'move', from: { path: ['items'], item: { id: 'y' } }, to: { path: ['other'], at: 'start' } }],
    {
      items: [
        { id: 'x', title: 'X' },
        { id: 'z', title: 'Z' },
      ],
      other: [{ id: 'y', title: 'Y' }, { id: 'o' }],
    },
  ],
  [
    'a patch sends only what it changes',
    mergeAt(['meta'], { color: 'red', tags: { k: null, l: 'w' } }),
    [
      { type: 'remove', path: ['meta', 'tags', 'k'] },
      { type: 'set', path: ['meta', 'tags', 'l'], value: 'w' },
    ],
    { meta: { color: 'red', tags: { l: 'w' } } },
  ],
  [
    'a patch of a list is what was done to its items',
    mergeAt([], { items: [{ id: 'x', title: 'X' }, { id: 'y', title: 'Y' }, { id: 'z', title: 'Z' }, { id: 'n' }] }),
    [{ type: 'insert', path: ['items'], values: [{ id: 'n' }], at: 'end' }],
    { items: [...(state['items'] as []), { id: 'n' }] },
  ],
  ['a patch that changes nothing', mergeAt([], { n: 1 }), [], {}],
  [
    'a recipe below an item',
    recipeAt(['items', 1], ((draft: { title: string }) => void (draft.title += '!')) as never),
    [{ type: 'set', path: ['items', { id: 'y' }, 'title'], value: 'Y!' }],
    {
      items: [
        { id: 'x', title: 'X' },
        { id: 'y', title: 'Y!' },
        { id: 'z', title: 'Z' },
      ],
    },
  ],
]

test.each(rows)('%s', (_, edit, operations, changed) => {
  const made = edit(state, 'id')
  expect(made).toEqual(operations)
  expect(applyOperations(state, made).state).toEqual({ ...state, ...changed })
})

test.each([
  ['the place of a patch is no object', mergeAt(['n'], { a: 1 })],
  ['the place of a recipe is empty', recipeAt(['nowhere'], (() => {}) as never)],
  ['a position beyond the list', removeItemAt(['labels'], 9)],
  ['an anchor beyond the list', insertAt(['labels'], { after: 9 }, ['x'])],
])('a conflict: %s', (_, edit) => {
  expect(() => edit(state, 'id')).toThrow(expect.objectContaining({ code: 'conflict' }))
})

test('a position beyond the list in a path stays what it is, and is a conflict when applied', () => {
  expect(addressed(state, ['labels', 9], 'id')).toEqual(['labels', 9])
  expect(() => applyOperations(state, setAt(['labels', 9], 'x')(state, 'id'))).toThrow(expect.objectContaining({ code: 'conflict' }))
})

test('lists by another key', () => {
  const keyed = {
    items: [
      { key: 'a', id: 'no' },
      { key: 'b', id: 'no' },
    ],
  }
  expect(addressed(keyed, ['items', 1, 'id'], 'key')).toEqual(['items', { id: 'b' }, 'id'])
  expect(valueAt(keyed, ['items', { id: 'b' }, 'id'], 'key')).toBe('no')
})

test('values at paths that lead nowhere are undefined', () => {
  for (const path of [['no'], ['n', 'x'], ['items', 'length'], ['items', 7], ['items', { id: 'q' }], ['meta', 0], ['toString']]) {
    expect(valueAt(state, path as never, 'id')).toBeUndefined()
  }
})
