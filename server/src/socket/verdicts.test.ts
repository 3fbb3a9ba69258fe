import { ContextdError } from '@contextd/protocol'
import { expect, test } from 'vitest'
import type { Answer } from '../commits/commit-queue.ts'
import { heldBy, isToldByDelta, outcomeOf } from './verdicts.ts'

const head = { incarnation: 'life', version: 4, revision: 'r4' }
const fresh = { type: 'verdict', verdict: { type: 'applied', head }, decided: {} } as unknown as Answer
const repeat: Answer = { type: 'verdict', verdict: { type: 'applied', head }, decided: null }
const write = { remove: false }

test('P16: the delta is the verdict for a session that has joined, and for no other', () => {
  expect(isToldByDelta(fresh, write, true)).toBe(true)
  expect(isToldByDelta(fresh, write, false)).toBe(false)
})

test('P4: a repeat is told its verdict, since its delta was before', () => {
  expect(isToldByDelta(repeat, write, true)).toBe(false)
  expect(outcomeOf(repeat)).toEqual({ type: 'applied', head })
})

test('a delete, a no-op and a refusal have no delta and are told', () => {
  expect(isToldByDelta(fresh, { remove: true }, true)).toBe(false)
  expect(isToldByDelta({ ...fresh, verdict: { type: 'nothing', head } } as Answer, write, true)).toBe(false)
  expect(isToldByDelta({ ...fresh, verdict: { type: 'refused', code: 'conflict', message: 'no' } } as Answer, write, true)).toBe(false)
})

test.each(['gap', 'fenced', 'expired'] as const)('P5: %s is told as it is', (type) => {
  expect(outcomeOf({ type })).toEqual({ type })
})

test('P15: a held outcome carries a held code, and nothing of what is inside', () => {
  const busy = new ContextdError('rate_limited', 'later', { details: { retryAfterMs: 20 } })
  expect(outcomeOf({ type: 'held', error: busy })).toEqual({
    type: 'held',
    code: 'rate_limited',
    message: 'later',
    details: { retryAfterMs: 20 },
  })
  expect(heldBy(new Error('password=secret at line 3'))).toMatchObject({ type: 'held', code: 'internal' })
  expect(JSON.stringify(heldBy(new Error('password=secret')))).not.toContain('secret')
  expect(heldBy(new ContextdError('forbidden', 'no'))).toMatchObject({ type: 'held', code: 'internal' })
})

test('P6: an outcome that nobody knows is held', () => {
  expect(outcomeOf({ type: 'unknown' })).toMatchObject({ type: 'held', code: 'timeout' })
})
