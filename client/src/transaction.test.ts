import { applyOperations } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { expect, test } from 'vitest'
import type { Transaction } from './handle-types.ts'
import { runTransaction } from './transaction.ts'

interface State {
  votes: number
  items: { id: string; n: number }[]
  labels: string[]
  meta: { a: number; b?: number }
}
const state: State = {
  votes: 1,
  items: [
    { id: 'x', n: 1 },
    { id: 'y', n: 2 },
  ],
  labels: ['p', 'q'],
  meta: { a: 1 },
}
const run = <R>(fn: (tx: Transaction<State>) => R): ReturnType<typeof runTransaction<R>> =>
  runTransaction(fn as never, { state: state as never, version: 7 }, 'id', { owner: state, contextId: 'c' })

test('what is read becomes a test, what is written an operation, in order', () => {
  const { operations, result } = run((tx) => {
    const votes = tx.at('votes').get()!
    tx.at('votes').set(votes + 1)
    tx.at('items', { id: 'y' }, 'n').increment(5)
    return votes
  })
  expect(result).toBe(1)
  expect(operations).toEqual([
    { type: 'test', path: ['votes'], value: 1 },
    { type: 'set', path: ['votes'], value: 2 },
    { type: 'increment', path: ['items', { id: 'y' }, 'n'], by: 5 },
  ])
})

test('a read after an own write sees it, and its test holds there', () => {
  const { operations } = run((tx) => {
    tx.at('votes').increment()
    expect(tx.at('votes').get()).toBe(2)
    tx.at('votes').set(tx.at('votes').get()! * 10)
  })
  expect(applyOperations(state, operations).state.votes).toBe(20)
  expect(() => applyOperations({ ...state, votes: 2 }, operations)).toThrow(expect.objectContaining({ code: 'conflict' }))
})

test('the same read twice is tested once', () => {
  const { operations } = run((tx) => {
    tx.at('votes').get()
    tx.at('votes').get()
    tx.at('votes').increment()
  })
  expect(operations.map(({ type }) => type)).toEqual(['test', 'increment'])
})

test('a read after a write is tested again: the write may have brought what was not', () => {
  const { operations } = run((tx) => {
    tx.at('items').get()
    tx.at('items').append({ id: 'z', n: 1 })
    tx.at('items').get()
  })
  expect(operations.map(({ type }) => type)).toEqual(['test', 'insert', 'test'])
})

test('that nothing is there is tested by what could hold it', () => {
  const { operations } = run((tx) => {
    expect(tx.at('meta', 'b').get()).toBeUndefined()
    tx.at('meta', 'b').set(1)
  })
  expect(operations[0]).toEqual({ type: 'test', path: ['meta'], value: { a: 1 } })
  expect(() => applyOperations({ ...state, meta: { a: 1, b: 0 } }, operations)).toThrow(expect.objectContaining({ code: 'conflict' }))
})

test('items are read by id where they have one, else by their very position', () => {
  const { operations } = run((tx) => {
    tx.at('items', 0, 'n').get()
    tx.at('labels', 1).get()
    tx.update({ votes: 3 })
  })
  expect(operations.slice(0, 2)).toEqual([
    { type: 'test', path: ['items', { id: 'x' }, 'n'], value: 1 },
    { type: 'test', path: ['labels', 1], value: 'q' },
  ])
})

test('reading all tests all; recipes and patches work on what was written before', () => {
  const { operations, result } = run((tx) => {
    tx.update((draft) => draft.votes++)
    tx.update({ meta: { b: 2 } })
    tx.set({ ...tx.get(), votes: 9 })
    return tx.version
  })
  expect(result).toBe(7)
  expect(applyOperations(state, operations).state).toEqual({ ...state, votes: 9, meta: { a: 1, b: 2 } })
})

test('nothing written is nothing to commit', () => {
  expect(run((tx) => tx.at('votes').get())).toEqual({ operations: [], result: 1 })
})

test('what the function throws aborts it, with the cause', () => {
  const cause = new Error('no')
  const fail = (): never => {
    throw cause
  }
  expect(() => run(fail)).toThrow(expect.objectContaining({ code: 'aborted', cause }))
})

test('a write that does not apply is a conflict', () => {
  expect(() => run((tx) => tx.at('items', { id: 'gone' }, 'n').set(1))).toThrow(expect.objectContaining({ code: 'conflict' }))
})

test('a function that is asynchronous, or uses the transaction later, is refused', () => {
  let late: Transaction<State>
  expect(() => run(async () => {})).toThrow(TypeError)
  run((tx) => {
    late = tx
  })
  expect(() => late.get()).toThrow(TypeError)
  expect(() => late.at('votes').increment()).toThrow(TypeError)
})

test('values are copied when they are written', () => {
  const mine: JsonObject = { id: 'z', n: 1 }
  const { operations } = run((tx) => tx.at('items').append(mine as never))
  mine['n'] = 2
  expect(operations[0]).toMatchObject({ values: [{ id: 'z', n: 1 }] })
})
