import { type } from 'arktype'
import { describe, expect, expectTypeOf, test } from 'vitest'
import * as v from 'valibot'
import { z } from 'zod'
import { defineContext } from './define-context.ts'
import type { InferContexts, StandardSchema } from './define-context.ts'
import { ContextdError, isContextdError, isErrorCode, isHeldCode } from './errors.ts'

const state = z.object({ votes: z.number() })
const define = (id: unknown, options: unknown): unknown =>
  defineContext(id as string, options as { state: StandardSchema<{ votes: number }> })
const migrate = (): { votes: number } => ({ votes: 1 })

describe('defining a context', () => {
  test('gives its options back with its id, frozen', () => {
    const board = defineContext('board:*', { state, initial: { votes: 0 }, itemKey: 'key', version: 2, migrate, requireLock: () => null })
    expect(board).toMatchObject({ id: 'board:*', state, initial: { votes: 0 }, itemKey: 'key', version: 2, migrate })
    expect(Object.isFrozen(board)).toBe(true)
  })

  test.each(['lobby', 'board:*', '*', '*:log', 'a*b*c', 'A-1.b_c~d@e+f'])('takes the id %s', (id) => {
    expect(define(id, { state })).toHaveProperty('id', id)
  })

  test.each([[''], ['a b'], [':a'], ['a/b'], ['{a}'], ['a#'], ['é'], [1], [null], [undefined]])('refuses the id %s', (id) => {
    expect(() => define(id, { state })).toThrow(TypeError)
  })

  test('takes schemas of every library that follows Standard Schema, functions too', () => {
    const asFunction = Object.assign(() => true, { '~standard': { version: 1, vendor: 'x', validate: () => ({}) } })
    for (const schema of [state, v.object({ votes: v.number() }), type({ votes: 'number' }), asFunction])
      expect(define('a', { state: schema, presence: schema, event: schema })).toHaveProperty('state', schema)
  })

  test.each<[string, unknown]>([
    ['no options', undefined],
    ['no object', 'x'],
    ['no schema', {}],
    ['a schema that is none', { state: { parse: () => 1 } }],
    ['a schema of another version', { state: { '~standard': { version: 2, vendor: 'x', validate: () => 1 } } }],
    ['a schema without validate', { state: { '~standard': { version: 1, vendor: 'x' } } }],
    ['presence that is no schema', { state, presence: {} }],
    ['an event that is no schema', { state, event: null }],
    ['an initial that is no object', { state, initial: [] }],
    ['an initial that is not JSON', { state, initial: { at: new Date() } }],
    ['an item key that is no text', { state, itemKey: 1 }],
    ['an empty item key', { state, itemKey: '' }],
    ['a forbidden item key', { state, itemKey: '__proto__' }],
    ['a version of 0', { state, version: 0 }],
    ['a broken version', { state, version: 1.5 }],
    ['a version that is a text', { state, version: '1' }],
    ['a migrate that is no function', { state, migrate: {} }],
    ['a requireLock that is no function', { state, requireLock: 'key' }],
    ['an option that it does not have', { state, initail: { votes: 0 } }],
    ['a version that is not a number', { state, version: Number.NaN }],
  ])('refuses %s', (_, options) => {
    expect(() => define('a', options)).toThrow(TypeError)
  })

  test('names the options that there are, and makes a definition from another one', () => {
    expect(() => define('a', { state, schema: state })).toThrow(
      "defineContext('a') has no option schema; it has state, presence, event, initial, itemKey, version, migrate, requireLock",
    )
    const board = defineContext('board:*', { state, itemKey: 'key' })
    expect(defineContext('note:*', { ...board, version: 2 })).toMatchObject({ id: 'note:*', itemKey: 'key', version: 2 })
  })

  test('infers the map of contexts', () => {
    const board = defineContext('board:*', { state, presence: z.object({ x: z.number() }) })
    const lobby = defineContext('lobby', { state: v.object({ open: v.boolean() }) })
    const poll = defineContext('poll:*', { state: type({ question: 'string', 'answers?': 'string[]' }) })
    type Contexts = InferContexts<[typeof board, typeof lobby, typeof poll]>
    expectTypeOf<Contexts['board:1']['state']>().toEqualTypeOf<{ votes: number }>()
    expectTypeOf<Contexts['board:1']['presence']>().toEqualTypeOf<{ x: number }>()
    expectTypeOf<Contexts['lobby']['state']>().toEqualTypeOf<{ open: boolean }>()
    expectTypeOf<Contexts['poll:1']['state']>().toEqualTypeOf<{ question: string; answers?: string[] }>()
    expect([board.id, lobby.id, poll.id]).toEqual(['board:*', 'lobby', 'poll:*'])
  })
})

describe('errors', () => {
  const final = [
    'forbidden',
    'not_found',
    'conflict',
    'locked',
    'invalid_operation',
    'invalid_state',
    'invalid_message',
    'too_large',
    'expired',
    'aborted',
  ] as const
  const held = [
    'offline',
    'timeout',
    'closed',
    'backend_unavailable',
    'rate_limited',
    'unauthenticated',
    'update_required',
    'internal',
  ] as const

  test('are final or held, and only held ones are sent again', () => {
    for (const code of final)
      expect([isErrorCode(code), isHeldCode(code), new ContextdError(code, 'x').retryable]).toEqual([true, false, false])
    for (const code of held)
      expect([isErrorCode(code), isHeldCode(code), new ContextdError(code, 'x').retryable]).toEqual([true, true, true])
    for (const code of ['', 'toString', 'Forbidden', 1, null, undefined]) expect(isErrorCode(code)).toBe(false)
  })

  test('carry code, details, context and cause', () => {
    const cause = new Error('why')
    const error = new ContextdError('rate_limited', 'Slower.', { details: { retryAfterMs: 5 }, contextId: 'c', cause })
    expect(error).toMatchObject({
      name: 'ContextdError',
      code: 'rate_limited',
      message: 'Slower.',
      details: { retryAfterMs: 5 },
      contextId: 'c',
      cause,
    })
    expect(error).toBeInstanceOf(Error)
    expect(new ContextdError('internal', 'x')).not.toHaveProperty('contextId')
  })

  test('are told by name and code, those of another copy of the package too', () => {
    const copy = Object.assign(new Error('x'), { name: 'ContextdError', code: 'conflict' })
    expect([isContextdError(copy), isContextdError(copy, 'conflict'), isContextdError(copy, 'expired')]).toEqual([true, true, false])
    expect(isContextdError(Object.assign(new Error('x'), { name: 'ContextdError', code: 'other' }))).toBe(false)
    expect([new Error('x'), { name: 'ContextdError', code: 'conflict' }, null, 'conflict'].map((error) => isContextdError(error))).toEqual([
      false,
      false,
      false,
      false,
    ])
  })
})
