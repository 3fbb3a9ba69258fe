import type {
  ContextInfo,
  Delta,
  Head,
  JsonObject,
  LockToken,
  Operation,
  Patch,
  Snapshot,
  SyncAnswer,
  SyncArgs,
  VerboseDelta,
} from '@contextd/protocol'
import type { User } from '../authorize.ts'
import type { Cleaned } from '../cleanup/cleaner.ts'
import type { CleanupOptions } from '../cleanup/cleanup.ts'
import type { ContextSource, SourceOptions } from '../sources/source-types.ts'
import type { Lock, LockOptions } from '../locks/lock-handle.ts'

/** State of a context as the engine reads it: declared by a definition, else JSON. Ids are any string here, since servers get them from outside. */
export type EngineState<C, Id extends string> = Id extends keyof C
  ? C[Id] extends { state: infer S extends object }
    ? S
    : never
  : JsonObject
type StateIn<C, Id extends string> = Id extends keyof C ? EngineState<C, Id> : object
type PatchIn<C, Id extends string> = Id extends keyof C ? Patch<EngineState<C, Id>> : object

/** Last argument of every write. */
export interface WriteOptions<S = object> {
  /** Commit only on this version, else `conflict`. */
  ifVersion?: number
  /** Commit only on this revision, else `conflict`. */
  ifRevision?: string
  /** Lock that the commit carries; lost in the meantime: `locked`. */
  lock?: LockToken
  /** On whose behalf: author of the commit. Default: the server. */
  user?: User
  /** An absent context is created from this, in the same commit. Default: the `initial` of its definition. */
  initial?: S
}
/**
 * Answer to a write; a write that changes nothing gives the snapshot as it is and an empty delta. Where many writes were under way at once,
 * `context.state` is made when it is first read.
 */
export interface WriteResult<S, C> {
  context: Snapshot<S>
  delta: Delta<C>
}
/** Where a caller's copy stands; a `Snapshot` is one. */
export type KnownHead = Pick<Head, 'version' | 'revision'> & Partial<Pick<Head, 'incarnation'>>
/** What to list. */
export interface ListOptions {
  /** Most contexts. Default 100. */
  limit?: number
  /** Contexts to skip. Default 0. */
  offset?: number
  /** By id, in code-unit order. Default `'asc'`. */
  order?: 'asc' | 'desc'
  /** Only ids that begin with this. */
  prefix?: string
  /** Only contexts that changed at this time or later, ms. */
  updatedSince?: number
}

/** The engine: `C` the declared contexts, `D` the changes as the chosen format shapes them. What it hands out is frozen: copy a state to change it. */
export interface Contexts<C = {}, D = VerboseDelta> {
  /** Replaces the whole state; creates the context. @throws {ContextdError} `conflict` – a condition fails · `invalid_state` – the schema refuses · `too_large` · `locked` */
  set<Id extends string>(id: Id, state: StateIn<C, Id>, options?: WriteOptions<StateIn<C, Id>>): Promise<WriteResult<EngineState<C, Id>, D>>
  /** Merges deeply (RFC 7396; null removes). @throws {ContextdError} `not_found` – absent, and no `initial` · as `set` */
  update<Id extends string>(
    id: Id,
    patch: PatchIn<C, Id>,
    options?: WriteOptions<StateIn<C, Id>>,
  ): Promise<WriteResult<EngineState<C, Id>, D>>
  /** Applies operations. @throws {ContextdError} `not_found` – absent, and no `initial` · `conflict` – a test fails or its target is gone · `invalid_operation` · as `set` */
  apply<Id extends string>(
    id: Id,
    operations: readonly Operation[],
    options?: WriteOptions<StateIn<C, Id>>,
  ): Promise<WriteResult<EngineState<C, Id>, D>>
  /**
   * Reads, changes a draft, and commits; run again on a conflict, `retries` times (default 3). `fn` is synchronous; what it throws, this throws.
   * @throws {ContextdError} `conflict` – retries used up · as `update`
   */
  transact<Id extends string, R>(
    id: Id,
    fn: (draft: EngineState<C, Id>) => R,
    ...rest: SyncArgs<R, [options?: WriteOptions<StateIn<C, Id>> & { retries?: number }]>
  ): Promise<WriteResult<EngineState<C, Id>, D> & { result: R }>
  /** Reads a context; null: absent. */
  get<Id extends string>(id: Id): Promise<Snapshot<EngineState<C, Id>> | null>
  /**
   * What is new since a version (a changed history is not seen), since a head (it is), or, with null, everything. A delta is answered whenever
   * the log and `deltaThreshold` allow it.
   * @throws {ContextdError} `not_found` · @throws {TypeError} not a whole number ≥ 0
   */
  sync<Id extends string>(id: Id, since: number | KnownHead | null): Promise<SyncAnswer<EngineState<C, Id>, D>>
  /** Deletes the context and its log; resolves when absent. @throws {ContextdError} `conflict` – a condition fails · `locked` */
  delete(id: string, options?: Omit<WriteOptions, 'initial'>): Promise<void>
  /**
   * Hands the context to the archive, as it is stored; it stays.
   * @throws {ContextdError} `not_found` · `invalid_operation` – no archive · `backend_unavailable`, `timeout` – the store's or the archive's
   */
  export<Id extends string>(id: Id): Promise<Snapshot<EngineState<C, Id>>>
  /**
   * Replaces the context by what the archive has: at its version, with a new revision, without a log. Clients and subscribers are brought there.
   * @throws {ContextdError} `not_found` – the archive has none · `invalid_operation` – no archive · `invalid_state`, `too_large` – what it has is
   * damaged · `backend_unavailable`, `timeout` – as `export`
   */
  restore<Id extends string>(id: Id): Promise<Snapshot<EngineState<C, Id>>>
  /** Contexts by id, in code-unit order; for administration: it looks at every context of the store. */
  list(options?: ListOptions): Promise<ContextInfo[]>
  /** Retained deltas, newest first; at most `limit` (default 100). @throws {ContextdError} `not_found` */
  history(id: string, options?: { limit?: number }): Promise<Delta<D>[]>
  /** The context as it was. @throws {ContextdError} `expired` – no longer in the log · `not_found` – absent, or it has no such version yet */
  at<Id extends string>(id: Id, version: number): Promise<Snapshot<EngineState<C, Id>>>
  /**
   * One delta from a version (0: nothing) to another, also to an earlier one: the net effect of what was committed in between.
   * @throws {ContextdError} `expired`, `not_found` – as `at`
   */
  between(id: string, from: number, to: number): Promise<Delta<D>>
  /**
   * Cleans up once, on this node: expires contexts (with `autoDelete`) and prunes logs, each of at most `limit` contexts, the oldest first. It goes in
   * small steps with pauses. Answers how many contexts and deltas went.
   */
  cleanup(options?: Pick<CleanupOptions, 'limit'>): Promise<Cleaned>
  /** Cleans up at an interval, on the one node that leads; when running: as `updateCleanup`. @throws {TypeError} an option is malformed */
  startCleanup(options?: CleanupOptions): void
  /** Merges options, and begins the interval anew; does nothing when stopped. @throws {TypeError} an option is malformed */
  updateCleanup(options: CleanupOptions): void
  /** Stops the interval; does nothing when stopped. */
  stopCleanup(): void
  /**
   * Calls for each commit, of other processes too; returns the function that ends it. Where commits were missed that the log no longer has,
   * one delta leads over them.
   */
  subscribe<Id extends string>(
    id: Id,
    listener: (delta: Delta<D>, snapshot: Snapshot<EngineState<C, Id>>) => void,
    options?: { onDelete?: () => void },
  ): () => void
  /**
   * Takes a lock of a context, waiting for it at most `maxRetries` × `retryDelayMs`. Its lease ends unless it is extended; a write that carries
   * it (`{ lock }`) is stored only while it is held. The context need not exist.
   * @throws {ContextdError} `locked` – held by another · `aborted` – by `signal` · `invalid_operation` – the key is none · `backend_unavailable`
   */
  lock(id: string, key: string, options?: LockOptions): Promise<Lock>
  /**
   * Keeps a context equal to a slow source: the leader of all nodes that have added it fetches at an interval, commits what changed, and keeps
   * copies for other programs. While a fetch fails the last state stays, and the pauses grow.
   * @throws {TypeError} an option is malformed, or this node has a source of the context already
   */
  addSource<P = undefined>(options: SourceOptions<P>): ContextSource
  /** Whether this node leads the cluster: sources and the cleanup run on the leader. */
  readonly leader: { readonly isLeader: boolean }
  /** Finishes commits, releases leases and locks, closes the backend. */
  close(): Promise<void>
}
