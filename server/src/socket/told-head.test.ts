import { revisionOf } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { ToldHead } from './told-head.ts'
import type { FrameStart } from './told-head.ts'

const at = (version: number, revision: string, incarnation = 'life'): Head => ({ incarnation, version, revision })
const frame = (version: number, revision: string, batch: string, incarnation = 'life'): FrameStart => [
  'c',
  incarnation,
  version,
  revision,
  batch,
]

test('the beacon is silent about the head that the first member got as its answer', () => {
  const told = new ToldHead()
  told.synced(at(3, 'r3'))
  expect(told.shouldTell(at(3, 'r3'))).toBe(false)
  expect(told.shouldTell(at(4, 'r4'))).toBe(true)
})

test('the beacon is silent after deltas that lead from what was told to the head, whatever their number', () => {
  const told = new ToldHead()
  told.synced(at(3, 'r3'))
  told.delta(frame(3, 'r3', 'batch'))
  expect(told.shouldTell(at(4, revisionOf('batch', 0)))).toBe(false)
  expect(told.shouldTell(at(7, revisionOf('batch', 3)))).toBe(false)
  told.delta(frame(7, revisionOf('batch', 3), 'next'))
  expect(told.shouldTell(at(8, 'next'))).toBe(false)
})

test('a sync answer with another head makes the beacon speak', () => {
  const told = new ToldHead()
  told.synced(at(3, 'r3'))
  told.synced(at(4, 'r4'))
  expect(told.shouldTell(at(4, 'r4'))).toBe(true)
  expect(told.shouldTell(at(3, 'r3'))).toBe(true)
})

test('a delta whose base is not what was told makes the beacon speak, until it has spoken', () => {
  const told = new ToldHead()
  told.synced(at(3, 'r3'))
  told.delta(frame(4, 'r4', 'batch'))
  expect(told.shouldTell(at(5, 'batch'))).toBe(true)
  told.delta(frame(5, 'batch', 'next'))
  expect(told.shouldTell(at(6, 'next'))).toBe(true)
  told.head(at(6, 'next'))
  expect(told.shouldTell(at(6, 'next'))).toBe(false)
  told.delta(frame(6, 'next', 'third'))
  expect(told.shouldTell(at(7, 'third'))).toBe(false)
})

test('the same version of another incarnation, or with another revision, is told', () => {
  const told = new ToldHead()
  told.synced(at(3, 'r3'))
  expect(told.shouldTell(at(3, 'other'))).toBe(true)
  expect(told.shouldTell(at(3, 'r3', 'second life'))).toBe(true)
})

test('the delta that creates a context follows on its absent head', () => {
  const told = new ToldHead()
  told.synced(at(0, 'deleted', ''))
  told.delta(frame(0, 'deleted', 'batch', 'second life'))
  expect(told.shouldTell(at(1, 'batch', 'second life'))).toBe(false)
})

test('before anything was told, a delta is no ground to be silent', () => {
  const told = new ToldHead()
  told.delta(frame(3, 'r3', 'batch'))
  expect(told.shouldTell(at(4, 'batch'))).toBe(true)
  told.synced(at(4, 'batch'))
  expect(told.shouldTell(at(4, 'batch'))).toBe(true)
})

test('a room covers the versions that it was told, and no later ones', () => {
  const told = new ToldHead()
  expect(told.covers(at(1, 'r1'))).toBe(false)
  told.synced(at(3, 'r3'))
  expect([told.covers(at(2, 'r2')), told.covers(at(3, 'r3')), told.covers(at(4, 'batch'))]).toEqual([true, true, false])
  told.delta(frame(3, 'r3', 'batch'))
  expect([told.covers(at(3, 'r3')), told.covers(at(4, 'batch')), told.covers(at(5, revisionOf('batch', 1)))]).toEqual([true, true, true])
  expect(told.covers(at(4, 'other'))).toBe(false)
  expect(told.covers(at(2, 'r2', 'second life'))).toBe(false)
  told.doubt()
  expect(told.covers(at(2, 'r2'))).toBe(false)
})
