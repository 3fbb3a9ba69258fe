import { describe, expect, test } from 'vitest'
import { applyOperations } from '../apply-operations.ts'
import { diff } from '../diff.ts'
import type { JsonObject } from '../json.ts'
import { formats } from './formats.ts'
import { isVerboseChange } from './verbose.ts'
import type { VerboseDelta } from './verbose.ts'

const base = { contextId: 'c', baseVersion: 1, version: 2, revision: 'r', committedAt: 0, author: { userId: null, actor: 'a' } }
const shown = (before: JsonObject, after: JsonObject): VerboseDelta =>
  formats.verbose({ ...base, changes: diff(before, after) }, { before, after })

describe('the verbose format', () => {
  test.each<[string, JsonObject, JsonObject, VerboseDelta]>([
    ['a scalar added', {}, { a: 1 }, { a: { action: 'added', value: 1 } }],
    ['a list added', {}, { a: [1] }, { a: { action: 'added', value: [1] } }],
    ['a null added', {}, { a: null }, { a: { action: 'added', value: null } }],
    [
      'an object added, as its leaves',
      {},
      { a: { b: { c: 1 }, d: [] } },
      { a: { b: { c: { action: 'added', value: 1 } }, d: { action: 'added', value: [] } } },
    ],
    ['an empty object added', {}, { a: {} }, { a: { action: 'added', value: {} } }],
    ['an empty object added deep inside', { a: {} }, { a: { b: { c: {} } } }, { a: { b: { c: { action: 'added', value: {} } } } }],
    ['a scalar changed', { a: 1 }, { a: 2 }, { a: { action: 'modified', value: 2, oldValue: 1 } }],
    ['null to a value', { a: null }, { a: 1 }, { a: { action: 'modified', value: 1, oldValue: null } }],
    ['a value to null', { a: 1 }, { a: null }, { a: { action: 'modified', value: null, oldValue: 1 } }],
    ['null unchanged', { a: null, b: 1 }, { a: null, b: 1 }, {}],
    ['object to object, by key', { a: { b: 1, c: 1 } }, { a: { b: 2, c: 1 } }, { a: { b: { action: 'modified', value: 2, oldValue: 1 } } }],
    ['equal objects left out', { a: { b: 1 }, c: 1 }, { a: { b: 1 }, c: 2 }, { c: { action: 'modified', value: 2, oldValue: 1 } }],
    ['object to scalar, whole', { a: { b: { c: 1 } } }, { a: 1 }, { a: { action: 'modified', value: 1, oldValue: { b: { c: 1 } } } }],
    ['object to list', { a: { b: 1 } }, { a: [] }, { a: { action: 'modified', value: [], oldValue: { b: 1 } } }],
    ['object to null', { a: { b: 1 } }, { a: null }, { a: { action: 'modified', value: null, oldValue: { b: 1 } } }],
    ['scalar to object, whole', { a: 1 }, { a: { b: 1 } }, { a: { action: 'modified', value: { b: 1 }, oldValue: 1 } }],
    ['list to object', { a: [1] }, { a: { b: 1 } }, { a: { action: 'modified', value: { b: 1 }, oldValue: [1] } }],
    ['null to object', { a: null }, { a: {} }, { a: { action: 'modified', value: {}, oldValue: null } }],
    [
      'a list changed in any way, as one leaf',
      { a: [{ id: 'x', n: 1 }, 2] },
      { a: [{ id: 'x', n: 2 }, 2] },
      {
        a: { action: 'modified', value: [{ id: 'x', n: 2 }, 2], oldValue: [{ id: 'x', n: 1 }, 2] },
      },
    ],
    ['a scalar removed', { a: 1 }, {}, { a: { action: 'removed', oldValue: 1 } }],
    ['an object removed, whole', { a: { b: { c: 1 } } }, {}, { a: { action: 'removed', oldValue: { b: { c: 1 } } } }],
    ['the object that 1.0 and 1 are', { a: 1 }, { a: Number('1.0') }, {}],
    [
      'keys named action and value',
      { action: { action: 'x', value: 1 } },
      { action: { action: 'y', value: 1 }, value: 2 },
      {
        action: { action: { action: 'modified', value: 'y', oldValue: 'x' } },
        value: { action: 'added', value: 2 },
      },
    ],
    ['objects emptied', { a: { b: 1 } }, { a: {} }, { a: { b: { action: 'removed', oldValue: 1 } } }],
  ])('shows %s', (_, before, after, expected) => {
    expect(shown(before, after)).toEqual(expected)
  })

  test.each<[string, JsonObject, JsonObject, JsonObject, VerboseDelta]>([
    ['modified, modified', { a: 1 }, { a: 2 }, { a: 3 }, { a: { action: 'modified', value: 3, oldValue: 1 } }],
    ['added, modified', {}, { a: 1 }, { a: 2 }, { a: { action: 'added', value: 2 } }],
    ['added, removed', {}, { a: 1 }, {}, {}],
    ['modified, removed', { a: 1 }, { a: 2 }, {}, { a: { action: 'removed', oldValue: 1 } }],
    ['removed, added', { a: 1 }, {}, { a: 2 }, { a: { action: 'modified', value: 2, oldValue: 1 } }],
    ['removed, added equal', { a: 1 }, {}, { a: 1 }, {}],
    ['there and back', { a: 1 }, { a: 2 }, { a: 1 }, {}],
    [
      'scalar to object, then a change inside',
      { a: 1 },
      { a: { b: 1 } },
      { a: { b: 2 } },
      { a: { action: 'modified', value: { b: 2 }, oldValue: 1 } },
    ],
    [
      'a null that stays, twice',
      { n: null, a: 1 },
      { n: null, a: 2 },
      { n: null, a: 3 },
      { a: { action: 'modified', value: 3, oldValue: 1 } },
    ],
  ])('shows the net of several commits: %s', (_, first, between, last, expected) => {
    expect(shown(first, between)).toBeDefined()
    expect(shown(first, last)).toEqual(expected)
  })

  test('tells leaves from inner nodes by an action that is a text', () => {
    const delta = shown({}, { action: { action: 'x' }, a: 1 })
    const inner = Object.entries(delta['action'] ?? {}).map(([key, node]) => [key, isVerboseChange(node as VerboseDelta)])
    expect(Object.entries(delta).map(([key, node]) => [key, isVerboseChange(node)])).toEqual([
      ['action', false],
      ['a', true],
    ])
    expect(inner).toEqual([['action', true]])
    expect(isVerboseChange({})).toBe(false)
  })

  test('never sets a prototype', () => {
    const delta = shown({}, JSON.parse('{"a":1}') as JsonObject)
    const hostile = JSON.parse('{"__proto__":{"polluted":1},"a":{"constructor":{"x":1}}}') as JsonObject
    const both = formats.verbose({ ...base, changes: [] }, { before: {}, after: hostile })
    expect(Object.getPrototypeOf(both)).toBe(Object.prototype)
    expect(both['polluted']).toBeUndefined()
    expect(Object.keys(delta)).toEqual(['a'])
  })
})

describe('the flat formats', () => {
  const before = { meta: { theme: 'light' }, list: [{ id: 'a' }, { id: 'b' }], 'a/b~c': 1 }
  const { state: after, changes } = applyOperations<JsonObject>(before, [
    { type: 'set', path: ['meta', 'theme'], value: 'dark' },
    { type: 'remove', path: ['list', { id: 'a' }] },
    { type: 'insert', path: ['list'], values: [{ id: 'c' }], at: 'end' },
    { type: 'remove', path: ['a/b~c'] },
  ])

  test('`changes` keeps list items apart, with full paths', () => {
    expect(formats.changes({ ...base, changes }, { before, after })).toEqual([
      { path: ['meta', 'theme'], action: 'modified', value: 'dark', oldValue: 'light' },
      { path: ['list', 0], action: 'removed', oldValue: { id: 'a' } },
      { path: ['list', 1], action: 'added', value: { id: 'c' } },
      { path: ['a/b~c'], action: 'removed', oldValue: 1 },
    ])
  })

  test('`jsonPatch` is RFC 6902, pointers escaped', () => {
    expect(formats.jsonPatch({ ...base, changes }, { before, after })).toEqual([
      { op: 'replace', path: '/meta/theme', value: 'dark' },
      { op: 'remove', path: '/list/0' },
      { op: 'add', path: '/list/1', value: { id: 'c' } },
      { op: 'remove', path: '/a~1b~0c' },
    ])
  })
})
