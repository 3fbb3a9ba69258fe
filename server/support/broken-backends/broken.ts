import type { Head } from '@contextd/protocol'
import { noHead } from '../../src/backends/backend.ts'
import type { CommitBatch, CommitResult, ContextBackend, SyncQuery, SyncResult } from '../../src/backends/backend.ts'
import { MemoryBackend } from '../../src/backends/memory.ts'
import type { StoreCopy, StoreModel } from '../../src/backends/store-model.ts'
import type { StoredRecord } from '../../src/commits/commit-step.ts'

/** A memory backend that can be broken in one place. */
export class Broken extends MemoryBackend {
  readonly store: StoreModel
  constructor(store: StoreModel) {
    super(store)
    this.store = store
  }

  /** Changes what is stored of a context. */
  change(contextId: string, change: (copy: StoreCopy) => StoreCopy): void {
    this.store.putBack(change(this.store.copy(contextId)))
  }
}

/** What is broken: a backend on a store that may have others, and the fact of the contract that does not hold of it. */
export type BrokenBackend = readonly [new (store: StoreModel) => ContextBackend, RegExp]
export type BrokenBackends = Readonly<Record<string, BrokenBackend>>

/** Changes what is stored of a batch's context after each stored batch. */
export const afterCommit = (change: (copy: StoreCopy, batch: CommitBatch, before: StoreCopy) => StoreCopy) =>
  class extends Broken {
    override async commit(batch: CommitBatch): Promise<CommitResult> {
      const before = this.store.copy(batch.contextId)
      const result = this.store.commit(batch)
      if (result.type === 'committed') this.change(batch.contextId, (copy) => change(copy, batch, before))
      return result
    }
  }

/** Changes batches before they are looked at. */
export const beforeCommit = (change: (batch: CommitBatch, store: StoreModel) => CommitBatch) =>
  class extends Broken {
    override async commit(batch: CommitBatch): Promise<CommitResult> {
      return this.store.commit(change(batch, this.store))
    }
  }

/** Changes queries before, and results after a sync. */
export const aroundSync = (query: (query: SyncQuery) => SyncQuery, result: (result: SyncResult) => SyncResult = (same) => same) =>
  class extends Broken {
    override async sync(asked: SyncQuery): Promise<SyncResult> {
      return result(this.store.sync(query(asked)))
    }
  }

/** Changes or, by null, removes records. */
export const eachRecord = (
  records: StoreCopy['records'],
  change: (record: StoredRecord, key: string) => StoredRecord | null,
): StoreCopy['records'] =>
  new Map([...records].flatMap(([key, record]) => ((changed) => (changed ? [[key, changed] as const] : []))(change(record, key))))

/** Head of a context as stored. */
export const headOf = (store: StoreModel, contextId: string): Head => store.heads([contextId])[0] ?? noHead
/** The batch on whatever head there is. */
export const onHead = (batch: CommitBatch, store: StoreModel): CommitBatch => ({ ...batch, base: headOf(store, batch.contextId) })
