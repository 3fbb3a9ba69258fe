import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { equal } from './equal.ts'
import { jsonLength } from './json-length.ts'
import { shareIdentity } from './share-identity.ts'
import { anyPair, anyValue, runs } from './testing/arbitraries.ts'
import { canonical, clone } from './testing/oracle.ts'
import { untouchable } from './testing/untouchable.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

describe('sharing identity', () => {
  test('gives a value that equals the new one, the old one itself when nothing changed, and changes neither', () => {
    fc.assert(
      fc.property(anyPair, ([previous, next]) => {
        const texts = [canonical(previous), canonical(next)]
        const shared = shareIdentity(previous, next)
        expect(canonical(shared)).toBe(texts[1])
        expect(shared === previous).toBe(texts[0] === texts[1])
        expect([canonical(previous), canonical(next)]).toEqual(texts)
        expect(shareIdentity(previous, clone(previous))).toBe(previous)
      }),
      runs,
    )
  })

  test('finds items by id wherever they moved, and values beside where they were', () => {
    const previous = {
      list: [
        { id: 'a', x: [1] },
        { id: 'b', x: [2] },
      ],
      rows: [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      other: { a: 1 },
    }
    const next = shareIdentity(previous, {
      list: [
        { id: 'b', x: [2] },
        { id: 'a', x: [1], y: 1 },
      ],
      rows: [[0], [1, 2], [3, 4], [5, 6]],
      other: { a: 1 },
    })
    expect(next.list[0]).toBe(previous.list[1])
    expect(next.list[1]!.x).toBe(previous.list[0]!.x)
    expect(next.rows.slice(1).every((row, index) => row === previous.rows[index])).toBe(true)
    expect(next.other).toBe(previous.other)
    const a = { rows: [[1], [2], [3], [4]] }
    const spread = shareIdentity(a, { rows: [[0], [1], [9], [2], [3], [8], [4]] })
    expect([1, 3, 4, 6].map((index) => a.rows.indexOf(spread.rows[index]!))).toEqual([0, 1, 2, 3])
    const fewer = shareIdentity(previous, {
      ...clone(previous),
      rows: [
        [3, 4],
        [5, 6],
      ],
    })
    expect(fewer.rows.every((row, index) => row === previous.rows[index + 1])).toBe(true)
  })

  test('equal items that have changed places are no change', () => {
    const previous = [[], [[]], []]
    expect(shareIdentity(previous, [previous[2]!, [[]], []])).toBe(previous)
    const twice = [{ n: 1 }, { n: 1 }]
    expect(shareIdentity({ twice }, { twice: [twice[1], { n: 1 }] }).twice).toBe(twice)
  })

  test('knows items by the key that is said', () => {
    const previous = [
      { key: 'a', x: {} },
      { key: 'b', x: {} },
    ]
    const next = shareIdentity(previous, [{ key: 'b', x: {}, y: 1 }], { itemKey: 'key' })
    expect(next[0]!.x).toBe(previous[1]!.x)
  })

  test('does not look into what is the same reference', () => {
    const part = untouchable({})
    const previous = { part, n: 1 }
    const next = shareIdentity(previous, { part, n: 2 })
    expect([next.part === part, next.n]).toEqual([true, 2])
    expect(shareIdentity(previous, { part, n: 1 }) === previous).toBe(true)
  })
})

describe('equality', () => {
  test('is that of the JSON, whatever the order of keys', () => {
    fc.assert(
      fc.property(anyValue, anyValue, (a, b) => {
        expect(equal(a, b)).toBe(canonical(a) === canonical(b))
        expect(equal(a, clone(a))).toBe(true)
      }),
      runs,
    )
    expect(equal({ a: 1, b: 2 }, { b: 2, a: 1 })).toBe(true)
    expect(equal({ a: 1 }, JSON.parse('{"toString":1}'))).toBe(false)
    expect(equal([], {} as never)).toBe(false)
    expect(equal(0, -0)).toBe(true)
  })
})

describe('the length as JSON', () => {
  test('is that of the text', () => {
    fc.assert(
      fc.property(anyValue, fc.nat(60), (value, enough) => {
        const { length } = JSON.stringify(value)
        expect(jsonLength(value)).toBe(length)
        // Counting ends early, but never on the wrong side.
        expect(jsonLength(value, enough) > enough).toBe(length > enough)
      }),
      runs,
    )
  })

  test('is counted no further than need be', () => {
    expect(jsonLength(['x'.repeat(100), untouchable([])], 50)).toBeGreaterThan(50)
    expect(jsonLength({ a: 'x'.repeat(100), b: untouchable({}) }, 50)).toBeGreaterThan(50)
  })
})
