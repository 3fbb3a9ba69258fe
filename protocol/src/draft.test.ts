import { expect, test } from 'vitest'
import { Draft } from './draft.ts'
import type { JsonObject } from './json.ts'

test('a draft copies a container once, however often it is changed, and leaves the state alone', () => {
  const state = { a: { b: { n: 1 } }, c: {} }
  const draft = new Draft(state)
  const copy = draft.writable(['a', 'b'], 2) as JsonObject
  copy['n'] = 2
  expect(draft.writable(['a', 'b'], 2)).toBe(copy)
  expect(draft.state).toEqual({ a: { b: { n: 2 } }, c: {} })
  expect(draft.state['c']).toBe(state.c)
  expect(state.a.b.n).toBe(1)
})

test('what a draft has handed out is not changed any more, and what lies beside it is not copied again', () => {
  const draft = new Draft({ a: { b: { n: 1 } }, c: { n: 1 } })
  const inner = draft.writable(['a', 'b'], 2) as JsonObject
  const beside = draft.writable(['c'], 1)
  const handedOut = draft.state['a']
  draft.release(handedOut)
  ;(draft.writable(['a', 'b'], 2) as JsonObject)['n'] = 2
  expect(handedOut).toEqual({ b: { n: 1 } })
  expect(inner).toEqual({ n: 1 })
  expect(draft.writable(['c'], 1)).toBe(beside)
})
