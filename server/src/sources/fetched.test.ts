import { isContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { takeFetched } from './fetched.ts'

const limits = { stateBytes: 4_194_304, depth: 64 }
const take = (data: unknown, previous: JsonObject | null = null, more: object = {}) =>
  takeFetched(data, { previous, limits: { ...limits, ...more }, itemKey: 'id' })
const failure = async (data: unknown, more: object = {}): Promise<unknown> => {
  const error: unknown = await take(data, null, more).then(
    () => null,
    (caught: unknown) => caught,
  )
  return isContextdError(error) ? `${error.code}: ${error.message}` : error
}

describe('what was fetched is copied', () => {
  test('a list becomes the items of a state, an object the state', async () => {
    const list = [{ id: 'a', tags: ['x'] }, 7, null]
    const { state, items } = await take(list)
    expect(state).toEqual({ items: list })
    expect(items).toBe(state['items'])
    list.reverse()
    ;(list[2] as { tags: string[] }).tags.push('later')
    expect(state).toEqual({ items: [{ id: 'a', tags: ['x'] }, 7, null] })
    expect(await take({ a: { b: [1] } })).toEqual({ state: { a: { b: [1] } }, items: null })
    expect(await take([])).toEqual({ state: { items: [] }, items: [] })
  })

  test('what equals the state before is taken from there: rows by id, wherever they are now', async () => {
    const rows = Array.from({ length: 300 }, (_, n) => ({ id: `r${n}`, deep: { n } }))
    const { state: before } = await take(rows)
    const old = before['items'] as JsonObject[]
    expect((await take(structuredClone(rows), before)).state).toBe(before)
    const moved = structuredClone([rows[299]!, ...rows.slice(0, 100), { id: 'new', deep: { n: -1 } }, ...rows.slice(101, 299)])
    moved[50]!.deep.n = 1_000
    const { items } = await take(moved, before)
    expect(items).toEqual(moved)
    expect(items!.filter((row) => !old.includes(row as JsonObject))).toEqual([moved[50], moved[101]])
  })

  test('keys of objects that are the same are taken too, and no others', async () => {
    const { state: before } = await take({ users: { a: { n: 1 }, b: { n: 2 } }, gone: 1, list: [{ n: 1 }, { n: 2 }] })
    const { state } = await take({ users: { a: { n: 1 }, b: { n: 3 } }, list: [{ n: 1 }, { n: 3 }], more: null }, before)
    expect(state).toEqual({ users: { a: { n: 1 }, b: { n: 3 } }, list: [{ n: 1 }, { n: 3 }], more: null })
    const [was, is] = [before, state] as { users: { a: object }; list: object[] }[]
    expect(is!.users.a).toBe(was!.users.a)
    expect(is!.list[0]).toBe(was!.list[0])
  })
})

class Row {
  readonly id = 'a'
}
const itself: { [key: string]: unknown } = {}
itself['itself'] = itself

test.each([
  ['a text', 'text', 'invalid_state: fetch gave string'],
  ['nothing', undefined, 'invalid_state: fetch gave undefined'],
  ['null', null, 'invalid_state: fetch gave null'],
  ['a function', () => [], 'invalid_state: fetch gave function'],
  ['a Map', new Map([['a', 1]]), 'invalid_state: fetch gave a Map'],
  ['a row of a class', [{ id: 'b' }, new Row()], 'invalid_state: What fetch gave is not JSON: items[1] is a Row'],
  ['a date', { at: new Date(0) }, 'invalid_state: What fetch gave is not JSON: at is a Date'],
  ['a date where there was an object', { rows: [{ at: new Date(0) }] }, 'invalid_state: What fetch gave is not JSON: rows[0].at is a Date'],
  ['a bigint', [{ n: 1n }], 'invalid_state: What fetch gave is not JSON: items[0].n is a bigint'],
  ['NaN', [{ n: Number.NaN }], 'invalid_state: What fetch gave is not JSON: items[0].n is NaN'],
  ['a key without a value', [{ n: undefined }], 'invalid_state: What fetch gave is not JSON: items[0].n is undefined'],
  // eslint-disable-next-line no-sparse-arrays
  ['a list with a hole', [1, , 2], 'invalid_state: What fetch gave is not JSON: items[1] is undefined'],
  ['half a character', ['\ud800'], 'invalid_state: What fetch gave is not JSON: items[0] has a lone surrogate'],
  ['what contains itself', [itself], 'is nested too deep (or contains itself)'],
  ['a key that could do harm', JSON.parse('{"a":1,"__proto__":{"x":1}}'), '__proto__ is a key that is never allowed'],
  ['a row with such a key', [JSON.parse('{"__proto__":{"x":1}}')], 'items[0].__proto__ is a key that is never allowed'],
])('%s is refused, with the place', async (_, data, message) => {
  expect(await failure(data)).toContain(message)
  expect(await failure(data, { stateBytes: 0 })).toContain(message)
})

test('500 MB are refused by the first part that is too much: the rest is not looked at, nor copied', async () => {
  let looks = 0
  const row = new Proxy(
    { text: 'x'.repeat(1_000) },
    {
      get: (target, key) => {
        looks += 1
        return Reflect.get(target, key) as unknown
      },
    },
  )
  expect(await failure(Array.from({ length: 500_000 }, () => row))).toMatch(/^too_large: .*4194304 bytes \(stateBytes\)/)
  expect(looks).toBeGreaterThan(4_000)
  // Each is looked at a few times, while it is measured, checked and copied.
  expect(looks).toBeLessThan(100_000)
  // Few values that contain each other over and over are as much, and would take for ever to look through.
  let many: unknown[] = ['x'.repeat(100)]
  for (let level = 0; level < 20; level += 1) many = Array.from({ length: 10 }, () => many)
  expect(await failure({ many })).toMatch(/^too_large/)
})

const rows = (round: number) => Array.from({ length: 100_000 }, (_, n) => ({ id: `r${n}`, round, name: `Row number ${n}` }))

test('a list that its owner changes meanwhile is taken as it was', async () => {
  const list = rows(0)
  const taking = take(list, null, { stateBytes: 0 })
  setImmediate(() => {
    list.length = 50_000
    list.unshift({ id: 'new', round: 1, name: 'New' })
  })
  const { items } = await taking
  expect(items).toHaveLength(100_000)
  expect(items![0]).toEqual({ id: 'r0', round: 0, name: 'Row number 0' })
})

test('what is nested deeper than `depth` is refused, also by what holds all of it', async () => {
  expect(await take([{ a: 1 }], null, { depth: 3 })).toMatchObject({ items: [{ a: 1 }] })
  expect(await failure([{ a: 1 }], { depth: 2 })).toContain('items[0] is nested too deep')
  expect(await failure([1], { depth: 1 })).toContain('items is nested too deep')
})

test('100,000 rows leave the event loop to others again and again', async () => {
  const { state } = await take(rows(0), null, { stateBytes: 0 })
  let turns = 0
  let working = true
  const turn = (): void => {
    turns += 1
    if (working) setImmediate(turn)
  }
  setImmediate(turn)
  await take(rows(1), state, { stateBytes: 0 })
  working = false
  expect(turns).toBeGreaterThan(2)
})
