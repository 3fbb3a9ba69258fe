import { pruneCount, withSnapshot } from '../../commits/commit-step.ts'
import { sameHead } from '../backend.ts'
import type { PrunableQuery, PruneBatch, StaleContext } from '../backend.ts'
import type { Tables } from './tables.ts'

/** A record's place in the order in which all are looked through. */
export interface RecordPlace {
  readonly context: number
  readonly key: string
}

/** Most records that are looked at, and contexts that are forgotten, in one transaction. */
const recordsAtOnce = 1_000
const contextsAtOnce = 500

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

  /**
   * Removes records that were last used before `cutoff` from the next ones after a place; needs a transaction that may write.
   * @returns where to go on; null: these were the last
   */
  expireRecords(after: RecordPlace, cutoff: number): RecordPlace | null {
    const { recordAfter, expireRecords } = this.#tables.statements
    const last = recordAfter.get(after.context, after.key, recordsAtOnce - 1) as RecordPlace | undefined
    const { context, key } = last ?? { context: Number.MAX_SAFE_INTEGER, key: '' }
    expireRecords.run(after.context, after.key, context, key, cutoff)
    return last ?? null
  }

  /** Removes locks whose lease is over; needs a transaction that may write. */
  expireLocks(now: number): void {
    this.#tables.statements.expireLocks.run(now)
  }

  /** Forgets absent contexts that are as old and have no record left, some at a time; needs a transaction that may write. */
  forget(cutoff: number): { readonly forgotten: number; readonly more: boolean } {
    const forgotten = this.#tables.statements.forget.run(cutoff, contextsAtOnce).changes
    return { forgotten, more: forgotten === contextsAtOnce }
  }
}
