import type { ContextdError, Patch, SyncArgs, WholeState } from '@contextd/protocol'
import type { At, UpdateOptions } from './ref-types.ts'
import type { Source } from './source.ts'
import type { Write } from './write.ts'

/** What a transaction reads and writes through; what is read through it must still hold when the server commits, so read the narrowest place. */
export interface Transaction<S> extends At<S, void> {
  readonly version: number
  get(): S
  set(state: WholeState<S>): void
  update(patch: Patch<S>): void
  update<R>(recipe: (draft: S) => R, ...rest: SyncArgs<R>): void
}
/** Options of a transaction. */
export interface TransactionOptions {
  /** Runs after a conflict. Default 3; 0 with `ifVersion`. */
  retries?: number
  /** Commit only on this version, else `conflict`. */
  ifVersion?: number
}

/** How a context stands. */
export interface ContextStatus {
  phase: 'loading' | 'absent' | 'live' | 'stale' | 'denied' | 'deleted' | 'error'
  version: number
  /** Null before the first state. */
  revision: string | null
  /** Writes without a verdict. */
  pending: number
  source: 'none' | 'ssr' | 'cache' | 'server'
  /** Null before the server has said. */
  access: 'read' | 'write' | null
  error: ContextdError | null
  /** Why the server's history is not the one that was shown; told once. */
  reset: null | 'recreated' | 'rolled_back' | 'restored' | 'expired'
}
/** What a sync moved. */
export interface SyncReport {
  type: 'full_context' | 'delta' | 'no_change'
  version: number
  revision: string
  /** Length of the answer as JSON. */
  bytes: number
  /** Commits in it. */
  deltas: number
}

/** How a part of a state is watched. */
export interface WatchOptions<T> {
  /** Default `Object.is`. */
  equals?: (a: T, b: T) => boolean
  /** Calls at once, too. Default false. */
  immediate?: boolean
}

/**
 * One context. All handles of an id share a replica; it is inert until the first subscribe, ready, sync or write. Its methods survive
 * destructuring. `P` and `E` are the types of its presence and its events.
 */
export interface ContextHandle<S extends object, P extends object = Record<string, never>, E = never>
  extends Source<S | undefined>, At<S, Write> {
  readonly id: string
  /** The types of presence and events, for the compiler only; absent at run time. */
  readonly '~types'?: { readonly presence: P; readonly event: E }
  /**
   * The first state of any source; with `live` the state after the first sync. The context stays open then until `leave()`.
   * @throws {ContextdError} `forbidden` · `offline` · `aborted`
   */
  ready(options?: { live?: boolean; signal?: AbortSignal }): Promise<S | undefined>
  subscribe(listener: (state: S | undefined, previous: S | undefined) => void): () => void
  /** Watches a part; the selector is not called while there is no state, and the part is undefined then. `equals` defaults to `Object.is`, `immediate` to false. */
  subscribe<T>(
    selector: (state: S) => T,
    listener: (value: T | undefined, previous: T | undefined) => void,
    options?: WatchOptions<T>,
  ): () => void

  /** Replaces the whole state. The `Write` rejects with `forbidden` · `invalid_state` · `too_large` · `locked` · `not_found` – deleted meanwhile. @throws {TypeError} not JSON */
  set(state: WholeState<S>): Write
  /** Merges deeply into the shown state; lists merge by item. The `Write` rejects with `conflict` – what it edits is gone · as `set`. */
  update(patch: Patch<S>, options?: UpdateOptions): Write
  /** Changes a draft of the shown state; synchronous, its result is ignored. The `Write` rejects as above. @throws {TypeError} the recipe returns a Promise */
  update<R>(recipe: (draft: S) => R, ...rest: SyncArgs<R>): Write
  /** Reads and writes as one commit; run again when what it read has changed. The `Write` rejects with `conflict` – retries used up · `aborted` – `fn` threw (`cause`). @throws {TypeError} `fn` returns a Promise */
  transaction<R>(fn: (tx: Transaction<S>) => R, ...rest: SyncArgs<R, [options?: TransactionOptions]>): Write<R>
  /** Brings the replica to head. @throws {ContextdError} `forbidden` · `offline` · `timeout` */
  sync(): Promise<SyncReport>
  readonly status: Source<ContextStatus>
  /** Drops this handle's interest; local, and idempotent. */
  leave(): void
  /** Deletes the context for everyone. The `Write` rejects with `forbidden` · `locked`. */
  delete(): Write
}
