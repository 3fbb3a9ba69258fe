import { applyOperations, checkOperations, defaultLimits, formats, isContextdError } from '@contextd/protocol'
import type { JsonObject, JsonValue, Operation } from '@contextd/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frozen, frozenAs } from '../json-copy.ts'
import { verboseDelta } from './verbose-delta.ts'

const key = fc.constantFrom('a', 'b', 'action')
const value = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<JsonValue>(0, 1, '', 'text', null, true, {}, []),
    fc.dictionary(key, tie('value'), { maxKeys: 3 }),
    fc.array(tie('value'), { maxLength: 3 }),
  ),
})).value
const state = fc.dictionary(key, value, { minKeys: 1, maxKeys: 3 })
const path = fc.array(fc.oneof({ weight: 4, arbitrary: key }, { weight: 1, arbitrary: fc.nat(2) }), { maxLength: 3 })
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ type: fc.constant('set' as const), path, value }),
  fc.record({ type: fc.constant('merge' as const), path, value }),
  fc.record({ type: fc.constant('remove' as const), path }),
  fc.record({ type: fc.constant('insert' as const), path, values: fc.array(value, { maxLength: 2 }), at: fc.constantFrom('start', 'end') }),
)

/** What operations come to; null: they are refused. */
function applied(before: JsonObject, operations: readonly Operation[]): ReturnType<typeof applyOperations<JsonObject>> | null {
  try {
    return applyOperations(before, checkOperations(structuredClone(operations), defaultLimits))
  } catch (error) {
    if (isContextdError(error)) return null
    throw error
  }
}

const isFrozen = (part: unknown): boolean =>
  typeof part !== 'object' || part === null || (Object.isFrozen(part) && Object.values(part).every(isFrozen))

const runs = 3_000

test('from the changes of a commit comes what the states compare to', () => {
  let told = 0
  fc.assert(
    fc.property(state, fc.array(operation, { minLength: 1, maxLength: 3 }), (before, operations) => {
      const outcome = applied(before, operations)
      if (outcome === null) return
      const states = { before, after: outcome.state }
      const expected = formats.verbose(undefined as never, states)
      expect(verboseDelta(outcome.changes, () => states)).toEqual(expected)
      if (Object.keys(expected).length > 0) told += 1
    }),
    { numRuns: runs },
  )
  expect(told).toBeGreaterThan(runs / 20)
})

test('a state is frozen as a whole by freezing what lies on the way to the changes', () => {
  fc.assert(
    fc.property(state, fc.array(operation, { minLength: 1, maxLength: 3 }), (before, operations) => {
      const outcome = applied(frozen(before), operations)
      if (outcome === null) return
      expect(frozenAs(before, outcome.state, outcome.changes)).toBe(outcome.state)
      expect(isFrozen(outcome.state)).toBe(true)
    }),
    { numRuns: runs },
  )
})

test('what a change has put where another one of the commit leads through is frozen as a whole', () => {
  const before = frozen({ a: { x: 1 } })
  const { state: after, changes } = applyOperations<JsonObject>(before, [
    { type: 'remove', path: ['a', 'x'] },
    { type: 'set', path: ['a'], value: 1 },
    { type: 'set', path: ['a'], value: { b: { c: {} } } },
  ])
  expect(isFrozen(frozenAs(before, after, changes))).toBe(true)
})

test('after a state that is not frozen, none of the next one is', () => {
  const before = { a: { b: {} }, c: { d: {} } }
  const { state: after, changes } = applyOperations(before as JsonObject, [{ type: 'set', path: ['a', 'b'], value: 1 }])
  expect([frozenAs(before, after, changes), Object.isFrozen(after), Object.isFrozen(after['a'])]).toEqual([after, false, false])
})

test('parts that the changes do not lead to are not looked at', () => {
  const aside = { seen: 0 }
  const before = { a: 1, aside: new Proxy(aside, { get: () => (aside.seen += 1), ownKeys: () => [String((aside.seen += 1))] }) }
  const after = { ...before, a: 2 }
  const changes = [{ path: ['a'], action: 'modified' as const, value: 2, oldValue: 1 }]
  expect(verboseDelta(changes, () => ({ before, after }))).toEqual({ a: { action: 'modified', value: 2, oldValue: 1 } })
  expect(aside.seen).toBe(0)
})
