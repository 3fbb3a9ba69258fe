import countries from 'world-countries/countries.json' with { type: 'json' }
import { describe, expect, test, vi } from 'vitest'
import { applyChanges } from './apply-changes.ts'
import { applyOperations } from './apply-operations.ts'
import { diff } from './diff.ts'
import { diffToOperations } from './diff-to-operations.ts'
import { invert } from './invert.ts'
import type { JsonObject } from './json.ts'
import { packChanges } from './pack.ts'
import { clone } from './testing/oracle.ts'

// Ten thousand runs, or deep and long values: on a machine that does other things too they take their time.
vi.setConfig({ testTimeout: 120_000 })

/** A document that somebody really keeps, twice, so that it makes a megabyte; the codes of the countries are its ids. */
const before = { countries, edition: clone(countries) } as unknown as { countries: (JsonObject & { cca3: string; area: number })[] }
const edited = clone(before)
edited.countries.at(120)!.area += 1
const sent = (changes: Parameters<typeof packChanges>[0]): number => Buffer.byteLength(JSON.stringify(packChanges(changes)))

describe('the countries of the world', () => {
  test('are about a megabyte', () => {
    expect(JSON.stringify(before).length).toBeGreaterThan(900_000)
  })

  test.each([['cca3'], ['id']])('one leaf edited costs less than 300 bytes, items by %s', (itemKey) => {
    const changes = diff(before, edited, { itemKey })
    expect(changes).toHaveLength(1)
    expect(sent(changes)).toBeLessThan(300)
    expect(applyChanges(before, changes)).toEqual(edited)
    expect(applyChanges(edited, invert(changes))).toEqual(before)
  })

  test('an edit computed as an operation, and a set of the whole state cost the same', () => {
    const { cca3 } = before.countries.at(120)!
    const operations = diffToOperations(before, edited, { itemKey: 'cca3' })
    expect(operations).toEqual([{ type: 'set', path: ['countries', { id: cca3 }, 'area'], value: edited.countries.at(120)!.area }])
    for (const each of [operations, [{ type: 'set' as const, path: [], value: clone(edited) as unknown as JsonObject }]]) {
      const { state, changes } = applyOperations(before, each, { itemKey: 'cca3' })
      expect(state).toEqual(edited)
      expect(state.countries[119]).toBe(before.countries[119])
      expect(sent(changes)).toBeLessThan(300)
    }
  })

  test('one more country, one less, and one elsewhere send that country alone', () => {
    const list = before.countries
    const one = { ...list.at(7)!, cca3: 'NEW' }
    const size = Math.max(Buffer.byteLength(JSON.stringify(one)), Buffer.byteLength(JSON.stringify(list[0])))
    for (const next of [
      [...list, one],
      [one, ...list],
      list.toSpliced(100, 0, one),
      list.toSpliced(50, 1),
      [...list.slice(1), list.at(0)!],
    ]) {
      const changes = diff(before, { ...before, countries: next }, { itemKey: 'cca3' })
      expect(applyChanges(before, clone(changes))).toEqual({ ...before, countries: next })
      expect(sent(changes)).toBeLessThan(size + 200)
    }
  })
})
