import { expect, test } from 'vitest'
import { takeJson } from './take-json.ts'

const limits = { depth: 4 }

test('what is set is copied: nothing that is done to it later reaches the operation', () => {
  const state = { list: [{ n: 1 }, null, 'text'], object: { on: true } }
  const taken = takeJson('set', state, limits)
  expect(taken).toEqual({ type: 'set', path: [], value: state })
  state.object.on = false
  state.list.push('more')
  expect(taken?.value).toEqual({ list: [{ n: 1 }, null, 'text'], object: { on: true } })
})

test('of a patch, keys that are undefined are not mentioned; of a state they are a mistake', () => {
  expect(takeJson('merge', { a: 1, b: undefined, c: { d: undefined } }, limits)?.value).toStrictEqual({ a: 1, c: {} })
  expect(takeJson('set', { a: 1, b: undefined }, limits)).toBeNull()
})

const contained: { [key: string]: unknown } = {}
contained['self'] = contained

test.each<[string, unknown]>([
  ['a list', []],
  ['nothing', null],
  ['text', 'text'],
  ['a date', { at: new Date(0) }],
  ['a class instance', new Map()],
  ['an undefined item', { list: [undefined] }],
  ['a hole', { list: [1, , 2] }], // oxlint-disable-line no-sparse-arrays
  ['NaN', { n: Number.NaN }],
  ['a function', { f: () => 1 }],
  ['a bigint', { n: 1n }],
  ['a symbol', { s: Symbol('s') }],
  ['a lone surrogate', { text: '\uD800' }],
  ['a key with a lone surrogate', { '\uD800': 1 }],
  ['a key that reaches a prototype', JSON.parse('{"a":{"__proto__":1}}')],
  ['the key constructor', { constructor: 1 }],
  ['what is nested too deep', { a: { b: { c: { d: {} } } } }],
  ['what contains itself', contained],
])('%s is not taken', (_, value) => {
  expect(takeJson('set', value, limits)).toBeNull()
  expect(takeJson('merge', value, limits)).toBeNull()
})
