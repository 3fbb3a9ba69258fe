import { pruneCount, withSnapshot } from '../../commit-step.ts'
import { sameHead } from '../backend.ts'
import type { PrunableQuery, PruneBatch, StaleContext } from '../backend.ts'
import { recordCutoff } from '../store-model.ts'
import type { Tables } from './tables.ts'

/** What is old in an open file, and its end; each call within a transaction that the caller has begun. */
export class Upkeep {
  readonly #tables: Tables

  constructor(tables: Tables) {
    this.#tables = tables
  }

  /** Needs a transaction that may write. */
  touch(contextIds: readonly string[], now: number): void {
    for (const contextId of contextIds) this.#tables.statements.touch.run(contextId, now)
  }

  stale(before: number, limit: number): StaleContext[] {
    const rows = this.#tables.statements.stale.all(before, limit) as {
      id: string
      incarnation: string
      version: number
      revision: string
      logged: number
    }[]
    return rows.map(({ id, incarnation, version, revision, logged }) => ({
      contextId: id,
      head: { incarnation, version, revision },
      logged,
    }))
  }

  prunable({ before, maxVersions, limit }: PrunableQuery): string[] {
    const { oldLogs, longLogs } = this.#tables.statements
    const old = oldLogs.all(before, limit) as { id: string }[]
    const long = maxVersions > 0 ? (longLogs.all(maxVersions, before, limit - old.length) as { id: string }[]) : []
    return [...old, ...long].map(({ id }) => id)
  }

  /** Drops the oldest entries of a log; needs a transaction that may write. */
  prune(batch: PruneBatch): number | null {
    const tables = this.#tables
    const { number, row } = tables.find(batch.contextId)
    if (number === null || row === null || row.head.version === 0 || !sameHead(row.head, batch.base)) return null
    if (batch.snapshot !== null) tables.setSnapshot(number, batch.snapshot)
    const kept = withSnapshot(row, batch.snapshot)
    const trimmed = tables.trim(number, kept, (oldest) => pruneCount(kept, batch, oldest))
    tables.setRow(number, trimmed.row, trimmed.oldestAt)
    return trimmed.dropped
  }

  /** Removes all records and locks past their time and forgets absent contexts (P14): see `StoreModel.expireRecords`. */
  expireRecords(now: number, sessionTtlMs: number): number {
    const { expireRecords, expireLocks, forget } = this.#tables.statements
    const cutoff = recordCutoff(now, sessionTtlMs)
    expireRecords.run(cutoff)
    expireLocks.run(now)
    return forget.run(cutoff).changes
  }
}
