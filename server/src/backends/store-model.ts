import type { Head } from '@contextd/protocol'
import { commitStep, entriesTrimmed, recordGraceMs, recordsPrunedPerStep, trimCount } from '../commit-step.ts'
import type { StoredRecord } from '../commit-step.ts'
import { syncStep } from '../sync-step.ts'
import type { SyncView } from '../sync-step.ts'
import { noHead } from './backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextRow,
  ListQuery,
  ListedContext,
  LogEntry,
  StoredContext,
  SyncQuery,
  SyncResult,
} from './backend.ts'

/** All that a store holds of one context, copied out at one moment. */
export interface Dump {
  readonly contextId: string
  /** Null: never there, or forgotten. */
  readonly row: ContextRow | null
  readonly snapshot: string | null
  readonly log: readonly LogEntry[]
  readonly records: ReadonlyMap<string, StoredRecord>
}

/** One context in memory; `log` begins at `row.firstVersion`. */
interface Cell {
  row: ContextRow | null
  snapshot: string | null
  log: LogEntry[]
  readonly records: Map<string, StoredRecord>
  /** No record was last used before this time, so that most steps need not look for old ones. */
  oldestUse: number
}

/** The time before which a record's last use lets it go (P14), ms. */
export const recordCutoff = (now: number, sessionTtlMs: number): number => now - sessionTtlMs - recordGraceMs

/** Whether a context that is not there may be forgotten with the last of its records (P14). */
const isAbsent = (row: ContextRow | null): boolean => row === null || row.head.version === 0

/**
 * A store in memory: synchronous, so that each call is one atomic step. The memory backend wraps it, the simulator uses it as its store, and
 * the other backends are checked against it.
 */
export class StoreModel {
  readonly #cells = new Map<string, Cell>()

  /** Decides and writes a batch: see `ContextBackend.commit`. */
  commit(batch: CommitBatch): CommitResult {
    const cell = this.#cells.get(batch.contextId) ?? emptyCell()
    const outcome = commitStep(viewOf(cell), batch)
    if (outcome.type !== 'committed') return outcome
    this.#cells.set(batch.contextId, cell)
    const trimmed = batch.entries.length > 0 ? write(cell, outcome.row, batch) : outcome.row
    cell.row = trimmed
    if (batch.remove) clear(cell)
    for (const [key, record] of outcome.records) keep(cell, key, record)
    pruneRecords(cell, recordCutoff(batch.now, batch.sessionTtlMs))
    return { type: 'committed' }
  }

  /** Reads for a client: see `ContextBackend.sync`. */
  sync(query: SyncQuery): SyncResult {
    const cell = this.#cells.get(query.contextId) ?? emptyCell()
    const { result, record } = syncStep(viewOf(cell), query)
    if (record !== null) {
      this.#cells.set(query.contextId, cell)
      keep(cell, query.stream.key, record)
    }
    return result
  }

  /** Reads a context: see `ContextBackend.load`. */
  load(contextId: string): StoredContext | null {
    const cell = this.#cells.get(contextId)
    if (!cell || cell.row === null) return null
    return { row: cell.row, snapshot: cell.snapshot, entries: after(cell, cell.row.snapshotVersion) }
  }

  /** Entries of the log above `version`, oldest first; fewer when the log does not reach back. */
  log(contextId: string, version: number): LogEntry[] {
    const cell = this.#cells.get(contextId)
    return cell ? after(cell, version) : []
  }

  /** Heads of several contexts, in their order. */
  heads(contextIds: readonly string[]): Head[] {
    return contextIds.map((contextId) => this.#cells.get(contextId)?.row?.head ?? noHead)
  }

  /** Contexts that exist, by id in code-unit order. */
  list(query: ListQuery): ListedContext[] {
    const listed: ListedContext[] = []
    for (const [contextId, { row }] of this.#cells) {
      if (row === null || isAbsent(row) || !contextId.startsWith(query.prefix) || row.updatedAt < query.updatedSince) continue
      const { head, createdAt, updatedAt } = row
      listed.push({ contextId, version: head.version, revision: head.revision, createdAt, updatedAt })
    }
    const sign = query.order === 'asc' ? 1 : -1
    listed.sort((a, b) => (a.contextId < b.contextId ? -sign : sign))
    return listed.slice(query.offset, query.limit === 0 ? undefined : query.offset + query.limit)
  }

  /**
   * Removes every record past its time, and forgets absent contexts that are as old and have none left (P14). A commit step does so for its
   * own context, a few at a time; this is for contexts that nobody writes to any more.
   * @returns how many contexts were forgotten
   */
  expireRecords(now: number, sessionTtlMs: number): number {
    const cutoff = recordCutoff(now, sessionTtlMs)
    let forgotten = 0
    for (const [contextId, cell] of this.#cells) {
      pruneRecords(cell, cutoff, Number.POSITIVE_INFINITY)
      if (!isAbsent(cell.row) || cell.records.size > 0 || (cell.row?.updatedAt ?? 0) >= cutoff) continue
      this.#cells.delete(contextId)
      forgotten += 1
    }
    return forgotten
  }

  /** Copies out all that is held of a context, to be put back by {@link restore}. */
  dump(contextId: string): Dump {
    const { row, snapshot, log, records } = this.#cells.get(contextId) ?? emptyCell()
    return { contextId, row, snapshot, log: [...log], records: new Map(records) }
  }

  /** Puts a context back as it was: what a rollback of the store looks like. */
  restore({ contextId, row, snapshot, log, records }: Dump): void {
    this.#cells.delete(contextId)
    if (row === null && records.size === 0) return
    const cell: Cell = { ...emptyCell(), row, snapshot, log: [...log] }
    for (const [key, record] of records) keep(cell, key, record)
    this.#cells.set(contextId, cell)
  }
}

const emptyCell = (): Cell => ({ row: null, snapshot: null, log: [], records: new Map(), oldestUse: Number.POSITIVE_INFINITY })

/** The cell as `commitStep` and `syncStep` see it. */
function viewOf(cell: Cell): SyncView {
  return {
    row: cell.row,
    record: (key) => cell.records.get(key) ?? null,
    entriesAfter: (version) => (cell.row === null || version + 1 < cell.row.firstVersion ? null : after(cell, version)),
    snapshot: () => cell.snapshot,
  }
}

const after = (cell: Cell, version: number): LogEntry[] =>
  cell.row === null ? [] : cell.log.slice(Math.max(0, version + 1 - cell.row.firstVersion))

/** Writes entries and snapshot, and trims the log; returns the row afterwards. */
function write(cell: Cell, row: ContextRow, batch: CommitBatch): ContextRow {
  cell.log.push(...batch.entries)
  if (batch.snapshot !== null) cell.snapshot = batch.snapshot
  const count = trimCount(row, batch.retention, sizes(cell.log), entriesTrimmed(batch))
  if (count === 0) return row
  const size = cell.log.splice(0, count).reduce((sum, { text }) => sum + text.length, 0)
  return { ...row, firstVersion: row.firstVersion + count, logSize: row.logSize - size }
}

function* sizes(log: readonly LogEntry[]): Generator<{ committedAt: number; size: number }> {
  for (const { committedAt, text } of log) yield { committedAt, size: text.length }
}

function clear(cell: Cell): void {
  cell.log = []
  cell.snapshot = null
}

function keep(cell: Cell, key: string, record: StoredRecord): void {
  cell.records.set(key, record)
  cell.oldestUse = Math.min(cell.oldestUse, record.usedAt)
}

/** Removes the oldest records last used before `cutoff`, by time and then key, at most `most` of them. */
function pruneRecords(cell: Cell, cutoff: number, most = recordsPrunedPerStep): void {
  if (cell.oldestUse >= cutoff) return
  const byUse = [...cell.records].toSorted(([keyA, a], [keyB, b]) => a.usedAt - b.usedAt || (keyA < keyB ? -1 : 1))
  const old = byUse.slice(0, most).filter(([, { usedAt }]) => usedAt < cutoff)
  for (const [key] of old) cell.records.delete(key)
  cell.oldestUse = byUse[old.length]?.[1].usedAt ?? Number.POSITIVE_INFINITY
}
