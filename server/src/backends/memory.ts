import type { Head } from '@contextd/protocol'
import type {
  CommitBatch,
  CommitResult,
  ContextBackend,
  ContextDump,
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
import type { Publishing } from './publishing.ts'
import { StoreModel } from './store-model.ts'

/** How often a process looks for absent contexts that it may forget, ms. */
const forgetEveryMs = 3_600_000

/** Keeps contexts in this process; they are gone with it. */
export function memoryBackend(): ContextBackend {
  return new MemoryBackend(new StoreModel())
}

/** A store in memory behind the interface of a backend. */
export class MemoryBackend implements ContextBackend {
  readonly name: string = 'memory'
  readonly publishing: Publishing = { type: 'none' }
  readonly #store: StoreModel
  #forgetAt = performance.now() + forgetEveryMs

  constructor(store: StoreModel) {
    this.#store = store
  }

  async open(): Promise<void> {}

  async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.#store.commit(batch)
    if (performance.now() >= this.#forgetAt) this.#forget(batch.now, batch.sessionTtlMs)
    return result
  }

  async sync(query: SyncQuery): Promise<SyncResult> {
    return this.#store.sync(query)
  }

  async load(contextId: string): Promise<StoredContext | null> {
    return this.#store.load(contextId)
  }

  async log(contextId: string, after: number): Promise<readonly LogEntry[]> {
    return this.#store.log(contextId, after)
  }

  async heads(contextIds: readonly string[]): Promise<readonly Head[]> {
    return this.#store.heads(contextIds)
  }

  async list(query: ListQuery): Promise<readonly ListedContext[]> {
    return this.#store.list(query)
  }

  async lock(request: LockRequest): Promise<LockResult> {
    return this.#store.lock(request)
  }

  async unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean> {
    return this.#store.unlock(contextId, key, hold, now)
  }

  async locks(contextId: string, now: number): Promise<readonly HeldLock[]> {
    return this.#store.locks(contextId, now)
  }

  async dump(contextId: string): Promise<ContextDump | null> {
    return this.#store.dump(contextId)
  }

  async restore(batch: RestoreBatch): Promise<RestoreResult> {
    return this.#store.restore(batch)
  }

  async touch(contextIds: readonly string[], now: number): Promise<void> {
    this.#store.touch(contextIds, now)
  }

  async stale(before: number, limit: number): Promise<readonly StaleContext[]> {
    return this.#store.stale(before, limit)
  }

  async prunable(query: PrunableQuery): Promise<readonly string[]> {
    return this.#store.prunable(query)
  }

  async prune(batch: PruneBatch): Promise<number | null> {
    return this.#store.prune(batch)
  }

  async close(): Promise<void> {}

  #forget(now: number, sessionTtlMs: number): void {
    this.#forgetAt = performance.now() + forgetEveryMs
    this.#store.expireRecords(now, sessionTtlMs)
  }
}
