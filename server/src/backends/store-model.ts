import type { Head } from '@contextd/protocol'
import {
  commitStep,
  entriesTrimmed,
  isNewerRecord,
  pruneCount,
  recordGraceMs,
  recordsPrunedPerStep,
  restoredRow,
  trimCount,
  withSnapshot,
} from '../commits/commit-step.ts'
import type { StoredRecord } from '../commits/commit-step.ts'
import { heldAt, lockStep } from '../locks/locks.ts'
import type { StoredLock } from '../locks/locks.ts'
import { syncStep } from '../reads/sync-step.ts'
import type { SyncView } from '../reads/sync-step.ts'
import { isInternal, noHead, sameHead } from './backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextDump,
  ContextRow,
  HeldLock,
  ListQuery,
  ListedContext,
  LockRequest,
  LockResult,
  LogEntry,
  PrunableQuery,
  PruneBatch,
  RestoreBatch,
  RestoreResult,
  StaleContext,
  StoredContext,
  SyncQuery,
  SyncResult,
} from './backend.ts'

/** All that a store holds of one context, copied out at one moment. */
export interface StoreCopy {
  readonly contextId: string
  /** Null: never there, or forgotten. */
  readonly row: ContextRow | null
  readonly snapshot: string | null
  readonly log: readonly LogEntry[]
  readonly records: ReadonlyMap<string, StoredRecord>
  readonly locks: ReadonlyMap<string, StoredLock>
  /** Highest token of a lock; 0: none yet. */
  readonly lastToken: number
  /** When it was last noted to be in use, ms. */
  readonly touchedAt: number
}

/** One context in memory; `log` begins at `row.firstVersion`. */
interface Cell {
  row: ContextRow | null
  snapshot: string | null
  log: LogEntry[]
  readonly records: Map<string, StoredRecord>
  readonly locks: Map<string, StoredLock>
  lastToken: number
  touchedAt: number
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
    const outcome = commitStep(viewOf(cell, batch.now), batch)
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
    const { result, record } = syncStep(viewOf(cell, query.now), query)
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
      if (
        row === null ||
        isAbsent(row) ||
        isInternal(contextId) ||
        !contextId.startsWith(query.prefix) ||
        row.updatedAt < query.updatedSince
      )
        continue
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
      for (const [key, { until }] of cell.locks) if (until <= now) cell.locks.delete(key)
      if (!isAbsent(cell.row) || cell.records.size > 0 || cell.locks.size > 0 || (cell.row?.updatedAt ?? 0) >= cutoff) continue
      this.#cells.delete(contextId)
      forgotten += 1
    }
    return forgotten
  }

  /** Takes a lock, or gives a hold more time: see `ContextBackend.lock`. */
  lock(request: LockRequest): LockResult {
    const { contextId, key } = request
    const cell = this.#cells.get(contextId) ?? emptyCell()
    const { result, lock } = lockStep(cell.locks.get(key) ?? null, cell.lastToken, request)
    if (lock === null) return result
    this.#cells.set(contextId, cell)
    cell.locks.set(key, lock)
    cell.lastToken = Math.max(cell.lastToken, lock.token)
    return result
  }

  /** Ends a hold: see `ContextBackend.unlock`. */
  unlock(contextId: string, key: string, hold: string, now: number): boolean {
    const locks = this.#cells.get(contextId)?.locks
    const lock = locks?.get(key)
    if (lock?.hold !== hold) return false
    locks!.delete(key)
    return lock.until > now
  }

  /** Locks that are held: see `ContextBackend.locks`. */
  locks(contextId: string, now: number): HeldLock[] {
    const held = [...(this.#cells.get(contextId)?.locks ?? [])].flatMap(([key, lock]) => heldAt(key, lock, now) ?? [])
    return held.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** All there is of a context: see `ContextBackend.dump`. */
  dump(contextId: string): ContextDump | null {
    const stored = this.load(contextId)
    if (stored === null || isAbsent(stored.row)) return null
    const streams = [...this.#cells.get(contextId)!.records].map(([key, record]) => ({ key, ...record }))
    return { stored, streams: streams.toSorted((a, b) => (a.key < b.key ? -1 : 1)) }
  }

  /** Puts a context in place of what is there: see `ContextBackend.restore`. */
  restore(batch: RestoreBatch): RestoreResult {
    const cell = this.#cells.get(batch.contextId) ?? emptyCell()
    const head = cell.row?.head ?? noHead
    if (batch.base !== null && !sameHead(batch.base, head)) return { type: 'conflict', head }
    this.#cells.set(batch.contextId, cell)
    cell.row = restoredRow(batch)
    cell.snapshot = batch.snapshot
    cell.log = []
    for (const { key, ...record } of batch.streams) {
      const known = cell.records.get(key)
      if (!known || isNewerRecord(record, known)) keep(cell, key, record)
    }
    pruneRecords(cell, recordCutoff(batch.now, batch.sessionTtlMs))
    return { type: 'restored' }
  }

  /** Notes that contexts are in use: see `ContextBackend.touch`. */
  touch(contextIds: readonly string[], now: number): void {
    for (const contextId of contextIds) {
      const cell = this.#cells.get(contextId)
      if (cell && !isAbsent(cell.row)) cell.touchedAt = Math.max(cell.touchedAt, now)
    }
  }

  /** Contexts that nobody has used since: see `ContextBackend.stale`. */
  stale(before: number, limit: number): StaleContext[] {
    const stale: { readonly usedAt: number; readonly context: StaleContext }[] = []
    for (const [contextId, { row, log, touchedAt }] of this.#cells) {
      if (row === null || isAbsent(row) || isInternal(contextId)) continue
      const usedAt = Math.max(row.updatedAt, touchedAt)
      if (usedAt < before) stale.push({ usedAt, context: { contextId, head: row.head, logged: log.length } })
    }
    // Of many only the oldest are put in order.
    const last = stale.length > limit ? Float64Array.from(stale, ({ usedAt }) => usedAt).toSorted()[limit - 1]! : Infinity
    const oldest = stale.filter(({ usedAt }) => usedAt <= last)
    oldest.sort((a, b) => a.usedAt - b.usedAt || (a.context.contextId < b.context.contextId ? -1 : 1))
    return oldest.slice(0, limit).map(({ context }) => context)
  }

  /** Contexts whose log has entries as asked for: see `ContextBackend.prunable`. */
  prunable({ before, maxVersions, limit }: PrunableQuery): string[] {
    const found: string[] = []
    for (const [contextId, { row, log }] of this.#cells) {
      if (found.length === limit) break
      if (isAbsent(row) || isInternal(contextId) || log.length === 0) continue
      if (log[0]!.committedAt < before || (maxVersions > 0 && log.length > maxVersions)) found.push(contextId)
    }
    return found
  }

  /** Drops the oldest entries of a log: see `ContextBackend.prune`. */
  prune(batch: PruneBatch): number | null {
    const cell = this.#cells.get(batch.contextId)
    if (!cell || cell.row === null || isAbsent(cell.row) || !sameHead(cell.row.head, batch.base)) return null
    if (batch.snapshot !== null) cell.snapshot = batch.snapshot
    const row = withSnapshot(cell.row, batch.snapshot)
    const count = pruneCount(row, batch, sizes(cell.log))
    const size = cell.log.splice(0, count).reduce((sum, { text }) => sum + text.length, 0)
    cell.row = { ...row, firstVersion: row.firstVersion + count, logSize: row.logSize - size }
    return count
  }

  /** Copies out all that is held of a context, to be put back by {@link putBack}. */
  copy(contextId: string): StoreCopy {
    const { row, snapshot, log, records, locks, lastToken, touchedAt } = this.#cells.get(contextId) ?? emptyCell()
    return { contextId, row, snapshot, log: [...log], records: new Map(records), locks: new Map(locks), lastToken, touchedAt }
  }

  /** Puts a context back as it was: what a rollback of the store looks like. */
  putBack({ contextId, row, snapshot, log, records, locks, lastToken, touchedAt }: StoreCopy): void {
    this.#cells.delete(contextId)
    if (row === null && records.size === 0 && locks.size === 0 && lastToken === 0) return
    const cell: Cell = { ...emptyCell(), row, snapshot, log: [...log], locks: new Map(locks), lastToken, touchedAt }
    for (const [key, record] of records) keep(cell, key, record)
    this.#cells.set(contextId, cell)
  }
}

const emptyCell = (): Cell => ({
  row: null,
  snapshot: null,
  log: [],
  records: new Map(),
  locks: new Map(),
  lastToken: 0,
  touchedAt: 0,
  oldestUse: Number.POSITIVE_INFINITY,
})

/** The cell as `commitStep` and `syncStep` see it. */
function viewOf(cell: Cell, now: number): SyncView {
  return {
    row: cell.row,
    record: (key) => cell.records.get(key) ?? null,
    entriesAfter: (version) => (cell.row === null || version + 1 < cell.row.firstVersion ? null : after(cell, version)),
    snapshot: () => cell.snapshot,
    lockToken: (key) => heldAt(key, cell.locks.get(key) ?? null, now)?.token ?? null,
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
