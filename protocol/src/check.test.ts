import { describe, expect, test, vi } from 'vitest'
import { applyOperations } from './apply-operations.ts'
import { checkContextId, checkOperations, checkState, isContextId } from './check.ts'
import { createId, randomToken } from './create-id.ts'
import { diff } from './diff.ts'
import { assertJson } from './json-fault.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting } from './json-shape.ts'
import { defaultLimits } from './limits.ts'
import type { Operation } from './operation.ts'
import type { Path } from './path.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

const limits = { depth: 64, operations: 1_000 }
const refusal = (code: string): unknown => expect.objectContaining({ name: 'ContextdError', code })

/** A value of so many containers within each other. */
function nested(depth: number, kind: 'list' | 'object' = 'list'): JsonValue {
  let value: JsonValue = 1
  for (let level = 0; level < depth; level += 1) value = kind === 'list' ? [value] : { a: value }
  return value
}
const set = (path: Path, value: JsonValue): Operation => ({ type: 'set', path, value })
const many = (length: number): Operation[] => Array.from({ length }, () => set(['a'], 1))
const steps = (length: number): Path => Array.from({ length }, () => 'a')

describe('limits', () => {
  test('have their documented defaults, and cannot be changed for everybody', () => {
    expect(defaultLimits).toMatchObject({
      messageBytes: 2 ** 20,
      stateBytes: 2 ** 22,
      bodyBytes: 2 ** 23,
      depth: 64,
      operations: 1_000,
      idBytes: 128,
    })
    expect(defaultLimits).toMatchObject({
      contextsPerSocket: 1_000,
      sessionsPerSocket: 32,
      commitsPerSecond: 200,
      messagesPerSecond: 500,
      inFlight: 64,
    })
    expect(defaultLimits).toMatchObject({ presenceBytes: 4_096, eventBytes: 16_384, socketsPerAddress: 200, socketBufferBytes: 2 ** 20 })
    expect(Object.isFrozen(defaultLimits)).toBe(true)
  })

  test('`operations`: 1,000 pass, 1,001 do not', () => {
    expect(checkOperations(many(1_000), limits)).toHaveLength(1_000)
    expect(() => checkOperations(many(1_001), limits)).toThrow(refusal('invalid_operation'))
    expect(checkOperations(many(1_001), { ...limits, operations: 0 })).toHaveLength(1_001)
  })

  test.each(['list', 'object'] as const)('`depth`: a value of 64 containers passes, one of 65 does not (%s)', (kind) => {
    expect(checkOperations([set(['a'], nested(64, kind))], limits)).toHaveLength(1)
    expect(() => checkOperations([set(['a'], nested(65, kind))], limits)).toThrow(refusal('invalid_operation'))
    expect(checkOperations([{ type: 'insert', path: ['a'], values: [nested(64, kind)], at: 'end' }], limits)).toHaveLength(1)
    expect(() => checkOperations([{ type: 'insert', path: ['a'], values: [nested(65, kind)], at: 'end' }], limits)).toThrow(
      refusal('invalid_operation'),
    )
    expect(checkState({ a: nested(63, kind) }, limits)).toBeDefined()
    expect(() => checkState({ a: nested(64, kind) }, limits)).toThrow(refusal('invalid_operation'))
  })

  test('`depth`: a path of 64 steps passes, one of 65 does not', () => {
    expect(checkOperations([set(steps(64), 1)], limits)).toHaveLength(1)
    expect(() => checkOperations([set(steps(65), 1)], limits)).toThrow(refusal('invalid_operation'))
  })

  test('`depth` of 0 is no limit but that of the package itself', () => {
    const none = { depth: 0, operations: 0 }
    expect(checkOperations([set(['a'], nested(deepestNesting - 1))], none)).toHaveLength(1)
    expect(() => checkOperations([set(['a'], nested(deepestNesting))], none)).toThrow(refusal('invalid_operation'))
    expect(() => checkState({ a: nested(deepestNesting) }, none)).toThrow(refusal('invalid_operation'))
  })

  test('`idBytes`: 128 characters pass, 129 do not', () => {
    expect(checkContextId('a'.repeat(128))).toHaveLength(128)
    expect(() => checkContextId('a'.repeat(129))).toThrow(refusal('invalid_operation'))
    expect(checkContextId('a'.repeat(10), 10)).toHaveLength(10)
    expect(() => checkContextId('a'.repeat(11), 10)).toThrow(refusal('invalid_operation'))
    expect(checkContextId('a'.repeat(10_000), 0)).toHaveLength(10_000)
  })
})

describe('a state', () => {
  test('cannot be made deeper than the package can handle, whatever moves and sets are made', () => {
    let state: JsonObject = {
      lists: [
        { id: 'a', in: [] },
        { id: 'b', in: [] },
      ],
    }
    const deeper = (): void => {
      // Each turn puts one of two items into the innermost list of the other, and a new one beside.
      const path: Path = ['lists', 0, 'in']
      const [item] = state['lists'] as JsonObject[]
      state = applyOperations(state, [
        { type: 'insert', path: ['lists'], values: [{ id: 'c', in: [] }], at: 'start' },
        { type: 'move', from: { path: ['lists'], item: { id: item!['id'] as string } }, to: { path, at: 'end' } },
        { type: 'set', path: ['lists', 0, 'id'], value: item!['id'] === 'a' ? 'z' : 'a' },
      ]).state
    }
    expect(() => {
      for (let turn = 0; turn < 1_000; turn += 1) deeper()
    }).toThrow(refusal('invalid_operation'))
    expect(() => JSON.stringify(state)).not.toThrow()
    expect(checkState(state, { depth: 0 })).toBe(state)
    expect(diff({}, state)).toHaveLength(1)
  })

  test.each<[string, unknown]>([
    ['null', null],
    ['a list', []],
    ['a text', 'x'],
    ['undefined', undefined],
    ['a Date', new Date()],
    ['a Map', new Map()],
  ])('is an object: %s is invalid_state', (_, value) => {
    expect(() => checkState(value, limits)).toThrow(refusal('invalid_state'))
  })
})

class Point {
  readonly x = 1
}
const circular: { self?: unknown } = {}
circular.self = circular
const bad: readonly [string, unknown][] = [
  ['undefined', undefined],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['1e400', Number('1e400')],
  ['a bigint', 1n],
  ['a symbol', Symbol('s')],
  ['a function', () => 0],
  ['a Date', new Date(0)],
  ['a Map', new Map()],
  ['a Set', new Set()],
  ['a RegExp', /x/],
  ['a class instance', new Point()],
  ['a typed array', new Uint8Array(2)],
  ['a boxed text', Object('x')],
  ['a lone surrogate', 'a\ud800'],
  ['a lone surrogate in a key', { '\udc00': 1 }],
  ['a list with a hole', [1, , 3]], // oxlint-disable-line no-sparse-arrays
  ['undefined in a list', [undefined]],
  ['undefined in an object', { a: undefined }],
  ['__proto__', JSON.parse('{"__proto__":{"polluted":1}}')],
  ['constructor', { constructor: { prototype: { polluted: 1 } } }],
  ['prototype', { prototype: 1 }],
  ['a value that contains itself', circular],
  ['5,000 brackets', nested(5_000)],
  ['5,000 braces', nested(5_000, 'object')],
]

describe('what is not JSON, or not allowed', () => {
  const places: readonly [string, (value: never) => unknown][] = [
    ['set', (value) => ({ type: 'set', path: ['a'], value })],
    ['merge', (value) => ({ type: 'merge', path: [], value })],
    ['test', (value) => ({ type: 'test', path: ['a'], value })],
    ['insert', (value) => ({ type: 'insert', path: ['a'], values: [value], at: 'end' })],
    ['a set deep inside', (value) => ({ type: 'set', path: ['a'], value: { b: [{ c: value }] } })],
    ['an item', (value) => ({ type: 'remove', path: ['a', { index: 0, value }] })],
    ['an anchor', (value) => ({ type: 'insert', path: ['a'], values: [], at: { after: { index: 0, value } } })],
    ['a moved item', (value) => ({ type: 'move', from: { path: ['a'], item: { index: 0, value } }, to: { path: ['a'], at: 'end' } })],
  ]
  test.each(bad)('is refused as a value of every operation: %s', (_, value) => {
    for (const [, build] of places) {
      const operation = build(value as never) as Operation
      expect(() => checkOperations([operation], limits)).toThrow(refusal('invalid_operation'))
      expect(() => applyOperations({ a: [1] }, [operation])).toThrow(refusal('invalid_operation'))
    }
    expect(() => checkState({ a: value }, limits)).toThrow(refusal('invalid_operation'))
    expect(() => diff({}, { a: value })).toThrow(TypeError)
    expect(() => assertJson(value, ['a'], 64)).toThrow(TypeError)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  test('is told with its place', () => {
    expect(() => checkOperations([set(['a'], 1), set(['a'], { list: [1, { at: new Date() as unknown as JsonValue }] })], limits)).toThrow(
      'operations[1].value.list[1].at is a Date, not a plain object; convert it first.',
    )
    expect(() => checkState({ a: { __proto__: null, b: [Number.NaN] } }, limits)).toThrow('state.a.b[0] is NaN')
    expect(() => assertJson({ x: 1n }, ['presence'], 64)).toThrow('not JSON: presence.x is a bigint; store JSON')
  })

  test('is told briefly, however deep or long it is', () => {
    for (const value of [nested(5_000), nested(5_000, 'object'), { ['k'.repeat(100_000)]: undefined }]) {
      let message = ''
      try {
        checkOperations([set(['a'], value as JsonValue)], { depth: 0, operations: 0 })
      } catch (error) {
        message = (error as Error).message
      }
      expect(message.length).toBeGreaterThan(20)
      expect(message.length).toBeLessThan(2_000)
    }
  })
})

describe('the form of operations', () => {
  test.each<[string, unknown]>([
    ['no list', { type: 'set', path: ['a'], value: 1 }],
    ['undefined', undefined],
    ['a text', 'set'],
    ['null in the list', [null]],
    ['a list in the list', [[]]],
    ['a hole in the list', Array(1)],
    ['no type', [{ path: ['a'], value: 1 }]],
    ['another type', [{ type: 'replace', path: ['a'], value: 1 }]],
    ['an inherited type', [Object.create({ type: 'remove', path: ['a'] })]],
    ['a forbidden type', [{ type: '__proto__', path: ['a'], value: 1 }]],
    ['no path', [{ type: 'set', value: 1 }]],
    ['a path that is a text', [{ type: 'set', path: 'a', value: 1 }]],
    ['a path with a list', [{ type: 'set', path: ['a', []], value: 1 }]],
    ['a path with null', [{ type: 'set', path: [null], value: 1 }]],
    ['a path with a list of __proto__', [{ type: 'set', path: [['__proto__'], 'polluted'], value: 1 }]],
    ['a path with a boolean', [{ type: 'set', path: [true], value: 1 }]],
    ['a negative position', [{ type: 'remove', path: ['a', -1] }]],
    ['a broken position', [{ type: 'remove', path: ['a', 0.5] }]],
    ['a position beyond numbers', [{ type: 'remove', path: ['a', 2 ** 53] }]],
    ['an id that is a number', [{ type: 'remove', path: ['a', { id: 1 }] }]],
    ['an id that is no text', [{ type: 'remove', path: ['a', { id: { toString: 1 } }] }]],
    ['an id with a lone surrogate', [{ type: 'remove', path: ['a', { id: '\ud800' }] }]],
    ['an item without anything', [{ type: 'remove', path: ['a', {}] }]],
    ['an item without value', [{ type: 'remove', path: ['a', { index: 1 }] }]],
    ['an item without index', [{ type: 'remove', path: ['a', { value: 1 }] }]],
    ['no value', [{ type: 'set', path: ['a'] }]],
    ['no number', [{ type: 'increment', path: ['a'] }]],
    ['a number as text', [{ type: 'increment', path: ['a'], by: '1' }]],
    ['an infinite number', [{ type: 'increment', path: ['a'], by: Number.POSITIVE_INFINITY }]],
    ['no values', [{ type: 'insert', path: ['a'], at: 'end' }]],
    ['values that are no list', [{ type: 'insert', path: ['a'], values: { length: 2 ** 32 }, at: 'end' }]],
    ['no anchor', [{ type: 'insert', path: ['a'], values: [1] }]],
    ['another anchor', [{ type: 'insert', path: ['a'], values: [1], at: 'middle' }]],
    ['an anchor at nothing', [{ type: 'insert', path: ['a'], values: [1], at: { beside: { id: 'x' } } }]],
    ['an anchor at a text', [{ type: 'insert', path: ['a'], values: [1], at: { after: 'x' } }]],
    ['a move from nowhere', [{ type: 'move', to: { path: ['a'], at: 'end' } }]],
    ['a move of nothing', [{ type: 'move', from: { path: ['a'] }, to: { path: ['a'], at: 'end' } }]],
    ['a move to nowhere', [{ type: 'move', from: { path: ['a'], item: { id: 'x' } } }]],
    ['a move to no place', [{ type: 'move', from: { path: ['a'], item: { id: 'x' } }, to: { path: ['a'] } }]],
    ['a class instance', [Object.assign(new Point(), { type: 'remove', path: ['a'] })]],
  ])('is refused as invalid_operation: %s', (_, operations) => {
    expect(() => checkOperations(operations, limits)).toThrow(refusal('invalid_operation'))
    expect(() => applyOperations({ a: [] }, operations as Operation[])).toThrow(refusal('invalid_operation'))
  })

  const hostileKeys = ['__proto__', 'constructor', 'prototype']
  test.each(hostileKeys)('never lets %s into a path, whatever the operation', (key) => {
    const paths: Path[] = [[key], [key, 'polluted'], ['o', key], ['o', key, 'polluted'], ['list', { id: 'a' }, key]]
    for (const path of paths) {
      const operations: Operation[] = [
        set(path, 1),
        { type: 'merge', path, value: { polluted: 1 } },
        { type: 'remove', path },
        { type: 'increment', path, by: 1 },
        { type: 'test', path, value: 1 },
        { type: 'insert', path, values: [1], at: 'end' },
        { type: 'move', from: { path, item: { id: 'a' } }, to: { path: ['list'], at: 'end' } },
        { type: 'move', from: { path: ['list'], item: { id: 'a' } }, to: { path, at: 'end' } },
      ]
      for (const operation of operations) {
        expect(() => checkOperations([operation], limits)).toThrow(refusal('invalid_operation'))
        expect(() => applyOperations({ o: {}, list: [{ id: 'a' }] }, [operation])).toThrow(refusal('invalid_operation'))
      }
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  test('an item id may be any text, those too', () => {
    const state = {
      list: [
        { id: '__proto__', n: 1 },
        { id: 'constructor', n: 1 },
      ],
    }
    const { state: next } = applyOperations(state, [{ type: 'increment', path: ['list', { id: '__proto__' }, 'n'], by: 1 }])
    expect(next.list).toEqual([
      { id: '__proto__', n: 2 },
      { id: 'constructor', n: 1 },
    ])
    expect(diff(state, next)).toHaveLength(1)
  })
})

describe('a context id', () => {
  test.each(['a', '9', 'A', 'chat:42', 'a.b_c:d-e@f+g~h', 'constructor', 'a..b'])('may be %s', (id) => {
    expect(isContextId(id)).toBe(true)
    expect(checkContextId(id)).toBe(id)
  })

  test('may hold no other characters, at no place', () => {
    const allowed = /[A-Za-z0-9._:\-@+~]/
    for (let code = 0; code < 0x500; code += 1) {
      const character = String.fromCharCode(code)
      expect(isContextId(`a${character}a`)).toBe(allowed.test(character))
      expect(isContextId(`a${character}`)).toBe(allowed.test(character))
      expect(isContextId(character)).toBe(/[A-Za-z0-9]/.test(character))
    }
  })

  test.each<[string, unknown]>([
    ['nothing', ''],
    ['a path', '../../x'],
    ['a slash', 'a/b'],
    ['a backslash', 'a\\b'],
    ['a hash tag', '{a}'],
    ['a channel', 'a#b'],
    ['a pattern', 'ctx*'],
    ['a question', 'a?'],
    ['NUL', 'a\0'],
    ['a space', 'a b'],
    ['a line', 'a\n'],
    ['__proto__', '__proto__'],
    ['an emoji', 'a\u{1f600}'],
    ['a dot', '.'],
    ['10,000 characters', 'a'.repeat(10_000)],
    ['a number', 42],
    ['null', null],
    ['undefined', undefined],
    ['a list', ['a']],
    ['an object', { toString: () => 'a' }],
    ['a boxed text', Object('a')],
  ])('is never %s', (_, id) => {
    expect(isContextId(id)).toBe(false)
    expect(() => checkContextId(id)).toThrow(refusal('invalid_operation'))
  })

  test('is what createId makes, never the same twice', () => {
    const ids = new Set(Array.from({ length: 10_000 }, createId))
    expect(ids.size).toBe(10_000)
    for (const id of ids) if (!isContextId(id) || id.length !== 24) throw new Error(`${id} is no context id`)
    expect(new Set([...ids].join('')).size).toBe(32)
  })

  test('tokens have the length that is asked for', () => {
    expect(randomToken(22)).toMatch(/^[\w-]{22}$/)
    expect(new Set(Array.from({ length: 10_000 }, () => randomToken(22))).size).toBe(10_000)
    expect(randomToken(5_000)).toHaveLength(5_000)
  })
})
