import { expect, test } from 'vitest'
import { isTimed, noCounts } from './counters.ts'

test('of many messages one in a millisecond is timed, of few each; none where nobody wants to know', () => {
  const counts = noCounts(true)
  expect([10, 10.4, 10.9, 11, 11.5, 30].map((came) => isTimed(counts, came))).toEqual([true, false, false, true, false, true])
  expect(isTimed(noCounts(), 10)).toBe(false)
})
