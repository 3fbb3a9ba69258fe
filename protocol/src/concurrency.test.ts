import { describe, expect, test } from 'vitest'
import { applyOperations } from './apply-operations.ts'
import { diffToOperations } from './diff-to-operations.ts'
import { isContextdError } from './errors.ts'
import type { JsonObject } from './json.ts'
import { concurrencyGuide } from './testing/concurrency-guide.ts'
import { concurrencyTable } from './testing/concurrency-table.ts'
import type { ConcurrentCall, Outcome } from './testing/concurrency-row.ts'

function inOrder(state: JsonObject, first: ConcurrentCall, second: ConcurrentCall): Outcome {
  const between = applyOperations(state, first.operations).state
  try {
    return { state: applyOperations(between, second.operations).state }
  } catch (error) {
    if (isContextdError(error, 'conflict') || isContextdError(error, 'invalid_operation')) return { state: between, refused: error.code }
    throw error
  }
}

for (const [group, rows] of Object.entries(concurrencyTable)) {
  describe(`${group}, two callers at once`, () => {
    test.each(rows.map((row) => [`${row.a.call} × ${row.b.call}: ${row.rule}`, row] as const))(
      '%s',
      (_, { state, a, b, aFirst, bFirst }) => {
        expect(inOrder(state, a, b)).toEqual(aFirst)
        expect(inOrder(state, b, a)).toEqual(bFirst)
      },
    )
  })
}

test('every kind of operation meets another one in the table, and each outcome occurs', () => {
  const rows = Object.values(concurrencyTable).flat()
  const kinds = new Set(rows.flatMap(({ a, b }) => [...a.operations, ...b.operations]).map(({ type }) => type))
  expect([...kinds].toSorted()).toEqual(['increment', 'insert', 'merge', 'move', 'remove', 'set', 'test'])
  expect(new Set(rows.flatMap(({ aFirst, bFirst }) => [aFirst.refused, bFirst.refused]))).toEqual(
    new Set([undefined, 'conflict', 'invalid_operation']),
  )
})

test.each([
  [
    'a pushed item',
    { list: [{ id: 'a' }] },
    { list: [{ id: 'a' }, { id: 'y' }] },
    { type: 'insert', path: ['list'], values: [{ id: 'y' }], at: 'end' },
  ],
  ['an item less', { list: [{ id: 'a' }, { id: 'b' }] }, { list: [{ id: 'b' }] }, { type: 'remove', path: ['list', { id: 'a' }] }],
  ['a changed leaf', { meta: { a: 1, b: 1 } }, { meta: { a: 1, b: 2 } }, { type: 'set', path: ['meta', 'b'], value: 2 }],
  ['a key less', { meta: { a: 1, b: 1 } }, { meta: { b: 1 } }, { type: 'remove', path: ['meta', 'a'] }],
  [
    'an item elsewhere',
    { list: [{ id: 'a' }, { id: 'b' }, { id: 'c' }] },
    { list: [{ id: 'c' }, { id: 'a' }, { id: 'b' }] },
    { type: 'move', from: { path: ['list'], item: { id: 'c' } }, to: { path: ['list'], at: 'start' } },
  ],
  [
    'a leaf of an item',
    { list: [{ id: 'a', n: 1 }] },
    { list: [{ id: 'a', n: 2 }] },
    { type: 'set', path: ['list', { id: 'a' }, 'n'], value: 2 },
  ],
  ['a changed value', { tags: ['a', 'b'] }, { tags: ['a', 'B'] }, { type: 'set', path: ['tags', { index: 1, value: 'b' }], value: 'B' }],
  ['a value less', { tags: ['a', 'b'] }, { tags: ['b'] }, { type: 'remove', path: ['tags', { index: 0, value: 'a' }] }],
  [
    'a value more',
    { tags: ['a', 'b'] },
    { tags: ['a', 'x', 'b'] },
    { type: 'insert', path: ['tags'], values: ['x'], at: { after: { index: 0, value: 'a' } } },
  ],
  [
    'an ended key',
    { list: [{ key: 'a', n: 1 }] },
    { list: [{ key: 'a', n: 2 }] },
    { type: 'set', path: ['list', { id: 'a' }, 'n'], value: 2 },
    'key',
  ],
])('%s becomes the one operation that says so', (_, before, after, operation, itemKey = 'id') => {
  expect(diffToOperations(before, after, { itemKey })).toEqual([operation])
})

test('the guide shows this very table; `vitest -u` writes it', async () => {
  await expect(concurrencyGuide()).toMatchFileSnapshot('../../docs/guides/concurrency.md')
})
