import type { Author } from '@contextd/protocol'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import type { StoredRecord } from '../../commits/commit-step.ts'
import { heldAt } from '../../locks/locks.ts'
import type { StoredLock } from '../../locks/locks.ts'
import type { SyncView } from '../../reads/sync-step.ts'
import type { ContextRow, HeldLock, LogEntry, StoredStream } from '../backend.ts'
import { prepareStatements } from './statements.ts'
import type { ContextColumns, LockColumns, LogColumns, RecordColumns, Statements } from './statements.ts'

/** A context as read in this transaction. */
export interface Found {
  /** Null: nothing is stored of it. */
  readonly number: number | null
  readonly row: ContextRow | null
  /** When the first entry of its log was committed, ms; null: the log is empty. */
  readonly oldestAt: number | null
}

/** What is asked of an entry before it is dropped. */
export interface LogSize {
  readonly committedAt: number
  readonly size: number
}

/** A log without its first entries. */
export interface Trimmed {
  readonly row: ContextRow
  readonly dropped: number
  /** See {@link Found}. */
  readonly oldestAt: number | null
}

const notFound: Found = { number: null, row: null, oldestAt: null }

/** Contexts, logs, records and locks as rows of an open file; each call within a transaction that the caller has begun. */
export class Tables {
  readonly statements: Statements

  constructor(database: DatabaseSyncInstance) {
    this.statements = prepareStatements(database)
  }

  find(contextId: string): Found {
    const found = this.statements.context.get(contextId) as ContextColumns | undefined
    return found ? { number: found.number, row: rowOf(found), oldestAt: found.oldest_at } : notFound
  }

  /** Number of a context; makes one for a context of which nothing is stored yet. */
  numberOf(found: Found, contextId: string): number {
    return found.number ?? Number(this.statements.addContext.run(contextId).lastInsertRowid)
  }

  /** The context as the steps see it. */
  view({ number, row }: Found, now: number): SyncView {
    return {
      row,
      record: (key) => (number === null ? null : this.#record(number, key)),
      entriesAfter: (version) => (number === null || row === null || version + 1 < row.firstVersion ? null : this.log(number, version)),
      snapshot: () => (number === null ? null : this.snapshot(number)),
      lockToken: (key) => (number === null ? null : (heldAt(key, this.lock(number, key), now)?.token ?? null)),
    }
  }

  setRow(number: number, row: ContextRow, oldestAt: number | null): void {
    const { head, createdAt, updatedAt, updatedBy, snapshotVersion, snapshotSize, firstVersion, logSize, sinceSnapshotSize } = row
    const { incarnation, version, revision } = head
    const times = [createdAt, updatedAt, JSON.stringify(updatedBy)]
    const sizes = [snapshotVersion, snapshotSize, firstVersion, logSize, sinceSnapshotSize]
    const rest = [row.schema, row.restored ? 1 : 0, oldestAt]
    this.statements.setRow.run(incarnation, version, revision, ...times, ...sizes, ...rest, number)
  }

  log(number: number, after: number): LogEntry[] {
    return (this.statements.log.all(number, after) as LogColumns[]).map((found) => ({
      version: found.version,
      revision: found.revision,
      baseRevision: found.base_revision,
      committedAt: found.committed_at,
      text: found.entry,
    }))
  }

  addEntry(number: number, { version, committedAt, revision, baseRevision, text }: LogEntry): void {
    this.statements.addEntry.run(number, version, committedAt, text.length, revision, baseRevision, text)
  }

  /** Drops as many of the log's first entries as `count` says of them. */
  trim(number: number, row: ContextRow, count: (oldest: Iterable<LogSize>) => number): Trimmed {
    const seen: LogSize[] = []
    const dropped = count(this.#oldest(number, seen))
    const size = seen.slice(0, dropped).reduce((sum, entry) => sum + entry.size, 0)
    const firstVersion = row.firstVersion + dropped
    if (dropped > 0) this.statements.trim.run(number, firstVersion)
    const next = this.statements.oldest.get(number) as LogSize | undefined
    return { row: { ...row, firstVersion, logSize: row.logSize - size }, dropped, oldestAt: next?.committedAt ?? null }
  }

  /** Entries of the log from the oldest on, read one by one; `seen` takes those that were. */
  *#oldest(number: number, seen: LogSize[]): Generator<LogSize> {
    for (const entry of this.statements.oldest.iterate(number) as Iterable<LogSize>) {
      seen.push(entry)
      yield entry
    }
  }

  snapshot(number: number): string | null {
    return (this.statements.snapshot.get(number) as { state: string } | undefined)?.state ?? null
  }

  setSnapshot(number: number, state: string): void {
    this.statements.setSnapshot.run(number, state)
  }

  /** Removes snapshot and log. */
  clear(number: number): void {
    this.statements.removeSnapshot.run(number)
    this.statements.trim.run(number, Number.MAX_SAFE_INTEGER)
  }

  #record(number: number, key: string): StoredRecord | null {
    const found = this.statements.record.get(number, key) as RecordColumns | undefined
    return found ? recordOf(found) : null
  }

  setRecord(number: number, key: string, { epoch, last, usedAt, verdicts }: StoredRecord): void {
    this.statements.setRecord.run(number, key, epoch, last, usedAt, JSON.stringify(verdicts))
  }

  /** Keeps a record where there is none. */
  addRecord(number: number, { key, epoch, last, usedAt, verdicts }: StoredStream): void {
    this.statements.addRecord.run(number, key, epoch, last, usedAt, JSON.stringify(verdicts))
  }

  /** All records of a context, by key. */
  records(number: number): StoredStream[] {
    return (this.statements.records.all(number) as RecordColumns[]).map((found) => ({ key: found.key, ...recordOf(found) }))
  }

  lock(number: number, key: string): StoredLock | null {
    const found = this.statements.lock.get(number, key) as LockColumns | undefined
    return found ? lockOf(found) : null
  }

  setLock(number: number, key: string, { hold, token, holder, since, until }: StoredLock): void {
    this.statements.setLock.run(number, key, hold, token, JSON.stringify(holder), since, until)
  }

  /** Locks that are held, by key. */
  locks(number: number, now: number): HeldLock[] {
    return (this.statements.locks.all(number, now) as LockColumns[]).flatMap((found) => heldAt(found.key, lockOf(found), now) ?? [])
  }
}

function rowOf(found: ContextColumns): ContextRow | null {
  if (found.version === null) return null
  return {
    head: { incarnation: found.incarnation, version: found.version, revision: found.revision },
    createdAt: found.created_at,
    updatedAt: found.updated_at,
    updatedBy: JSON.parse(found.updated_by) as Author,
    snapshotVersion: found.snapshot_version,
    snapshotSize: found.snapshot_size,
    firstVersion: found.first_version,
    logSize: found.log_size,
    sinceSnapshotSize: found.since_snapshot_size,
    schema: found.schema,
    restored: found.restored === 1,
  }
}

function recordOf({ epoch, last, used_at: usedAt, verdicts }: RecordColumns): StoredRecord {
  return { epoch, last, verdicts: JSON.parse(verdicts) as StoredRecord['verdicts'], usedAt }
}

function lockOf({ hold, token, holder, since, until }: LockColumns): StoredLock {
  return { hold, token, holder: JSON.parse(holder) as Author, since, until }
}
