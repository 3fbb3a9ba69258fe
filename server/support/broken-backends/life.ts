import type {
  CommitBatch,
  CommitResult,
  ListQuery,
  ListedContext,
  LogEntry,
  LockRequest,
  LockResult,
  PrunableQuery,
  PruneBatch,
  RestoreBatch,
  RestoreResult,
  StoredContext,
} from '../../src/backends/backend.ts'
import { sameHead } from '../../src/backends/backend.ts'
import { setImmediate as turn } from 'node:timers/promises'
import { Broken, afterCommit, beforeCommit, headOf, onHead } from './broken.ts'
import type { BrokenBackend, BrokenBackends } from './broken.ts'

/** Changes what is answered to a batch. */
const answering = (change: (result: CommitResult, batch: CommitBatch, log: (after: number) => readonly LogEntry[]) => CommitResult) =>
  class extends Broken {
    override async commit(batch: CommitBatch): Promise<CommitResult> {
      return change(this.store.commit(batch), batch, (after) => this.store.log(batch.contextId, after))
    }
  }

/** Forgets what comes while it is at work. */
class OneAtATime extends Broken {
  #busy = false
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (this.#busy) return { type: 'committed' }
    this.#busy = true
    await turn()
    this.#busy = false
    return this.store.commit(batch)
  }
}

class LogFromIncluded extends Broken {
  override async log(contextId: string, after: number): Promise<readonly LogEntry[]> {
    return this.store.log(contextId, after - 1)
  }
}

/** Reads a context once, and again when it has written it itself. */
class ReadsItsMemory extends Broken {
  readonly #loaded = new Map<string, StoredContext | null>()
  override async load(contextId: string): Promise<StoredContext | null> {
    const loaded = this.#loaded.get(contextId) ?? this.store.load(contextId)
    this.#loaded.set(contextId, loaded)
    return loaded
  }
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    this.#loaded.delete(batch.contextId)
    return this.store.commit(batch)
  }
}

/** Remembers which contexts it has written. */
class Remembering extends Broken {
  readonly ids = new Set<string>()
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    this.ids.add(batch.contextId)
    return this.store.commit(batch)
  }
}

class ListsItsOwn extends Remembering {
  override async list(query: ListQuery): Promise<readonly ListedContext[]> {
    const own = [...this.ids].filter((id) => id.startsWith('~'))
    return [...this.store.list(query), ...own.map((contextId) => ({ contextId, version: 1, revision: '', createdAt: 0, updatedAt: 0 }))]
  }
}

class FindsEmptyLogs extends Remembering {
  override async prunable(query: PrunableQuery): Promise<readonly string[]> {
    const empty = [...this.ids].filter((id) => headOf(this.store, id).version > 0 && this.store.log(id, 0).length === 0)
    return [...this.store.prunable(query), ...empty]
  }
}

class ListsFirstForLast extends Broken {
  override async list(query: ListQuery): Promise<readonly ListedContext[]> {
    return this.store.list(query).map((listed) => ({ ...listed, updatedAt: listed.createdAt }))
  }
}

/** Keeps when a context was created over its lives. */
class CreatedOnce extends Broken {
  readonly #createdAt = new Map<string, number>()
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    const { contextId, now } = batch
    if (!this.#createdAt.has(contextId)) this.#createdAt.set(contextId, now)
    const createdAt = this.#createdAt.get(contextId)!
    if (batch.base.version === 0 && batch.entries.length > 0)
      this.change(contextId, (copy) => ({ ...copy, row: copy.row && { ...copy.row, createdAt } }))
    return result
  }
}

/** Gives a hold that is over more time, if nobody else has the lock. */
class HoldsComeBack extends Broken {
  override async lock(request: LockRequest): Promise<LockResult> {
    const { contextId, key, hold, now, ttlMs } = request
    const lock = this.store.copy(contextId).locks.get(key)
    if (lock?.hold === hold)
      this.change(contextId, (copy) => ({ ...copy, locks: new Map([...copy.locks, [key, { ...lock, until: now + ttlMs }]]) }))
    return this.store.lock(request)
  }
}

class RestoringIsUsing extends Broken {
  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    const result = this.store.restore(batch)
    this.change(batch.contextId, (copy) => ({ ...copy, touchedAt: batch.now }))
    return result
  }
}

/** Drops old entries wherever in the log they are. */
class PrunesAnywhere extends Broken {
  override async prune(batch: PruneBatch): Promise<number | null> {
    const { row, log } = this.store.copy(batch.contextId)
    if (row === null || !sameHead(row.head, batch.base) || batch.before === 0) return this.store.prune(batch)
    const kept = log.filter(({ committedAt }) => committedAt >= batch.before)
    this.change(batch.contextId, (copy) => ({ ...copy, log: kept }))
    return log.length - kept.length
  }
}

class PrunesTheLogAlone extends Broken {
  override async prune(batch: PruneBatch): Promise<number | null> {
    const { row: before } = this.store.copy(batch.contextId)
    const count = this.store.prune(batch)
    if (count !== null && before !== null)
      this.change(batch.contextId, (copy) => ({ ...copy, row: { ...copy.row!, firstVersion: before.firstVersion } }))
    return count
  }
}

const trimsAtOnce: BrokenBackend[0] = afterCommit((copy, { retention: { maxVersions } }) => {
  if (copy.row === null || maxVersions === 0) return copy
  const { firstVersion, snapshotVersion } = copy.row
  const count = Math.max(0, Math.min(copy.log.length - maxVersions, snapshotVersion - firstVersion + 1))
  return { ...copy, log: copy.log.slice(count), row: { ...copy.row, firstVersion: firstVersion + count } }
})

/** What contexts go through, and what is read of them. */
export const brokenLife: BrokenBackends = {
  'a refused member takes a version': [
    afterCommit((copy, { members }) => {
      const more = members.some(({ verdict }) => verdict.type === 'refused') ? 1 : 0
      return { ...copy, row: copy.row && { ...copy.row, head: { ...copy.row.head, version: copy.row.head.version + more } } }
    }),
    /^P6: a batch in which nothing is applied/,
  ],
  'members that are applied get their verdicts, others none': [
    beforeCommit((batch) => ({ ...batch, members: batch.members.filter(({ verdict }) => verdict.type === 'applied') })),
    /^P6: members that are refused or change nothing/,
  ],
  'a batch of the server given again is told as stored': [
    answering((result, { members }) =>
      result.type === 'conflict' && members.every(({ stream }) => stream === null) ? { type: 'committed' } : result,
    ),
    /^P7: a batch of the server given again is not stored|^writers on several handles/,
  ],
  'of contexts that are written at once one is stored': [OneAtATime, /^contexts are written side by side/],
  'a log is read from a version on, with it': [LogFromIncluded, /^the log is read from any version on/],
  'a conflict answers what came after any base of that version': [
    answering((result, { base }, log) =>
      result.type === 'conflict' && result.missed === null ? { ...result, missed: log(base.version) } : result,
    ),
    /^P5: a conflict on a base that is not in the history|^a base that has left the log/,
  ],
  'a context is created once for all its lives': [CreatedOnce, /^P12: a context that is created again/],
  'a step trims all that may go': [trimsAtOnce, /^a step drops at most 64 entries/],
  'a delete looks at no head': [
    beforeCommit((batch, store) => (batch.remove ? onHead(batch, store) : batch)),
    /^a stale context expires by a delete/,
  ],
  'what changes nothing is a use of its context': [
    afterCommit((copy, { entries, now }) => (entries.length > 0 ? copy : { ...copy, touchedAt: now })),
    /^a batch in which nothing is applied is no use/,
  ],
  'a restore is a use of its context': [RestoringIsUsing, /^a restored context was used when/],
  "the engine's own contexts are listed": [ListsItsOwn, /^the engine's own contexts/],
  'a list takes the first commit for the last': [ListsFirstForLast, /^a list says of each context/],
  'empty logs are found': [FindsEmptyLogs, /^contexts that are not there, and empty logs/],
  'old entries are pruned wherever they are': [PrunesAnywhere, /^a prune stops at the first entry that stays/],
  'a prune forgets where the log begins': [PrunesTheLogAlone, /^a pruned context is read and written on/],
  'a backend reads what it has in memory': [ReadsItsMemory, /^what one backend has stored another sees/],
  'a hold that is over comes back': [HoldsComeBack, /^the same hold after the end of its lease/],
  'a commit with a lock is refused': [
    beforeCommit((batch) => ({
      ...batch,
      members: batch.members.map((member) => ({
        ...member,
        locks: (member.locks ?? []).map(({ key, token }) => ({ key, token: token === null ? null : token + 1 })),
      })),
    })),
    /^a commit with the token of a lock that is held/,
  ],
}
