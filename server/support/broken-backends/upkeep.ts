import type { PrunableQuery, PruneBatch, StaleContext } from '../../src/backends/backend.ts'
import { Broken, headOf } from './broken.ts'
import type { BrokenBackend, BrokenBackends } from './broken.ts'

/** Changes what is asked for stale contexts, and what is answered. */
const staleBy = (
  ask: (before: number, limit: number) => readonly [number, number],
  answer: (found: readonly StaleContext[], backend: Broken) => readonly StaleContext[] = (same) => same,
): BrokenBackend[0] =>
  class extends Broken {
    override async stale(before: number, limit: number): Promise<readonly StaleContext[]> {
      return answer(this.store.stale(...ask(before, limit)), this)
    }
  }

const touching = (change: (backend: Broken, contextIds: readonly string[], now: number) => void): BrokenBackend[0] =>
  class extends Broken {
    override async touch(contextIds: readonly string[], now: number): Promise<void> {
      change(this, contextIds, now)
    }
  }

const prunableBy = (ask: (query: PrunableQuery) => PrunableQuery): BrokenBackend[0] =>
  class extends Broken {
    override async prunable(query: PrunableQuery): Promise<readonly string[]> {
      return this.store.prunable(ask(query))
    }
  }

const pruning = (change: (batch: PruneBatch, backend: Broken) => PruneBatch): BrokenBackend[0] =>
  class extends Broken {
    override async prune(batch: PruneBatch): Promise<number | null> {
      return this.store.prune(change(batch, this))
    }
  }

/** Prunes the entries that a prune asks for, without a look at the snapshot. */
class PrunesAboveSnapshot extends Broken {
  override async prune(batch: PruneBatch): Promise<number | null> {
    const { row } = this.store.copy(batch.contextId)
    if (row === null || row.snapshotVersion === row.head.version || batch.snapshot !== null) return this.store.prune(batch)
    const { snapshotVersion } = row
    this.change(batch.contextId, (copy) => ({ ...copy, row: { ...copy.row!, snapshotVersion: row.head.version } }))
    const count = this.store.prune(batch)
    this.change(batch.contextId, (copy) => ({ ...copy, row: { ...copy.row!, snapshotVersion } }))
    return count
  }
}

/** Answers each log once, and never again. */
class FindsOnce extends Broken {
  readonly #found = new Set<string>()
  override async prunable(query: PrunableQuery): Promise<readonly string[]> {
    const found = this.store.prunable({ ...query, limit: 1_000 }).filter((contextId) => !this.#found.has(contextId))
    for (const contextId of found) this.#found.add(contextId)
    return found.slice(0, query.limit)
  }
}

/** Counts entries, and leaves the rows of their contexts as they are. */
class PrunesWithoutSizes extends Broken {
  override async prune(batch: PruneBatch): Promise<number | null> {
    const size = this.store.copy(batch.contextId).row?.logSize ?? 0
    const count = this.store.prune(batch)
    if (count !== null) this.change(batch.contextId, (copy) => ({ ...copy, row: { ...copy.row!, logSize: size } }))
    return count
  }
}

/** Cleanup: stale contexts and long logs. */
export const brokenUpkeep: BrokenBackends = {
  'contexts are stale that were used at that very time': [
    staleBy((before, limit) => [before + 1, limit]),
    /^contexts are stale that were written/,
  ],
  'stale contexts are answered without a limit': [staleBy((before) => [before, 1_000]), /^contexts are stale that were written/],
  'the newest of stale contexts come first': [
    staleBy(
      (before, limit) => [before, limit],
      (found) => found.toReversed(),
    ),
    /^contexts are stale that were written/,
  ],
  'stale contexts come as they were written': [
    staleBy(
      (before) => [before, 1_000],
      (found) => found.toSorted((a, b) => (a.head.revision < b.head.revision ? -1 : 1)),
    ),
    /^of contexts that are stale for as long/,
  ],
  'a touch is not looked at': [touching(() => {}), /^a context that is touched/],
  'a touch at an earlier time counts': [
    touching((backend, ids, now) => {
      for (const id of ids) if (headOf(backend.store, id).version > 0) backend.change(id, (copy) => ({ ...copy, touchedAt: now }))
    }),
    /^a context that is touched/,
  ],
  'a touch changes the time of the last commit': [
    touching((backend, ids, now) => {
      for (const id of ids) backend.change(id, (copy) => ({ ...copy, row: copy.row && { ...copy.row, updatedAt: now } }))
    }),
    /^a context that is touched/,
  ],
  'a touch while a context is not there counts': [
    touching((backend, ids, now) => {
      for (const id of ids) backend.change(id, (copy) => ({ ...copy, touchedAt: Math.max(copy.touchedAt, now) }))
    }),
    /^contexts that are not there are not stale/,
  ],
  'stale contexts say nothing of their logs': [
    staleBy(
      (before, limit) => [before, limit],
      (found) => found.map((context) => ({ ...context, logged: 0 })),
    ),
    /^contexts are stale that were written/,
  ],
  'a prune drops entries above the snapshot': [PrunesAboveSnapshot, /^no entry above the snapshot is dropped by a prune/],
  'a prune looks at no head': [
    pruning((batch, { store }) => ({ ...batch, base: headOf(store, batch.contextId) })),
    /^a prune is done only on the head/,
  ],
  'a prune writes no snapshot': [pruning((batch) => ({ ...batch, snapshot: null })), /^no entry above the snapshot is dropped by a prune/],
  'a prune drops entries of that very time': [
    pruning((batch) => ({ ...batch, before: batch.before === 0 ? 0 : batch.before + 1 })),
    /^a prune drops entries that are old/,
  ],
  'a prune looks at no number of entries': [pruning((batch) => ({ ...batch, maxVersions: 0 })), /^a prune drops the oldest of too many/],
  'a prune leaves the sizes of a log': [PrunesWithoutSizes, /^a prune drops entries that are old/],
  'logs are found with entries of that very time': [prunableBy((query) => ({ ...query, before: query.before + 1 })), /^logs are found/],
  'logs are found of just as many entries': [
    prunableBy((query) => ({ ...query, maxVersions: query.maxVersions > 1 ? query.maxVersions - 1 : query.maxVersions })),
    /^logs are found/,
  ],
  'long logs are not found': [prunableBy((query) => ({ ...query, maxVersions: 0 })), /^logs are found/],
  'logs are found without a limit': [prunableBy((query) => ({ ...query, limit: 1_000 })), /^logs are found/],
  'a log is found once': [FindsOnce, /^a cleanup in steps reaches/],
}
