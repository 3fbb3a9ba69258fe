import type { Head } from '@contextd/protocol'
import type * as Stored from '../backends/backend.ts'
import type { Publishing } from '../backends/publishing.ts'
import { silentLogger } from '../logger.ts'
import type { Logger } from '../logger.ts'
import { StoreWatch } from './store-watch.ts'
import { StoreMeasures } from './store-measures.ts'
import type { StoreCall } from './store-measures.ts'

/** A backend whose calls are watched: the log is told when it goes away and comes back, and, from when somebody asks, calls are measured. */
export class MeasuredBackend implements Stored.ContextBackend {
  readonly name: string
  declare readonly materialized?: Stored.MaterializedKeys
  readonly #backend: Stored.ContextBackend
  readonly #logger: Logger
  /** Null: nobody reads what it would log. */
  readonly #watch: StoreWatch | null
  #measures: StoreMeasures | null = null

  constructor(backend: Stored.ContextBackend, logger: Logger) {
    this.#backend = backend
    this.#logger = logger
    this.name = backend.name
    this.#watch = logger === silentLogger ? null : new StoreWatch(logger, backend.name)
    if (backend.materialized !== undefined) this.materialized = backend.materialized
  }

  get publishing(): Publishing {
    return this.#backend.publishing
  }

  /** Measures from now on; all who ask get the same. */
  measure(): StoreMeasures {
    this.#measures ??= new StoreMeasures()
    return this.#measures
  }

  async open(user?: Stored.StoreUser): Promise<void> {
    // Whoever opens it is told why it cannot be; that is no loss of it.
    await this.#backend.open(user)
    this.#logger.debug({ store: this.name }, 'the store is open')
  }

  commit(batch: Stored.CommitBatch): Promise<Stored.CommitResult> {
    return this.#seen(
      'commit',
      () => this.#backend.commit(batch),
      (measures, result) => measures.committed(batch, result),
    )
  }

  sync(query: Stored.SyncQuery): Promise<Stored.SyncResult> {
    return this.#seen(
      'sync',
      () => this.#backend.sync(query),
      (measures, result) => measures.synced(result),
    )
  }

  load(contextId: string): Promise<Stored.StoredContext | null> {
    return this.#seen('load', () => this.#backend.load(contextId))
  }

  log(contextId: string, after: number): Promise<readonly Stored.LogEntry[]> {
    return this.#seen('log', () => this.#backend.log(contextId, after))
  }

  heads(contextIds: readonly string[]): Promise<readonly Head[]> {
    return this.#seen('heads', () => this.#backend.heads(contextIds))
  }

  list(query: Stored.ListQuery): Promise<readonly Stored.ListedContext[]> {
    return this.#seen('list', () => this.#backend.list(query))
  }

  lock(request: Stored.LockRequest): Promise<Stored.LockResult> {
    return this.#seen('lock', () => this.#backend.lock(request))
  }

  unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean> {
    return this.#seen('unlock', () => this.#backend.unlock(contextId, key, hold, now))
  }

  locks(contextId: string, now: number): Promise<readonly Stored.HeldLock[]> {
    return this.#seen('locks', () => this.#backend.locks(contextId, now))
  }

  dump(contextId: string): Promise<Stored.ContextDump | null> {
    return this.#seen('dump', () => this.#backend.dump(contextId))
  }

  restore(batch: Stored.RestoreBatch): Promise<Stored.RestoreResult> {
    return this.#seen('restore', () => this.#backend.restore(batch))
  }

  touch(contextIds: readonly string[], now: number): Promise<void> {
    return this.#seen('touch', () => this.#backend.touch(contextIds, now))
  }

  stale(before: number, limit: number): Promise<readonly Stored.StaleContext[]> {
    return this.#seen('stale', () => this.#backend.stale(before, limit))
  }

  prunable(query: Stored.PrunableQuery): Promise<readonly string[]> {
    return this.#seen('prunable', () => this.#backend.prunable(query))
  }

  prune(batch: Stored.PruneBatch): Promise<number | null> {
    return this.#seen('prune', () => this.#backend.prune(batch))
  }

  close(): Promise<void> {
    return this.#backend.close()
  }

  /** Asks the store, and sees what comes of it; who asked gets that as it is. */
  #seen<T>(call: StoreCall, ask: () => Promise<T>, count?: (measures: StoreMeasures, result: T) => void): Promise<T> {
    if (this.#measures === null && this.#watch === null) return promised(ask)
    const began = performance.now()
    const asked = promised(ask)
    asked.then(
      (result) => this.#came(call, began, result, count),
      (error: unknown) => this.#failed(call, began, error),
    )
    return asked
  }

  #came<T>(call: StoreCall, began: number, result: T, count: ((measures: StoreMeasures, result: T) => void) | undefined): void {
    this.#watch?.answered()
    this.#measures?.took(call, performance.now() - began)
    if (this.#measures === null || count === undefined) return
    try {
      count(this.#measures, result)
    } catch {
      // A store that breaks its contract is found out by who asked.
    }
  }

  #failed(call: StoreCall, began: number, error: unknown): void {
    this.#watch?.failed(error)
    this.#measures?.took(call, performance.now() - began)
    this.#measures?.failed(call, error)
  }
}

/** A store of an application may throw before it gives a promise. */
function promised<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return ask()
  } catch (error) {
    return Promise.reject(error)
  }
}
