import type { ContextInfo } from '@contextd/protocol'

/** Gives a page of contexts, by id. */
type Pages = (page: { readonly limit: number; readonly offset: number }) => Promise<readonly Pick<ContextInfo, 'contextId'>[]>

/**
 * Ids of all contexts, in order: of every one that is there from beginning to end, whatever is created and deleted meanwhile. Ids alone are
 * kept: states are not.
 * @param pageSize contexts of a page, at least 2
 */
export async function allIds(pages: Pages, pageSize: number): Promise<string[]> {
  const ids: string[] = []
  for (let offset = 0; ;) {
    const page = await pages({ limit: pageSize, offset })
    const last = ids.at(-1) ?? ''
    const first = page[0]?.contextId
    if (offset > 0 && (first === undefined || first > last)) {
      // Some were deleted, and what comes next may lie before this page by now.
      offset = Math.max(0, offset - pageSize)
    } else {
      for (const { contextId } of page) if (contextId > last) ids.push(contextId)
      if (page.length < pageSize) return ids
      // The next page begins with one that is known.
      offset += pageSize - 1
    }
  }
}
