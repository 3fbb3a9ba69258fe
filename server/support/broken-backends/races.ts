import { setImmediate as turn } from 'node:timers/promises'
import { sameHead } from '../../src/backends/backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextDump,
  PruneBatch,
  RestoreBatch,
  RestoreResult,
  StoredContext,
  SyncQuery,
  SyncResult,
} from '../../src/backends/backend.ts'
import { Broken, headOf } from './broken.ts'
import type { BrokenBackends } from './broken.ts'

/** Looks at the head, and restores a moment later whatever there is then. */
class RestoresInTwoSteps extends Broken {
  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    if (batch.base !== null && !sameHead(headOf(this.store, batch.contextId), batch.base)) return this.store.restore(batch)
    await turn()
    return this.store.restore({ ...batch, base: null })
  }
}

/** Looks at the head, and prunes a moment later whatever there is then. */
class PrunesInTwoSteps extends Broken {
  override async prune(batch: PruneBatch): Promise<number | null> {
    if (!sameHead(headOf(this.store, batch.contextId), batch.base)) return null
    await turn()
    return this.store.prune({ ...batch, base: headOf(this.store, batch.contextId) })
  }
}

/** Reads a record, and writes it a moment later with its epoch raised. */
class RaisesInTwoSteps extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const { key } = query.stream
    const before = this.store.copy(query.contextId)
    const result = this.store.sync(query)
    const raised = this.store.copy(query.contextId).records.get(key)
    if (result.type !== 'found' || result.before === null || raised === undefined) return result
    this.store.putBack(before)
    await turn()
    this.change(query.contextId, (copy) => ({ ...copy, records: new Map([...copy.records, [key, raised]]) }))
    return result
  }
}

/** Looks at locks, and writes a moment later. */
class LocksLookedAtEarlier extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const before = this.store.copy(batch.contextId)
    const result = this.store.commit(batch)
    if (result.type !== 'committed' || !batch.members.some(({ locks = [] }) => locks.length > 0)) return result
    this.store.putBack(before)
    await turn()
    return this.store.commit({ ...batch, members: batch.members.map((member) => ({ ...member, locks: [] })) })
  }
}

/** Keeps the verdicts of a batch that it does not store. */
class RecordsConflicts extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    if (result.type === 'conflict' && batch.entries.length > 0) {
      const base = headOf(this.store, batch.contextId)
      this.store.commit({ ...batch, base, head: base, entries: [], snapshot: null })
    }
    return result
  }
}

/** Reads the state, and what came after it a moment later. */
class LoadsInTwoSteps extends Broken {
  override async load(contextId: string): Promise<StoredContext | null> {
    const first = this.store.load(contextId)
    await turn()
    const second = this.store.load(contextId)
    return first && second && { ...second, snapshot: first.snapshot }
  }
}

/** Reads the records a moment after the state. */
class DumpsInTwoSteps extends Broken {
  override async dump(contextId: string): Promise<ContextDump | null> {
    const first = this.store.dump(contextId)
    await turn()
    const second = this.store.dump(contextId)
    return first && second && { ...first, streams: second.streams }
  }
}

/** Calls that look, and write a moment later. */
export const brokenRaces: BrokenBackends = {
  'a restore looks at the head before it writes': [RestoresInTwoSteps, /^P13: of restores and commits that race/],
  'a prune looks at the head before it writes': [PrunesInTwoSteps, /^a prune that races with a commit/],
  'an epoch is raised in two steps': [RaisesInTwoSteps, /^P11: a sync that raises an epoch while/],
  'a context is loaded in two steps': [LoadsInTwoSteps, /^what is read is of one moment/],
  'a dump reads state and records in two steps': [DumpsInTwoSteps, /^what is read is of one moment/],
  'locks are looked at before the write': [LocksLookedAtEarlier, /^a commit that races with the end of its lock/],
  'verdicts are recorded of what is not stored': [RecordsConflicts, /^P5: a batch that conflicts leaves no verdict/],
}
