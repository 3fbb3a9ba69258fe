import { expect, test } from 'vitest'
import { copyObject, copyOf } from './copy.ts'
import type { JsonObject } from './json.ts'

const wide = (keys: number): JsonObject => Object.fromEntries(Array.from({ length: keys }, (_, index) => [`key ${index}`, { index }]))

test.each([0, 1, 12, 128, 129, 3_000])(
  'a copy of an object of %i keys has the same keys in the same order, and the same values',
  (keys) => {
    const object = Object.freeze(wide(keys))
    const copy = copyObject(object)
    expect(copy).not.toBe(object)
    expect(Object.entries(copy)).toEqual(Object.entries(object))
    for (const key of Object.keys(object)) expect(copy[key]).toBe(object[key])
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
    copy['another'] = 1
    expect(object).not.toHaveProperty('another')
  },
)

test.each([1, 200])('a key named __proto__ among %i others stays a key', (keys) => {
  const object = JSON.parse(JSON.stringify(wide(keys)).replace('"key 0"', '"__proto__"')) as JsonObject
  const copy = copyObject(object)
  expect(Object.keys(copy)).toEqual(Object.keys(object))
  expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
})

test('a copy of a frozen list may be changed, and its items are the same', () => {
  const list: JsonObject[] = [{ a: 1 }, { a: 2 }]
  Object.freeze(list)
  const copy = copyOf(list) as JsonObject[]
  copy.push({ a: 3 })
  expect(copy.slice(0, 2)).toEqual(list)
  expect(copy[0]).toBe(list[0])
  expect(list).toHaveLength(2)
})
