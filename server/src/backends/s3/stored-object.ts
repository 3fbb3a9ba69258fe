import type { ContextRow, ListedContext, LogEntry } from '../backend.ts'
import type { StoredRecord } from '../../commits/commit-step.ts'
import type { StoredLock } from '../../locks/locks.ts'
import type { StoreCopy } from '../store-model.ts'

/** Layout of an object; raised when a version of this program cannot read what another has written. */
export const schema = 1

/** What lies in a context's object, as JSON. */
interface StoredObject {
  readonly contextd: number
  /** Random, of the write that made it: no two writes make the same object, and whoever heard no answer finds out by it. */
  readonly write: string
  readonly row: ContextRow | null
  readonly snapshot: string | null
  /** Version, revision, base's revision, time and text of each. */
  readonly log: readonly (readonly [number, string, string, number, string])[]
  readonly records: readonly (readonly [string, StoredRecord])[]
  readonly locks: readonly (readonly [string, StoredLock])[]
  readonly lastToken: number
  readonly touchedAt: number
}

/** A context's object, and the write that made it. */
export interface DecodedObject {
  readonly copy: StoreCopy
  readonly write: string
}

/** Writes a context down. */
export function encodeObject({ row, snapshot, log, records, locks, lastToken, touchedAt }: StoreCopy, write: string): string {
  const entries = log.map((entry) => [entry.version, entry.revision, entry.baseRevision, entry.committedAt, entry.text] as const)
  const object: StoredObject = {
    contextd: schema,
    write,
    row,
    snapshot,
    log: entries,
    records: [...records],
    locks: [...locks],
    lastToken,
    touchedAt,
  }
  return JSON.stringify(object)
}

/** Reads a context; null: the text is damaged, or of another version of this program. */
export function decodeObject(contextId: string, text: string): DecodedObject | null {
  const object = parsed(text) as Partial<StoredObject> | null
  if (object?.contextd !== schema || typeof object.write !== 'string') return null
  const { row, snapshot, log, records, locks, lastToken, touchedAt } = object as StoredObject
  if (![log, records, locks].every(Array.isArray)) return null
  const entries = log.map(([version, revision, baseRevision, committedAt, entry]): LogEntry => {
    return { version, revision, baseRevision, committedAt, text: entry }
  })
  const copy = { contextId, row, snapshot, log: entries, records: new Map(records), locks: new Map(locks), lastToken, touchedAt }
  return { copy, write: object.write }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** A context that is not there. */
export const emptyCopy = (contextId: string): StoreCopy => ({
  contextId,
  row: null,
  snapshot: null,
  log: [],
  records: new Map(),
  locks: new Map(),
  lastToken: 0,
  touchedAt: 0,
})

/** Whether a call has changed nothing. Values are never changed in place, so that the same ones are equal ones. */
export function isSameCopy(a: StoreCopy, b: StoreCopy): boolean {
  return (
    a.row === b.row &&
    a.snapshot === b.snapshot &&
    a.log.length === b.log.length &&
    a.log[0] === b.log[0] &&
    a.lastToken === b.lastToken &&
    a.touchedAt === b.touchedAt &&
    isSameMap(a.records, b.records) &&
    isSameMap(a.locks, b.locks)
  )
}

function isSameMap<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)
}

/** What an object's metadata says of its context, so that lists need not read it. */
export interface ContextNote extends ListedContext {
  readonly incarnation: string
  readonly touchedAt: number
  /** Number of entries in its log. */
  readonly logged: number
  /** When the oldest of them was committed, ms; 0: there is none. */
  readonly loggedFrom: number
}

/** The note of a context; version 0: it is absent. */
export function noteOf({ contextId, row, log, touchedAt }: StoreCopy): ContextNote {
  const { incarnation, version, revision } = row?.head ?? { incarnation: '', version: 0, revision: '' }
  const { createdAt, updatedAt } = row ?? { createdAt: 0, updatedAt: 0 }
  const loggedFrom = log[0]?.committedAt ?? 0
  return { contextId, incarnation, version, revision, createdAt, updatedAt, touchedAt, logged: log.length, loggedFrom }
}

/** A note as a header carries it: no letter but those of URLs. */
export function encodeNote(note: ContextNote): string {
  const { incarnation, version, revision, createdAt, updatedAt, touchedAt, logged, loggedFrom } = note
  const text = JSON.stringify([schema, incarnation, version, revision, createdAt, updatedAt, touchedAt, logged, loggedFrom])
  return Buffer.from(text).toString('base64url')
}

/** Reads a note; null: there is none, as in an object that was copied without its metadata. */
export function decodeNote(contextId: string, text: string): ContextNote | null {
  const fields = parsed(Buffer.from(text, 'base64url').toString())
  if (!Array.isArray(fields) || fields[0] !== schema || fields.length !== 9) return null
  const [, incarnation, version, revision, createdAt, updatedAt, touchedAt, logged, loggedFrom] = fields as NoteFields
  return { contextId, incarnation, version, revision, createdAt, updatedAt, touchedAt, logged, loggedFrom }
}
type NoteFields = [number, string, number, string, number, number, number, number, number]
