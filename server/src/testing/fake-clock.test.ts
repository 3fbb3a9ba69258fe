import { expect, test } from 'vitest'
import { FakeClock } from './fake-clock.ts'

test('a fake clock stands still until it is moved', () => {
  const clock = new FakeClock(1_000)
  expect([clock.now(), clock.now()]).toEqual([1_000, 1_000])
  clock.advance(500)
  expect(clock.now()).toBe(1_500)
  clock.advance(-700)
  expect(clock.now()).toBe(800)
  clock.set(5)
  expect(clock.now()).toBe(5)
})

test('a fake clock takes no time that is none', () => {
  const clock = new FakeClock(10)
  for (const time of [Number.NaN, 1.5, -1, Number.POSITIVE_INFINITY]) expect(() => clock.set(time)).toThrow(/whole number/)
  expect(() => clock.advance(-11)).toThrow(TypeError)
  expect(clock.now()).toBe(10)
})
