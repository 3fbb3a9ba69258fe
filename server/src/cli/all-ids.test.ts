import { expect, test } from 'vitest'
import { allIds } from './all-ids.ts'

const idsOf = (length: number): string[] => Array.from({ length }, (_, n) => `c:${String(n).padStart(3, '0')}`)

/** A store whose contexts change before each page; it counts the pages. */
function changing(contextIds: string[], change: (contextIds: string[], page: number) => string[] = (same) => same) {
  let now = contextIds
  const asked = { pages: 0 }
  const pages = async ({ limit, offset }: { limit: number; offset: number }): Promise<{ contextId: string }[]> => {
    asked.pages += 1
    now = change(now, asked.pages).toSorted()
    return now.slice(offset, offset + limit).map((contextId) => ({ contextId }))
  }
  return { pages, asked }
}

test.each([0, 1, 9, 10, 11, 100])('of %i contexts all ids are given, in order, in pages', async (length) => {
  const { pages, asked } = changing(idsOf(length))
  expect(await allIds(pages, 10)).toEqual(idsOf(length))
  expect(asked.pages).toBeLessThanOrEqual(Math.ceil((length + 1) / 9))
})

test('contexts that are deleted meanwhile hide no other', async () => {
  const deleted = new Set<string>()
  const { pages } = changing(idsOf(200), (contextIds, page) => {
    // Of those that were listed already most go: all that follow move forward.
    const gone = contextIds.slice(0, page * 7)
    for (const contextId of gone) deleted.add(contextId)
    return contextIds.slice(gone.length)
  })
  const given = new Set(await allIds(pages, 10))
  expect(deleted.size).toBeGreaterThan(50)
  expect(idsOf(200).filter((contextId) => !deleted.has(contextId) && !given.has(contextId))).toEqual([])
})

test('contexts that are created meanwhile make none come twice', async () => {
  const { pages } = changing(idsOf(100), (contextIds, page) => [...contextIds, `a:${page}`, `b:${page}`])
  const given = await allIds(pages, 10)
  expect(given).toEqual([...new Set(given)].toSorted())
  expect(given).toEqual(expect.arrayContaining(idsOf(100)))
})

test('all may go meanwhile', async () => {
  const { pages } = changing(idsOf(100), (contextIds, page) => (page > 3 ? [] : contextIds))
  expect((await allIds(pages, 10)).length).toBe(28)
})
