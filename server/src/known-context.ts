import { applyChanges } from '@contextd/protocol'
import type { Author, Head, JsonObject } from '@contextd/protocol'
import { noHead } from './backends/backend.ts'
import type { ContextRow, LogEntry, StoredContext } from './backends/backend.ts'
import { decodeLogEntry } from './log-entry.ts'

/** A context as a node has it in memory, at one version. */
export interface KnownContext {
  readonly head: Head
  /** Null: absent. */
  readonly state: JsonObject | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly updatedBy: Author
  /** Length of the state as JSON, at most: measured once, then counted from the changes, bytes. */
  readonly stateSize: number
  /** Length of the log's entries above the stored snapshot. */
  readonly sinceSnapshotSize: number
}

/** Author of what the server itself commits. */
export const serverAuthor: Author = Object.freeze({ userId: null, actor: 'server' })

const absent = (row: ContextRow | null): KnownContext => ({
  head: row?.head ?? noHead,
  state: null,
  createdAt: 0,
  updatedAt: row?.updatedAt ?? 0,
  updatedBy: row?.updatedBy ?? serverAuthor,
  stateSize: 2,
  sinceSnapshotSize: 0,
})

/** Builds the state at head from the stored snapshot and the entries above it. */
export function fromStored(stored: StoredContext | null): KnownContext {
  if (stored === null || stored.snapshot === null) return absent(stored?.row ?? null)
  const { row, snapshot } = stored
  let state = JSON.parse(snapshot) as JsonObject
  for (const entry of stored.entries) state = applyChanges(state, decodeLogEntry(entry.text).changes)
  return {
    head: row.head,
    state,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    updatedBy: row.updatedBy,
    stateSize: 3 * (snapshot.length + stored.entries.reduce((sum, { text }) => sum + text.length, 0)),
    sinceSnapshotSize: row.sinceSnapshotSize,
  }
}

/** Moves a known context on by the entries that lead to `head`; null when they do not fit. */
export function fastForward(known: KnownContext, head: Head, entries: readonly LogEntry[]): KnownContext | null {
  if (known.state === null || known.head.incarnation !== head.incarnation) return null
  let { state, head: at, stateSize, sinceSnapshotSize, updatedAt, updatedBy } = { ...known, state: known.state }
  for (const entry of entries) {
    if (entry.version !== at.version + 1 || entry.baseRevision !== at.revision) return null
    const commit = decodeLogEntry(entry.text)
    state = applyChanges(state, commit.changes)
    at = { incarnation: head.incarnation, version: entry.version, revision: entry.revision }
    updatedAt = commit.committedAt
    updatedBy = commit.author
    stateSize += entry.text.length
    sinceSnapshotSize += entry.text.length
  }
  if (at.version !== head.version || at.revision !== head.revision) return null
  return { ...known, head: at, state, stateSize, sinceSnapshotSize, updatedAt, updatedBy }
}
