import { applyOperations } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frozen } from '../json-copy.ts'
import { BatchStates, ContextInBatch, hasState } from './batch-states.ts'
import { absentAt, serverAuthor } from './known-context.ts'

const set = (path: readonly (string | number)[], value: number | object): Operation[] => [{ type: 'set', path, value: value as JsonObject }]
const isFrozen = (part: unknown): boolean =>
  typeof part !== 'object' || part === null || (Object.isFrozen(part) && Object.values(part).every(isFrozen))

/** What a call comes to; an error is an answer too. */
function outcomeOf<R>(call: () => R): R | Error {
  try {
    return call()
  } catch (error) {
    return error as Error
  }
}

const step = fc.oneof(
  fc.record({ path: fc.constantFrom(['a'], ['a', 'b'], ['a', 'c', 'd'], ['list', 0], ['list', 1, 'n']), value: fc.nat(3) }),
  fc.record({ path: fc.constantFrom(['a'], ['a', 'c'], ['list', 1]), value: fc.constantFrom({}, { d: 1 }, { b: 1, c: { d: 2 } }) }),
)

test('the states of a batch are those of its commits one after another, in whatever order and however often they are read', () => {
  let kept = 0
  fc.assert(
    fc.property(
      fc.array(fc.tuple(step, fc.boolean()), { maxLength: 8 }),
      fc.array(fc.nat(8)),
      fc.boolean(),
      (steps, reads, isFrozenFirst) => {
        const first: JsonObject = { a: { b: 0, c: { d: 0 } }, list: [0, { n: 0 }, 2] }
        const states = new BatchStates(isFrozenFirst ? frozen(first) : first, 'id')
        const expected = [structuredClone(first)]
        for (const [{ path, value }, keeps] of steps) {
          const before = expected.at(-1)!
          const after = outcomeOf(() => applyOperations(before, set(path, value)).state)
          const changes = outcomeOf(() => states.apply(set(path, value)))
          // Asked for before it is decided, the last state is still the one that was.
          const asked = reads.includes(states.last) ? states.at(states.last) : before
          expect([changes instanceof Error, asked]).toEqual([after instanceof Error, before])
          if (after instanceof Error) {
            states.drop()
            continue
          }
          if (keeps) {
            states.keep()
            expected.push(after)
            kept += 1
          } else states.drop()
        }
        expect(states.last).toBe(expected.length - 1)
        const seen = reads.filter((index) => index <= states.last).map((index) => [index, states.at(index)!] as const)
        for (const [index, state] of [...seen, [states.last, states.at(states.last)!] as const]) {
          expect(state).toEqual(expected[index])
          expect(states.at(index)).toBe(state)
          expect(isFrozen(state) || !isFrozenFirst).toBe(true)
        }
      },
    ),
    { numRuns: 3_000 },
  )
  expect(kept).toBeGreaterThan(3_000)
})

test('a state between two commits is made when it is read, and not before', () => {
  const states = new BatchStates({ n: 0 }, 'id')
  const contexts = [1, 2, 3].map((n) => {
    states.apply(set(['n'], n))
    states.keep()
    return new ContextInBatch(states, absentAt({ incarnation: 'i', version: n, revision: `r${n}` }, 0, serverAuthor))
  })
  expect(contexts.map(hasState)).toEqual([false, false, false])
  expect(contexts[1]!.state).toEqual({ n: 2 })
  expect(contexts.map(hasState)).toEqual([true, true, false])
  expect(contexts.map(({ state }) => state)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
})

test('what lies on the way to the changes of a batch is copied once, and what the batch began on stays as it was', () => {
  const first = frozen({ wide: Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`k${index}`, { n: 0 }])) })
  const states = new BatchStates(first, 'id')
  for (let index = 0; index < 50; index += 1) {
    states.apply(set(['wide', `k${index}`, 'n'], 1))
    states.keep()
  }
  const last = states.at(states.last) as typeof first
  expect(Object.values(last.wide).every(({ n }) => n === 1)).toBe(true)
  expect(Object.values(first.wide).every(({ n }) => n === 0)).toBe(true)
})

test('a batch that begins on nothing goes on from what creates the context', () => {
  const states = new BatchStates(null, 'id')
  expect([states.absent, states.at(0)]).toEqual([true, null])
  states.create({ n: 1 }, [{ path: ['n'], action: 'added', value: 1 }])
  states.apply(set(['n'], 2))
  states.keep()
  expect([states.absent, states.at(2), states.at(1), states.at(0)]).toEqual([false, { n: 2 }, { n: 1 }, null])
})

test('a commit that fails half way leaves the batch as it was', () => {
  const states = new BatchStates({ items: [{ id: 'a', x: 1 }, { id: 'b' }] }, 'id')
  states.apply(set(['items', 0, 'x'], 2))
  states.keep()
  const half: Operation = { type: 'merge', path: ['items', { id: 'a' }], value: { x: 3, id: 'b' } }
  expect(() => states.apply([half])).toThrow('ids are used once')
  states.drop()
  expect(states.at(states.last)).toEqual({ items: [{ id: 'a', x: 2 }, { id: 'b' }] })
})

test('a state that replaces the whole has its keys in the order in which they were handed in', () => {
  const states = new BatchStates({ a: 1, b: 1 }, 'id')
  states.apply([{ type: 'set', path: [], value: { c: 2, b: 2, a: 2 } }])
  states.keep()
  states.apply(set(['z'], 3))
  states.keep()
  expect([1, 2].map((index) => JSON.stringify(states.at(index)))).toEqual(['{"c":2,"b":2,"a":2}', '{"c":2,"b":2,"a":2,"z":3}'])
})
