import { describe, expect, test } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import type { Change } from './delta.ts'
import type { JsonValue } from './json.ts'
import { packChanges, packLoggedChanges, unpackChanges } from './pack.ts'
import { deepestNesting } from './json-shape.ts'

const changes: Change[] = [
  { path: ['a', 0], action: 'added', value: null },
  { path: ['b'], action: 'modified', value: 1, oldValue: { x: 1 } },
  { path: ['c'], action: 'removed', oldValue: [] },
]

function nested(depth: number): JsonValue {
  let value: JsonValue = 1
  for (let level = 0; level < depth; level += 1) value = [value]
  return value
}

describe('packed changes', () => {
  test('are lists of action, path and value, and the old value last for the log', () => {
    expect(packChanges(changes)).toEqual([
      [0, ['a', 0], null],
      [1, ['b'], 1],
      [2, ['c']],
    ])
    expect(packLoggedChanges(changes)).toEqual([
      [0, ['a', 0], null],
      [1, ['b'], 1, { x: 1 }],
      [2, ['c'], []],
    ])
  })

  test('are read back, in both forms', () => {
    expect(unpackChanges(packLoggedChanges(changes))).toEqual(changes)
    expect(unpackChanges(packChanges(changes))).toEqual([
      { path: ['a', 0], action: 'added', value: null },
      { path: ['b'], action: 'modified', value: 1 },
      { path: ['c'], action: 'removed' },
    ])
  })

  test.each<[string, unknown]>([
    ['no list', {}],
    ['a text', 'x'],
    ['an entry that is no list', [{}]],
    ['an unknown action', [[3, ['a'], 1]]],
    ['an action that is no number', [['0', ['a'], 1]]],
    ['no path', [[0, 'a', 1]]],
    ['a path of objects', [[0, [{ id: 'x' }], 1]]],
    ['a negative position', [[0, ['a', -1], 1]]],
    ['a null in the path', [[0, [null], 1]]],
    ['a forbidden key in the path', [[0, ['__proto__', 'polluted'], 1]]],
    ['a forbidden key in the value', [[0, ['a'], JSON.parse('{"x":{"constructor":1}}')]]],
    ['a forbidden key in the old value', [[2, ['a'], JSON.parse('{"prototype":1}')]]],
    ['a lone surrogate', [[0, ['a'], '\ud800']]],
    ['no value', [[0, ['a']]]],
    ['a value too many', [[0, ['a'], 1, 2]]],
    ['a value too many for a modification', [[1, ['a'], 1, 2, 3]]],
    ['a value too many for a removal', [[2, ['a'], 1, 2]]],
    ['a value that is too deep', [[0, ['a'], nested(deepestNesting)]]],
    ['a path that is too long', [[0, Array.from({ length: deepestNesting + 1 }, () => 'a'), 1]]],
  ])('are refused as invalid_message: %s', (_, packed) => {
    expect(() => unpackChanges(packed as JsonValue[])).toThrow(expect.objectContaining({ code: 'invalid_message' }))
  })

  test('may be as deep as a state', () => {
    const [change] = unpackChanges([[0, ['a'], nested(deepestNesting - 1)]])
    expect(applyChanges({}, [change!])).toEqual({ a: nested(deepestNesting - 1) })
  })
})
