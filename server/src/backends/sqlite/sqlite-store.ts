import type { Author, Head } from '@contextd/protocol'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import { commitStep, entriesTrimmed, trimCount } from '../../commit-step.ts'
import type { StoredRecord } from '../../commit-step.ts'
import { syncStep } from '../../sync-step.ts'
import type { SyncView } from '../../sync-step.ts'
import { noHead } from '../backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextRow,
  ListQuery,
  ListedContext,
  LogEntry,
  Retention,
  StoredContext,
  SyncQuery,
  SyncResult,
} from '../backend.ts'
import { recordCutoff } from '../store-model.ts'
import { prepareStatements } from './statements.ts'
import type { ContextColumns, LogColumns, RecordColumns, Statements } from './statements.ts'

/** A context as read in this transaction; null `number`: nothing is stored of it. */
interface Found {
  readonly number: number | null
  readonly row: ContextRow | null
}

/** The calls of a backend on an open file, each within a transaction that the caller has begun. */
export class SqliteStore {
  readonly #statements: Statements

  constructor(database: DatabaseSyncInstance) {
    this.#statements = prepareStatements(database)
  }

  /** Decides and writes a batch; needs a transaction that may write. */
  commit(batch: CommitBatch): CommitResult {
    const found = this.#find(batch.contextId)
    const outcome = commitStep(this.#view(found), batch)
    if (outcome.type !== 'committed') return outcome
    const number = found.number ?? this.#add(batch.contextId)
    if (batch.remove) this.#clear(number)
    this.#setRow(number, batch.entries.length > 0 ? this.#write(number, outcome.row, batch) : outcome.row)
    for (const [key, record] of outcome.records) this.#setRecord(number, key, record)
    this.#statements.prune.run(number, recordCutoff(batch.now, batch.sessionTtlMs))
    return { type: 'committed' }
  }

  /** Reads for a client; null: its record must be raised, in a transaction that may write. */
  syncReading(query: SyncQuery): SyncResult | null {
    const { result, record } = syncStep(this.#view(this.#find(query.contextId)), query)
    return record === null ? result : null
  }

  /** Reads for a client, and raises its record where it must be; needs a transaction that may write. */
  sync(query: SyncQuery): SyncResult {
    const found = this.#find(query.contextId)
    const { result, record } = syncStep(this.#view(found), query)
    if (record !== null) this.#setRecord(found.number ?? this.#add(query.contextId), query.stream.key, record)
    return result
  }

  load(contextId: string): StoredContext | null {
    const { number, row } = this.#find(contextId)
    if (number === null || row === null) return null
    return { row, snapshot: this.#snapshot(number), entries: this.#log(number, row.snapshotVersion) }
  }

  log(contextId: string, after: number): LogEntry[] {
    const { number } = this.#find(contextId)
    return number === null ? [] : this.#log(number, after)
  }

  heads(contextIds: readonly string[]): Head[] {
    return contextIds.map((contextId) => {
      const found = this.#statements.head.get(contextId) as (Head & { version: number | null }) | undefined
      if (!found || found.version === null) return noHead
      return { incarnation: found.incarnation, version: found.version, revision: found.revision }
    })
  }

  list({ prefix, updatedSince, order, limit, offset }: ListQuery): ListedContext[] {
    const statement = order === 'asc' ? this.#statements.listAscending : this.#statements.listDescending
    const rows = statement.all(prefix, `${prefix}\u{10ffff}`, updatedSince, limit === 0 ? -1 : limit, offset) as {
      id: string
      version: number
      revision: string
      created_at: number
      updated_at: number
    }[]
    return rows.map((row) => ({
      contextId: row.id,
      version: row.version,
      revision: row.revision,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
    }))
  }

  /** Removes all records past their time and forgets absent contexts (P14): see `StoreModel.expireRecords`. */
  expireRecords(now: number, sessionTtlMs: number): number {
    const cutoff = recordCutoff(now, sessionTtlMs)
    this.#statements.expireRecords.run(cutoff)
    return this.#statements.forget.run(cutoff).changes
  }

  #find(contextId: string): Found {
    const found = this.#statements.context.get(contextId) as ContextColumns | undefined
    return found ? { number: found.number, row: rowOf(found) } : { number: null, row: null }
  }

  #add(contextId: string): number {
    return Number(this.#statements.addContext.run(contextId).lastInsertRowid)
  }

  #view({ number, row }: Found): SyncView {
    return {
      row,
      record: (key) => (number === null ? null : this.#record(number, key)),
      entriesAfter: (version) => (number === null || row === null || version + 1 < row.firstVersion ? null : this.#log(number, version)),
      snapshot: () => (number === null ? null : this.#snapshot(number)),
    }
  }

  #log(number: number, after: number): LogEntry[] {
    return (this.#statements.log.all(number, after) as LogColumns[]).map((found) => ({
      version: found.version,
      revision: found.revision,
      baseRevision: found.base_revision,
      committedAt: found.committed_at,
      text: found.entry,
    }))
  }

  #snapshot(number: number): string | null {
    return (this.#statements.snapshot.get(number) as { state: string } | undefined)?.state ?? null
  }

  #record(number: number, key: string): StoredRecord | null {
    const found = this.#statements.record.get(number, key) as RecordColumns | undefined
    if (!found) return null
    const verdicts = JSON.parse(found.verdicts) as StoredRecord['verdicts']
    return { epoch: found.epoch, last: found.last, verdicts, usedAt: found.used_at }
  }

  #setRecord(number: number, key: string, { epoch, last, usedAt, verdicts }: StoredRecord): void {
    this.#statements.setRecord.run(number, key, epoch, last, usedAt, JSON.stringify(verdicts))
  }

  #setRow(number: number, row: ContextRow): void {
    const { head, createdAt, updatedAt, updatedBy, snapshotVersion, snapshotSize, firstVersion, logSize, sinceSnapshotSize } = row
    const { incarnation, version, revision } = head
    const times = [createdAt, updatedAt, JSON.stringify(updatedBy)]
    const sizes = [snapshotVersion, snapshotSize, firstVersion, logSize, sinceSnapshotSize]
    this.#statements.setRow.run(incarnation, version, revision, ...times, ...sizes, number)
  }

  #clear(number: number): void {
    this.#statements.removeSnapshot.run(number)
    this.#statements.trim.run(number, Number.MAX_SAFE_INTEGER)
  }

  /** Writes entries and snapshot, and trims the log; returns the row afterwards. */
  #write(number: number, row: ContextRow, batch: CommitBatch): ContextRow {
    for (const { version, committedAt, revision, baseRevision, text } of batch.entries) {
      this.#statements.addEntry.run(number, version, committedAt, text.length, revision, baseRevision, text)
    }
    if (batch.snapshot !== null) this.#statements.setSnapshot.run(number, batch.snapshot)
    if (!mayTrim(row, batch.retention)) return row
    const oldest = this.#statements.oldest.all(number, entriesTrimmed(batch)) as { committedAt: number; size: number }[]
    const count = trimCount(row, batch.retention, oldest, entriesTrimmed(batch))
    if (count === 0) return row
    const firstVersion = row.firstVersion + count
    this.#statements.trim.run(number, firstVersion)
    return { ...row, firstVersion, logSize: row.logSize - oldest.slice(0, count).reduce((sum, { size }) => sum + size, 0) }
  }
}

/** Whether `trimCount` can find anything, so that most commits need not read the oldest entries. */
function mayTrim(row: ContextRow, { softSize, hardSize, maxVersions }: Retention): boolean {
  const length = row.head.version - row.firstVersion + 1
  return row.logSize > Math.min(softSize, hardSize) || (maxVersions > 0 && length > maxVersions)
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
  }
}
