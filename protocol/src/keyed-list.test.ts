import { describe, expect, test } from 'vitest'
import type { JsonValue } from './json.ts'
import { anchorAt, findAnchor, findById, findItem, findNearest, idOf, itemRefAt, positionsById } from './keyed-list.ts'

const keyed: JsonValue[] = [{ id: 'a' }, { id: 'b' }]
const plain: JsonValue[] = ['x', 'y', 'x', 'z', 'x']

describe('the items of a list', () => {
  test('have an id when it is their own text', () => {
    expect([{ id: 'a' }, { id: '' }, { id: 1 }, {}, [], 'id', null, undefined].map((item) => idOf(item as JsonValue, 'id'))).toEqual([
      'a',
      '',
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ])
    expect(idOf(Object.create({ id: 'a' }) as JsonValue, 'id')).toBeUndefined()
    expect(findById([Object.create({ id: 'a' }) as JsonValue, { id: 'a' }], 'a', 'id')).toBe(1)
  })

  test('have keys when every one has an id of its own', () => {
    expect(positionsById(keyed, 'id')).toEqual(
      new Map([
        ['a', 0],
        ['b', 1],
      ]),
    )
    expect(positionsById([], 'id')).toEqual(new Map())
    expect(positionsById([{ id: 'a' }, { id: 'a' }], 'id')).toBeNull()
    expect(positionsById([{ id: 'a' }, 1], 'id')).toBeNull()
  })

  test('are named by id, or by position and value', () => {
    expect(itemRefAt(keyed, 1)).toEqual({ id: 'b' })
    expect(itemRefAt(plain, 1)).toEqual({ index: 1, value: 'y' })
    expect(itemRefAt([{ id: 'a' }, { id: 'a' }], 1)).toEqual({ index: 1, value: { id: 'a' } })
    expect(itemRefAt([{ id: 'a' }, { id: 'a' }], 0)).toEqual({ index: 0, value: { id: 'a' } })
    expect(itemRefAt([1, { id: 'a' }], 1)).toEqual({ id: 'a' })
    expect(itemRefAt([{ key: 'k' }], 0, 'key')).toEqual({ id: 'k' })
  })

  test('are found nearest to where they were, the lower of two', () => {
    expect([0, 1, 2, 3, 4].map((index) => findNearest(plain, index, 'x'))).toEqual([0, 0, 2, 2, 4])
    expect(findNearest(plain, 3, 'w')).toBe(-1)
    expect(findNearest([], 0, 'x')).toBe(-1)
    expect(findItem(plain, { index: 0, value: 'z' }, 'id')).toBe(3)
  })

  test('are sought no further than the list reaches, however far away the index is', () => {
    expect(findNearest(plain, Number.MAX_SAFE_INTEGER, 'y')).toBe(1)
    expect(findNearest(plain, Number.MAX_SAFE_INTEGER, 'w')).toBe(-1)
  })
})

const places = (list: readonly JsonValue[], ...anchors: Parameters<typeof findAnchor>[1][]): number[] =>
  anchors.map((at) => findAnchor(list, at, 'id'))
const gone = (index: number): { index: number; value: string } => ({ index, value: 'w' })

describe('an anchor', () => {
  test('is an end of the list, or the item before', () => {
    expect([0, 1, 2, 3].map((index) => anchorAt(keyed, index))).toEqual(['start', { after: { id: 'a' } }, 'end', 'end'])
    expect(anchorAt(plain, 1)).toEqual({ after: { index: 0, value: 'x' } })
    expect(anchorAt([], 0)).toBe('end')
  })

  test('gives the place beside its item, the end when the item is gone, the clamped position in lists without keys', () => {
    expect(
      places(keyed, 'start', 'end', { after: { id: 'a' } }, { before: { id: 'b' } }, { after: { id: 'z' } }, { before: { id: 'z' } }),
    ).toEqual([0, 2, 1, 1, 2, 2])
    expect(places(plain, { after: gone(1) }, { before: gone(1) }, { after: gone(4) }, { after: gone(9) }, { before: gone(9) })).toEqual([
      2, 1, 5, 5, 5,
    ])
  })
})
