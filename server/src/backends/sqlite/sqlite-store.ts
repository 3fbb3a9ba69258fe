import type { Head } from '@contextd/protocol'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import { commitStep, entriesTrimmed, restoredRow, trimCount } from '../../commits/commit-step.ts'
import { syncStep } from '../../reads/sync-step.ts'
import { noHead, sameHead } from '../backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextDump,
  ContextRow,
  ListQuery,
  ListedContext,
  LogEntry,
  RestoreBatch,
  RestoreResult,
  Retention,
  StoredContext,
  SyncQuery,
  SyncResult,
} from '../backend.ts'
import { recordCutoff } from '../store-model.ts'
import { Locks } from './locks.ts'
import { Tables } from './tables.ts'
import type { Found } from './tables.ts'
import { Upkeep } from './upkeep.ts'

/** The calls of a backend on an open file, each within a transaction that the caller has begun. */
export class SqliteStore {
  readonly locks: Locks
  readonly upkeep: Upkeep
  readonly #tables: Tables

  constructor(database: DatabaseSyncInstance) {
    this.#tables = new Tables(database)
    this.locks = new Locks(this.#tables)
    this.upkeep = new Upkeep(this.#tables)
  }

  /** Decides and writes a batch; needs a transaction that may write. */
  commit(batch: CommitBatch): CommitResult {
    const tables = this.#tables
    const found = tables.find(batch.contextId)
    const outcome = commitStep(tables.view(found, batch.now), batch)
    if (outcome.type !== 'committed') return outcome
    const number = tables.numberOf(found, batch.contextId)
    if (batch.remove) tables.clear(number)
    if (batch.entries.length > 0) this.#write(number, outcome.row, found, batch)
    else tables.setRow(number, outcome.row, batch.remove ? null : found.oldestAt)
    for (const [key, record] of outcome.records) tables.setRecord(number, key, record)
    tables.statements.pruneRecords.run(number, recordCutoff(batch.now, batch.sessionTtlMs))
    return { type: 'committed' }
  }

  /** Reads for a client; null: its record must be raised, in a transaction that may write. */
  syncReading(query: SyncQuery): SyncResult | null {
    const { result, record } = syncStep(this.#tables.view(this.#tables.find(query.contextId), query.now), query)
    return record === null ? result : null
  }

  /** Reads for a client, and raises its record where it must be; needs a transaction that may write. */
  sync(query: SyncQuery): SyncResult {
    const found = this.#tables.find(query.contextId)
    const { result, record } = syncStep(this.#tables.view(found, query.now), query)
    if (record !== null) this.#tables.setRecord(this.#tables.numberOf(found, query.contextId), query.stream.key, record)
    return result
  }

  load(contextId: string): StoredContext | null {
    return this.#load(this.#tables.find(contextId))
  }

  log(contextId: string, after: number): LogEntry[] {
    const { number } = this.#tables.find(contextId)
    return number === null ? [] : this.#tables.log(number, after)
  }

  heads(contextIds: readonly string[]): Head[] {
    return contextIds.map((contextId) => {
      const found = this.#tables.statements.head.get(contextId) as (Head & { version: number | null }) | undefined
      if (!found || found.version === null) return noHead
      return { incarnation: found.incarnation, version: found.version, revision: found.revision }
    })
  }

  list({ prefix, updatedSince, order, limit, offset }: ListQuery): ListedContext[] {
    const { listAscending, listDescending } = this.#tables.statements
    const statement = order === 'asc' ? listAscending : listDescending
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

  dump(contextId: string): ContextDump | null {
    const found = this.#tables.find(contextId)
    const stored = this.#load(found)
    if (stored === null || stored.row.head.version === 0) return null
    return { stored, streams: this.#tables.records(found.number!) }
  }

  /** Puts a context in place of what is there; needs a transaction that may write. */
  restore(batch: RestoreBatch): RestoreResult {
    const tables = this.#tables
    const found = tables.find(batch.contextId)
    const head = found.row?.head ?? noHead
    if (batch.base !== null && !sameHead(batch.base, head)) return { type: 'conflict', head }
    const number = tables.numberOf(found, batch.contextId)
    tables.clear(number)
    tables.setRow(number, restoredRow(batch), null)
    tables.setSnapshot(number, batch.snapshot)
    for (const stream of batch.streams) tables.addRecord(number, stream)
    tables.statements.pruneRecords.run(number, recordCutoff(batch.now, batch.sessionTtlMs))
    return { type: 'restored' }
  }

  #load({ number, row }: Found): StoredContext | null {
    if (number === null || row === null) return null
    return { row, snapshot: this.#tables.snapshot(number), entries: this.#tables.log(number, row.snapshotVersion) }
  }

  /** Writes entries, snapshot and row, and trims the log. */
  #write(number: number, row: ContextRow, found: Found, batch: CommitBatch): void {
    const tables = this.#tables
    for (const entry of batch.entries) tables.addEntry(number, entry)
    if (batch.snapshot !== null) tables.setSnapshot(number, batch.snapshot)
    const oldestAt = found.oldestAt ?? batch.entries[0]!.committedAt
    if (!mayTrim(row, oldestAt, batch.retention)) return tables.setRow(number, row, oldestAt)
    const trimmed = tables.trim(number, row, (oldest) => trimCount(row, batch.retention, oldest, entriesTrimmed(batch)))
    tables.setRow(number, trimmed.row, trimmed.oldestAt)
  }
}

/** Whether `trimCount` finds the first entry at least, so that most commits need not read the log. */
function mayTrim(row: ContextRow, oldestAt: number, { before, softSize, hardSize, maxVersions }: Retention): boolean {
  if (row.firstVersion > row.snapshotVersion) return false
  if (row.logSize > hardSize || (row.logSize > softSize && oldestAt < before)) return true
  return maxVersions > 0 && row.head.version - row.firstVersion + 1 > maxVersions
}
