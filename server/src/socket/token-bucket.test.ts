import { expect, test } from 'vitest'
import { TokenBucket } from './token-bucket.ts'

test('a burst of five seconds’ worth goes through, and one more waits', () => {
  const bucket = new TokenBucket(10, 0)
  for (let count = 0; count < 50; count += 1) expect(bucket.take(1, 0)).toBe(0)
  expect(bucket.take(1, 0)).toBe(100)
  expect(bucket.take(1, 99)).toBe(1)
  expect(bucket.take(1, 100)).toBe(0)
})

test('a refusal takes nothing', () => {
  const bucket = new TokenBucket(10, 0)
  expect(bucket.take(48, 0)).toBe(0)
  expect(bucket.take(3, 0)).toBe(100)
  expect(bucket.take(2, 0)).toBe(0)
})

test('after a long pause no more than the burst is there', () => {
  const bucket = new TokenBucket(10, 0)
  expect(bucket.take(50, 0)).toBe(0)
  expect(bucket.take(50, 1_000_000)).toBe(0)
  expect(bucket.take(1, 1_000_000)).toBe(100)
})

test('what is larger than the burst goes through a full bucket, and the next one pays for it', () => {
  const bucket = new TokenBucket(1, 0)
  expect(bucket.take(64, 0)).toBe(0)
  expect(bucket.take(1, 0)).toBe(60_000)
})

test('0 is no limit', () => {
  const bucket = new TokenBucket(0, 0)
  for (let count = 0; count < 10_000; count += 1) expect(bucket.take(64, 0)).toBe(0)
})
