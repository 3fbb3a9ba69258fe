import { defineContext } from '@contextd/protocol'
import type { Operation } from '@contextd/protocol'
import { expect, test, vi } from 'vitest'
import { checkOptions, definitionFinder } from './client-options.ts'
import { absorb } from './coalesce.ts'
import { createCell } from './source.ts'

const set = (path: string, value: number): Operation => ({ type: 'set', path: path.split('.'), value })

test.each([
  ['the same place twice', [set('a', 1)], [set('a', 2)], [set('a', 2)]],
  ['another place', [set('a', 1)], [set('b', 2)], [set('a', 1), set('b', 2)]],
  ['the same place behind others', [set('a', 1), set('b', 1)], [set('a', 2)], [set('a', 2), set('b', 1)]],
  ['a place in it was set in between', [set('a', 1), set('a.b', 1)], [set('a', 2)], [set('a', 1), set('a.b', 1), set('a', 2)]],
  ['what holds it was set in between', [set('a.b', 1), set('a', 1)], [set('a.b', 2)], [set('a.b', 1), set('a', 1), set('a.b', 2)]],
  ['something else was done in between', [set('a', 1), { type: 'increment', path: ['a'], by: 1 } as Operation], [set('a', 2)], null],
])('two commits as one: %s', (_, first, second, both) => {
  expect(absorb(first, second)).toEqual(both ?? [...first, ...second])
})

test('more operations than a commit may have are not absorbed', () => {
  const many = Array.from({ length: 1_000 }, (_, n) => set(`k${n}`, n))
  expect(absorb(many, [set('k0', 5)])).toHaveLength(1_000)
  expect(absorb(many, [set('other', 5)])).toBeNull()
})

test.each([
  ['http://localhost:4000', 'http://localhost:4000', '/contextd'],
  ['http://localhost:4000/', 'http://localhost:4000', '/contextd'],
  ['https://example.com/live/contextd/', 'https://example.com', '/live/contextd'],
  ['ws://127.0.0.1:1/x', 'http://127.0.0.1:1', '/x'],
])('the url %s', (url, origin, path) => {
  expect(checkOptions({ url })).toMatchObject({ origin, path })
})

test.each([
  [undefined, /url/],
  [{}, /url/],
  [{ url: 'nonsense' }, /url/],
  [{ url: 'ftp://x' }, /http/],
  [{ url: 'http://x', auth: 5 }, /auth/],
  [{ url: 'http://x', onError: 'log' }, /onError/],
  [{ url: 'http://x', contexts: [{}] }, /contexts/],
  [{ url: 'http://x', persist: 'indexeddb' }, /persist/],
  [{ url: 'http://x', tabs: 'off' }, /tabs/],
])('the options %j are refused by name', (options, message) => {
  expect(() => checkOptions(options)).toThrow(message)
  expect(() => checkOptions(options)).toThrow(TypeError)
})

test('a context has the first definition whose pattern fits', () => {
  const schema = { '~standard': { version: 1, vendor: 'none', validate: (value: unknown) => ({ value }) } } as const
  const find = definitionFinder(['lobby', 'a:*', 'a:*:z*', '*'].map((id) => defineContext(id, { state: schema })))
  expect(['lobby', 'a:', 'a:1', 'a:1:z', 'lobby2'].map((id) => find(id)?.id)).toEqual(['lobby', 'a:*', 'a:*', 'a:*', '*'])
  const inner = definitionFinder([defineContext('x*y*z', { state: schema })])
  expect(['xyz', 'x1y2z', 'xy', 'xz', 'yxyz'].map((id) => inner(id) !== undefined)).toEqual([true, true, false, false, false])
})

test('a listener that ends another, or changes the value, does not disturb the rest', () => {
  const cell = createCell(0)
  const seen: string[] = []
  const ends = [
    cell.subscribe((value) => {
      seen.push(`a${value}`)
      ends[1]!()
      if (value === 1) cell.set(2)
    }),
    cell.subscribe((value) => seen.push(`b${value}`)),
    cell.subscribe((value) => seen.push(`c${value}`)),
  ]
  cell.set(1)
  expect(seen).toEqual(['a1', 'a2', 'c2'])
})

test('a listener that throws does not keep others from being told', async () => {
  const cell = createCell(0)
  const told = vi.fn<(value: number, previous: number) => void>()
  const surfaced = new Promise<unknown>((resolve) => process.once('uncaughtException', resolve))
  const listeners = process.listeners('uncaughtException').filter((listener) => listener !== process.listeners('uncaughtException').at(-1))
  for (const listener of listeners) process.off('uncaughtException', listener)
  cell.subscribe(() => {
    throw new Error('mine')
  })
  cell.subscribe(told)
  cell.set(1)
  expect(told).toHaveBeenCalledWith(1, 0)
  expect(await surfaced).toMatchObject({ message: 'mine' })
  for (const listener of listeners) process.on('uncaughtException', listener)
})
