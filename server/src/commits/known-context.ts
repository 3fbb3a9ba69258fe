import { applyChanges } from '@contextd/protocol'
import type { Author, Head, JsonObject } from '@contextd/protocol'
import { noHead } from '../backends/backend.ts'
import type { ContextRow, LogEntry, StoredContext } from '../backends/backend.ts'
import { encodeChanges } from './encoded-changes.ts'
import { decodeLogEntry } from './log-entry.ts'

/** A context as a node has it in memory, at one version. Name `state` where you spread one: in a batch it is made when it is read, and no property of its own. */
export interface KnownContext {
  readonly head: Head
  /** Null: absent. */
  readonly state: JsonObject | null
  readonly createdAt: number
  readonly updatedAt: number
  readonly updatedBy: Author
  /** Length of the state as JSON, at most: measured once, then counted from the changes, bytes. */
  readonly stateSize: number
  /** Version of the stored snapshot, or of an older one: others write them too. */
  readonly snapshotVersion: number
  /** Length of the log's entries above that snapshot. */
  readonly sinceSnapshotSize: number
  /** Version of the definition that the state was last moved on to; 0: none was declared. */
  readonly schema: number
}

/** Author of what the server itself commits. */
export const serverAuthor: Author = Object.freeze({ userId: null, actor: 'server' })

// Sessions' actors have no colon: an entry of the log tells by its author that it moved the state on to another version of its definition.
const migrationActor = /^migration:(\d+)$/

/** Author of the commit that moves a state on to a version of its definition. */
export const migrationAuthor = (schema: number): Author => ({ userId: null, actor: `migration:${schema}` })

/** Whether a state is of an older version than `least`; one that was there before anything was declared is of version 1. */
export const isOutdated = ({ head, schema }: Pick<KnownContext, 'head' | 'schema'>, least: number): boolean =>
  head.version > 0 && Math.max(1, schema) < least

/** The version of the definition that an author's commit moves a state on to; null: it is an ordinary one. */
export function migrationBy({ userId, actor }: Author): number | null {
  const found = userId === null && actor.length > serverAuthor.actor.length ? migrationActor.exec(actor) : null
  return found ? Number(found[1]) : null
}

const utf8Length = (text: string): number => Buffer.byteLength(text)

/** What is known of a context that is not there. */
export const absentAt = (head: Head, updatedAt: number, updatedBy: Author): KnownContext => ({
  head,
  state: null,
  createdAt: 0,
  updatedAt,
  updatedBy,
  stateSize: 2,
  snapshotVersion: 0,
  sinceSnapshotSize: 0,
  schema: 0,
})

const absent = (row: ContextRow | null): KnownContext => absentAt(row?.head ?? noHead, row?.updatedAt ?? 0, row?.updatedBy ?? serverAuthor)

/** Builds the state at head from the stored snapshot and the entries above it. @throws {Error} they do not fit together */
export function fromStored(stored: StoredContext | null, byteLength: (text: string) => number = utf8Length): KnownContext {
  if (stored === null || stored.snapshot === null) return absent(stored?.row ?? null)
  const { row, snapshot, entries } = stored
  let state = JSON.parse(snapshot) as JsonObject
  let stateSize = byteLength(snapshot)
  for (const entry of entries) {
    const { changes } = decodeLogEntry(entry.text)
    state = applyChanges(state, changes)
    stateSize += encodeChanges(changes, byteLength).growth
  }
  return {
    head: row.head,
    state,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    updatedBy: row.updatedBy,
    stateSize,
    snapshotVersion: row.snapshotVersion,
    sinceSnapshotSize: row.sinceSnapshotSize,
    schema: row.schema,
  }
}

/** Whether entries lead from a head to the next ones without a hole. */
export function followsOn({ version, revision }: Pick<Head, 'version' | 'revision'>, entries: readonly LogEntry[]): boolean {
  let at = { version, revision }
  for (const entry of entries) {
    if (entry.version !== at.version + 1 || entry.baseRevision !== at.revision) return false
    at = entry
  }
  return true
}

/** Moves a known context on by the entries that lead to `head`; null when they do not. @throws {Error} an entry does not fit the state */
export function fastForward(
  known: KnownContext,
  head: Head,
  entries: readonly LogEntry[],
  byteLength: (text: string) => number = utf8Length,
): KnownContext | null {
  if (known.state === null || known.head.incarnation !== head.incarnation || !followsOn(known.head, entries)) return null
  const last = entries.at(-1) ?? known.head
  if (last.version !== head.version || last.revision !== head.revision) return null
  let { state, stateSize, sinceSnapshotSize, updatedAt, updatedBy, schema } = { ...known, state: known.state }
  for (const { text } of entries) {
    const commit = decodeLogEntry(text)
    state = applyChanges(state, commit.changes)
    stateSize += encodeChanges(commit.changes, byteLength).growth
    sinceSnapshotSize += text.length
    updatedAt = commit.committedAt
    updatedBy = commit.author
    schema = migrationBy(commit.author) ?? schema
  }
  return { ...known, head, state, stateSize, sinceSnapshotSize, updatedAt, updatedBy, schema }
}
