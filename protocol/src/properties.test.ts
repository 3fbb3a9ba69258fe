import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import { StateDraft, applyOperations } from './apply-operations.ts'
import type { Change } from './delta.ts'
import { diff } from './diff.ts'
import { diffToOperations } from './diff-to-operations.ts'
import { isContextdError } from './errors.ts'
import { fromJsonPatch } from './json-patch.ts'
import { formats } from './formats/formats.ts'
import { invert } from './invert.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { packChanges, packLoggedChanges, unpackChanges } from './pack.ts'
import { anyOperation, anyPair, anyState, board, runs } from './testing/arbitraries.ts'
import { applyChangesPlainly, applyOperationsPlainly, canonical, clone } from './testing/oracle.ts'
import type { Operation } from './operation.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

/** What lies in a value by name: keys of an object, ids of a keyed list. Items of other lists have no name. */
function named(value: JsonValue): Map<string, JsonValue> {
  if (typeof value !== 'object' || value === null) return new Map()
  if (!Array.isArray(value)) return new Map(Object.entries(value))
  const items = value.map((item): [string, JsonValue] => [JSON.stringify((item as JsonObject | null)?.['id'] ?? null), item])
  const isKeyed = items.every(([id]) => id.startsWith('"')) && new Set(items.map(([id]) => id)).size === items.length
  return new Map(isKeyed ? items : [])
}

/** Each part of `after` that equals what has the same name in `before` must be the same reference. */
function expectShared(before: JsonValue, after: JsonValue, path = ''): void {
  if (before === after || typeof after !== 'object' || after === null) return
  if (canonical(before) === canonical(after)) throw new Error(`the part at ${path} did not change, and is another reference`)
  if (Array.isArray(before) !== Array.isArray(after)) return
  const old = named(before)
  for (const [name, value] of named(after)) if (old.has(name)) expectShared(old.get(name)!, value, `${path}/${name}`)
}

const freeze = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) Object.values(Object.freeze(value)).forEach(freeze)
  return value
}

describe('changes', () => {
  test('applying the diff of two states to the first gives the second, here and by the book', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const changes = freeze(diff(freeze(before), freeze(after)))
        expect(canonical(applyChanges(before, changes))).toBe(canonical(after))
        expect(canonical(applyChangesPlainly(before, changes))).toBe(canonical(after))
        expect(changes.length === 0).toBe(canonical(before) === canonical(after))
      }),
      runs,
    )
  })

  test('applying changes and then their inverse gives the state before', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const changes = diff(before, after)
        const back = applyChanges(applyChanges(before, changes), invert(changes))
        expect(canonical(back)).toBe(canonical(before))
        expect(invert(invert(changes))).toEqual(changes)
      }),
      runs,
    )
  })

  test('what did not change keeps its identity, and the whole state does when nothing changed', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const next = applyChanges(freeze(before), clone(diff(before, after)))
        expectShared(before, next)
        expect(next === before).toBe(canonical(before) === canonical(after))
      }),
      runs,
    )
  })

  test('changes that undo each other give the same reference back', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const changes = diff(before, after)
        expect(applyChanges(before, clone([...changes, ...invert(changes)]))).toBe(before)
      }),
      { numRuns: 3_000 },
    )
  })

  test('changes survive the wire and the log', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const changes = diff(before, after)
        expect(unpackChanges(clone(packLoggedChanges(changes)))).toEqual(changes)
        const told = unpackChanges(clone(packChanges(changes)))
        expect(told.every((change) => !('oldValue' in change))).toBe(true)
        expect(canonical(applyChanges(before, told))).toBe(canonical(after))
      }),
      { numRuns: 3_000 },
    )
  })

  test('changes to a list are never longer than the list in their place, with old values and without', () => {
    fc.assert(
      fc.property(anyPair, ([{ ...before }, { ...after }]) => {
        for (const key of Object.keys(before)) {
          const [old, now] = [before[key], after[key]]
          if (!Array.isArray(old) || !Array.isArray(now)) continue
          const changes = diff({ [key]: old }, { [key]: now })
          const whole: Change[] = [{ path: [key], action: 'modified', value: now, oldValue: old }]
          expect(JSON.stringify(changes).length).toBeLessThanOrEqual(JSON.stringify(whole).length)
          expect(JSON.stringify(packChanges(changes)).length).toBeLessThanOrEqual(JSON.stringify(packChanges(whole)).length)
        }
      }),
      runs,
    )
  })
})

/** The state that operations lead to, their changes checked on the way, or the code of their refusal. */
function answerOf(state: JsonObject, operations: readonly Operation[]): JsonObject | string {
  let answer: ReturnType<typeof applyOperations<JsonObject>>
  try {
    answer = applyOperations(state, operations)
  } catch (error) {
    if (!isContextdError(error)) throw error
    return error.code
  }
  const { state: next, changes } = answer
  expect(canonical(applyChangesPlainly(state, changes))).toBe(canonical(next))
  expect(canonical(applyChanges(state, clone(changes)))).toBe(canonical(next))
  expect(canonical(applyChanges(next, invert(changes)))).toBe(canonical(state))
  expectShared(state, next)
  expect(changes.length === 0).toBe(next === state)
  expect(next === state).toBe(canonical(next) === canonical(state))
  return next
}

/** What a call comes to; what refuses it is an answer too. */
function outcomeOf<R>(call: () => R): R | Error {
  try {
    return call()
  } catch (error) {
    if (isContextdError(error)) return error
    throw error
  }
}

describe('operations', () => {
  test('operations on a board do what they do by the book, and are refused with the same code', () => {
    const met = new Map<string, number>()
    fc.assert(
      fc.property(board, fc.array(anyOperation, { minLength: 1, maxLength: 6 }), (state, wanted) => {
        // Those that apply one after the other, and then one of any kind.
        const operations: Operation[] = []
        for (const operation of wanted)
          if (typeof applyOperationsPlainly(state, [...operations, operation]) !== 'string') operations.push(operation)
        if (operations.at(-1) !== wanted.at(-1)) operations.push(wanted.at(-1)!)
        const expected = applyOperationsPlainly(state, operations)
        const key = `${wanted.at(-1)!.type} ${typeof expected === 'string' ? expected : 'applied'}`
        met.set(key, (met.get(key) ?? 0) + 1)
        expect(canonical(answerOf(freeze(state), operations))).toBe(canonical(expected))
      }),
      runs,
    )
    // The property means something only if each kind was applied, and refused, often enough.
    for (const type of ['set', 'merge', 'remove', 'increment', 'test', 'insert', 'move']) {
      for (const outcome of ['applied', 'conflict', 'invalid_operation'])
        expect(met.get(`${type} ${outcome}`), `${type} ${outcome}`).toBeGreaterThan(10)
    }
  })

  test('operations computed from two states lead from the first to the second', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const operations = diffToOperations(freeze(before), freeze(after))
        const { state, changes } = applyOperations(before, operations)
        expect(canonical(state)).toBe(canonical(after))
        expect(canonical(applyOperationsPlainly(before, operations))).toBe(canonical(after))
        expect(canonical(applyChanges(before, clone(changes)))).toBe(canonical(after))
        expect(operations.length === 0).toBe(canonical(before) === canonical(after))
      }),
      runs,
    )
  })

  test('the values of operations and the old values of changes are never changed by later operations', () => {
    fc.assert(
      fc.property(board, fc.array(anyOperation, { minLength: 2, maxLength: 6 }), (state, operations) => {
        const applied: Operation[] = []
        for (const operation of operations)
          if (typeof applyOperationsPlainly(state, [...applied, operation]) !== 'string') applied.push(operation)
        freeze(state)
        freeze(applied)
        const { state: next, changes } = applyOperations(state, applied)
        let plain = state
        for (const change of changes) plain = applyChangesPlainly(plain, [change])
        expect(canonical(plain)).toBe(canonical(next))
        expect(canonical(applyChangesPlainly(next, invert(changes)))).toBe(canonical(state))
      }),
      { numRuns: 3_000 },
    )
  })

  test('a draft takes commits as each state would, one after another, and leaves alone what was released and told before', () => {
    let refused = 0
    const commits = fc.array(fc.tuple(fc.array(anyOperation, { minLength: 1, maxLength: 2 }), fc.boolean()), { minLength: 2, maxLength: 8 })
    fc.assert(
      fc.property(board, commits, (first, all) => {
        let draft = new StateDraft(freeze(first))
        let state: JsonObject = first
        const told: [JsonValue, string][] = []
        for (const [operations, releases] of all) {
          const expected = outcomeOf(() => applyOperations(state, operations))
          const found = outcomeOf(() => draft.apply(clone(operations)))
          expect(found).toEqual(expected instanceof Error ? expected : expected.changes)
          if (expected instanceof Error) {
            refused += 1
            if (draft.isSpoilt) draft = new StateDraft(state)
            continue
          }
          told.push([found as unknown as JsonValue, JSON.stringify(found)])
          state = expected.state
          if (!releases) continue
          told.push([draft.release(), JSON.stringify(state)])
        }
        expect(JSON.stringify(draft.release())).toBe(JSON.stringify(state))
        for (const [value, text] of told) expect(JSON.stringify(value)).toBe(text)
      }),
      runs,
    )
    expect(refused).toBeGreaterThan(runs.numRuns / 10)
  })

  test('a JSON Patch made from changes and translated to operations leads to the same state', () => {
    fc.assert(
      fc.property(anyPair, ([before, after]) => {
        const changes = diff(before, after)
        const delta = {
          contextId: 'c',
          baseVersion: 1,
          version: 2,
          revision: 'r',
          committedAt: 0,
          author: { userId: null, actor: 'a' },
          changes,
        }
        const patch = formats.jsonPatch(delta, { before, after })
        try {
          expect(canonical(applyOperations(before, fromJsonPatch(before, patch)).state)).toBe(canonical(after))
        } catch (error) {
          // On the way a list may have had an id twice, which no operation may bring about.
          if (!isContextdError(error, 'invalid_operation') || !error.message.includes('ids are used once')) throw error
        }
      }),
      { numRuns: 3_000 },
    )
  })

  test('nothing is computed from a state and itself', () => {
    fc.assert(
      fc.property(anyState, (state) => {
        expect(diff(state, clone(state))).toEqual([])
        expect(diffToOperations(state, clone(state))).toEqual([])
      }),
      { numRuns: 3_000 },
    )
  })
})
