import type { Head, Outcome } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { OpenContext } from './attached-session.ts'
import { ToldHead } from './told-head.ts'

const at = (version: number): Head => ({ incarnation: 'life', version, revision: `r${version}` })
const untold = (seq: number) => ({ seq, epoch: 0, head: at(seq), outcome: { type: 'applied', head: at(seq) } satisfies Outcome })

test('a verdict that was left to a delta is told when the session leaves before the delta has come by', () => {
  const [open, told] = [new OpenContext(), new ToldHead()]
  told.synced(at(1))
  for (const seq of [1, 2, 3]) open.leaveToDelta(untold(seq), told)
  expect(open.takeUntold(told)).toEqual([untold(2), untold(3)])
  expect(open.takeUntold(told)).toEqual([])
})

test('a verdict whose delta has come by is not told again', () => {
  const [open, told] = [new OpenContext(), new ToldHead()]
  told.synced(at(1))
  open.leaveToDelta(untold(2), told)
  told.delta(['c', 'life', 1, 'r1', 'r2'])
  expect(open.takeUntold(told)).toEqual([])
})

test('where nobody knows what the room was told, the verdict is told', () => {
  const open = new OpenContext()
  open.leaveToDelta(untold(1), undefined)
  expect(open.takeUntold(undefined)).toEqual([untold(1)])
})
