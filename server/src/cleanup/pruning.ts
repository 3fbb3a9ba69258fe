import type { PruneBatch, StoredContext } from '../backends/backend.ts'
import { fromStored } from '../commits/known-context.ts'

/** Which entries of logs are to go. */
export interface Retained {
  /** Those committed before this time, ms; 0: none for their age. */
  readonly before: number
  /** Those beyond this many; 0: none for their number. */
  readonly maxVersions: number
}

/**
 * The batch that prunes a context's log. No entry above the snapshot goes, so a newer one is written first where such an entry is to go.
 * Null: there is nothing to prune.
 * @throws {Error} what is stored does not fit together
 */
export function pruningOf(contextId: string, stored: StoredContext, { before, maxVersions }: Retained): PruneBatch | null {
  const { row, entries } = stored
  if (row.head.version === 0) return null
  const oldAbove = entries.length > 0 && entries[0]!.committedAt < before
  const longAbove = maxVersions > 0 && entries.length > maxVersions
  const snapshot = oldAbove || longAbove ? JSON.stringify(fromStored(stored).state) : null
  return { contextId, base: row.head, snapshot, before, maxVersions }
}
