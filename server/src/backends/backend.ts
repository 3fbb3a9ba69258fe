import type { Author, Head, StreamRecord, Verdict } from '@contextd/protocol'
import type { Publishing } from './publishing.ts'

/** What a store knows of a context besides its state. An absent context that was deleted keeps its revision as long as its records. */
export interface ContextRow {
  readonly head: Head
  readonly createdAt: number
  readonly updatedAt: number
  readonly updatedBy: Author
  /** Version of the stored snapshot. */
  readonly snapshotVersion: number
  /** Length of the stored snapshot, UTF-16 units. */
  readonly snapshotSize: number
  /** First version in the log; the log holds `firstVersion … head.version` without a hole (empty: `head.version + 1`). */
  readonly firstVersion: number
  /** Length of all entries of the log, UTF-16 units. */
  readonly logSize: number
  /** Length of the entries above `snapshotVersion`. */
  readonly sinceSnapshotSize: number
  /** Version of the definition that the state was last moved on to; 0: none was declared. */
  readonly schema: number
  /** Whether this life began from an archive: a head that is not in the history was replaced on purpose then. */
  readonly restored: boolean
}

/** A commit in the log: `text` is opaque to the store (see `log-entry`), and starts with `[<committedAt>,`. */
export interface LogEntry {
  readonly version: number
  readonly revision: string
  readonly baseRevision: string
  readonly committedAt: number
  readonly text: string
}

/** Place of a commit in its session's stream. */
export interface StreamPosition {
  /** Hash of user and session; names the record. */
  readonly key: string
  /** When the server minted the session, ms. */
  readonly mintedAt: number
  readonly epoch: number
  readonly seq: number
  /** Every number up to this one has left the client's outbox. */
  readonly settled: number
}

/** What a commit demands of a lock of its context. */
export interface LockDemand {
  readonly key: string
  /** Fencing token under which it must be held; null: nobody may hold it. */
  readonly token: number | null
}

/** One commit of a batch, decided on the batch's base. */
export interface BatchMember {
  /** Null: a commit of the server itself. */
  readonly stream: StreamPosition | null
  readonly verdict: Verdict
  /** What must hold of locks in the step that writes it; looked at when the head is the batch's base. */
  readonly locks?: readonly LockDemand[]
}

/** When log entries go: `trimLog` is the rule. Sizes in UTF-16 units. */
export interface Retention {
  /** Entries committed before this time may go, ms. */
  readonly before: number
  /** … while the log is larger than the state and than this. */
  readonly softSize: number
  /** Whatever their age, oldest entries go while the log is larger than this. */
  readonly hardSize: number
  /** Most versions to keep; 0: any. */
  readonly maxVersions: number
}

/** What is written for one context in one atomic step (P5, P6): all of it or nothing. */
export interface CommitBatch {
  readonly contextId: string
  /** The head that the batch was computed on; the store refuses another. */
  readonly base: Head
  /** The head afterwards; equal to `base` when no member is applied. */
  readonly head: Head
  readonly now: number
  readonly sessionTtlMs: number
  readonly members: readonly BatchMember[]
  /** The new log entries: `base.version + 1 … head.version`. None for a delete. */
  readonly entries: readonly LogEntry[]
  /** The state at `head` as JSON text, when it is time to write one (always on creation). */
  readonly snapshot: string | null
  readonly updatedBy: Author
  /** Version of the definition that the state at `head` is of; 0: none is declared. */
  readonly schema: number
  /** True: the context is deleted; state and log go, the records stay, `head` is the absent head. */
  readonly remove: boolean
  readonly retention: Retention
  /** Frame for the context's subscribers, as JSON text of the Socket.IO event's arguments (`["d",…]` or `["h",…]`); null: nothing to tell. */
  readonly message: string | null
}

/** Why a member stopped its batch, and what the store knows of its stream. */
export type StreamAnswer =
  | { readonly type: 'expired' }
  | { readonly type: 'fenced' }
  | { readonly type: 'gap' }
  | { readonly type: 'repeat'; readonly verdict: Verdict }

/** Why a member stopped its batch: its stream, or a lock that is not as it demands. */
export type MemberAnswer = StreamAnswer | { readonly type: 'locked'; readonly key: string }

/** What came of a batch. In all cases but `committed` nothing was written. */
export type CommitResult =
  | { readonly type: 'committed' }
  /** Members that are no new commit of their stream, or whose locks are not as they demand, by index; the others are to be computed again. */
  | { readonly type: 'members'; readonly answers: readonly { readonly member: number; readonly answer: MemberAnswer }[] }
  /** The head is not `base`. `missed` leads there from `base`; null: the log does not reach back, load again. */
  | { readonly type: 'conflict'; readonly head: Head; readonly missed: readonly LogEntry[] | null }

/** A context as stored: the state at `row.snapshotVersion` and the entries above it. */
export interface StoredContext {
  readonly row: ContextRow
  /** JSON text; null when absent. */
  readonly snapshot: string | null
  readonly entries: readonly LogEntry[]
}

/** Where the asking client's stream stands (P10, P11). */
export interface SyncStream {
  readonly key: string
  readonly mintedAt: number
  readonly epoch: number
  readonly told: number
  readonly settled: number
}
/** What a sync asks for in one atomic step. */
export interface SyncQuery {
  readonly contextId: string
  /** Where the client stands; null: it has nothing. */
  readonly head: Head | null
  readonly stream: SyncStream
  /** Version and revision that the node has in memory, so that a full answer need not be read from the store; null: none. */
  readonly known: Head | null
  readonly now: number
  readonly sessionTtlMs: number
  /** Most versions that a delta answer may span; 0: any. */
  readonly maxVersions: number
}
/** What a sync found, as of one moment. */
export type SyncResult =
  | { readonly type: 'expired' }
  | {
      readonly type: 'found'
      readonly row: ContextRow | null
      readonly record: StreamRecord
      /** The record as it was, when this step raised its epoch. */
      readonly before: StreamRecord | null
      readonly rolledBack: boolean
      /**
       * What leads to `row.head`: nothing (`same`; also when absent), the entries after the client's head (`since`, the smaller way),
       * the entries after `known` (`known`), or the stored context (`stored`).
       */
      readonly way: 'same' | 'since' | 'known' | 'stored'
      readonly entries: readonly LogEntry[]
      readonly snapshot: string | null
    }

/** A stream's record, as an archive keeps it. */
export interface StoredStream extends StreamRecord {
  readonly key: string
  /** Last use, ms. */
  readonly usedAt: number
}
/** All there is of a context, as of one moment. */
export interface ContextDump {
  readonly stored: StoredContext
  /** By key, in code-unit order. */
  readonly streams: readonly StoredStream[]
}

/** A context that is put in place of what is there, in one atomic step (P13): the log goes; of two records of one stream the newer stays. */
export interface RestoreBatch {
  readonly contextId: string
  /** The head that must be there; null: any. */
  readonly base: Head | null
  /** The head afterwards: not an absent one. */
  readonly head: Head
  readonly now: number
  readonly sessionTtlMs: number
  readonly createdAt: number
  readonly updatedAt: number
  readonly updatedBy: Author
  readonly schema: number
  /** The state at `head` as JSON text. */
  readonly snapshot: string
  /** Records of streams: each takes the place of none, or of an older one (a lower epoch, or a lower last number in the same one). */
  readonly streams: readonly StoredStream[]
  /** Frame for the context's subscribers; null: nothing to tell. */
  readonly message: string | null
}
/** What came of a restore. */
export type RestoreResult = { readonly type: 'restored' } | { readonly type: 'conflict'; readonly head: Head }

/** What asks for a lock, or for more time. */
export interface LockRequest {
  readonly contextId: string
  readonly key: string
  /** Names this hold, and nothing else: random. The same request given twice is one hold. */
  readonly hold: string
  readonly holder: Author
  /** Length of the lease from now on, ms. */
  readonly ttlMs: number
  /** True: only a hold that is still there gets more time. */
  readonly extend: boolean
  /** Time of the node, ms. A store with a clock of its own uses that one for leases, and this one for tokens. */
  readonly now: number
}
/** A lock that is held. */
export interface HeldLock {
  readonly key: string
  /** Grows with each new hold of any key of the context: the last one + 1, or `now` if that is more, so that it grows also when the last one is forgotten. */
  readonly token: number
  readonly holder: Author
  /** When the hold began, ms. */
  readonly since: number
  /** How long its lease still lasts, ms. */
  readonly remainingMs: number
}
/** What came of a request for a lock. */
export type LockResult =
  | { readonly type: 'held'; readonly lock: HeldLock }
  /** Another holds it; null: nobody, and the hold that was to be extended is over. */
  | { readonly type: 'locked'; readonly by: HeldLock | null }

/** A context that nobody has used for long. */
export interface StaleContext {
  readonly contextId: string
  readonly head: Head
  /** Number of entries in its log. */
  readonly logged: number
}
/** Which contexts' logs to look at. */
export interface PrunableQuery {
  /** Logs with entries committed before this time, ms; 0: of any age. */
  readonly before: number
  /** Logs with more entries than this; 0: of any length. */
  readonly maxVersions: number
  readonly limit: number
}
/** Prunes a context's log, in one atomic step. */
export interface PruneBatch {
  readonly contextId: string
  /** The head that must be there. */
  readonly base: Head
  /** The state at `base` as JSON text, written as the snapshot first; null: there is one of that version. */
  readonly snapshot: string | null
  /** Entries committed before this time go, ms; 0: none for their age. */
  readonly before: number
  /** Most entries that stay; 0: any. */
  readonly maxVersions: number
}

/** What `list` says of a context. */
export interface ListedContext {
  readonly contextId: string
  readonly version: number
  readonly revision: string
  readonly createdAt: number
  readonly updatedAt: number
}
/** Options of `list`. */
export interface ListQuery {
  /** Most contexts; 0: all. */
  readonly limit: number
  readonly offset: number
  readonly order: 'asc' | 'desc'
  readonly prefix: string
  /** Only contexts changed at this time or later, ms; 0: all. */
  readonly updatedSince: number
}

/** Who opens a store. */
export interface StoreUser {
  /** What all processes that share the store must agree on, by name of the option. */
  readonly settings: Readonly<Record<string, number>>
  /** Takes what is doubtful about the store, but does not keep it from being used. */
  warn(details: object, message: string): void
}

/** A key of the store that other programs read: it holds a copy of what a source fetched. */
export interface MaterializedKey {
  readonly key: string
  readonly type: 'list' | 'hash' | 'set' | 'string'
  /** What it holds, in order: of a hash field and value in turn; of a string its parts. None: the key is not there. */
  readonly values: Iterable<string>
}
/** Keys of the store beside contexts, for other programs. */
export interface MaterializedKeys {
  /** Why a key cannot be one of them: it is one of the store's own; null: it can. */
  refusal(key: string): string | null
  /** Why several cannot be put in place together; null: they can. */
  refusalTogether(keys: readonly string[]): string | null
  /**
   * Puts all keys in place in one step, and none if the lock is not held with its token.
   * @returns a mark of what was put in place
   * @throws {ContextdError} `locked` · `invalid_operation` – a key holds another type than it should · `backend_unavailable`
   */
  swap(
    keys: readonly MaterializedKey[],
    fence: { readonly contextId: string; readonly key: string; readonly token: number },
  ): Promise<string>
  /**
   * Whether keys that were put in place together are all there still: not deleted, nor dropped by the store, and not those of an earlier swap.
   * @throws {ContextdError} `backend_unavailable`
   */
  stand(keys: readonly string[], mark: string): Promise<boolean>
}

/** A backend, as an application passes it on. */
export interface Backend {
  /** For logs and errors; without secrets. */
  readonly name: string
  /** Ends connections. */
  close(): Promise<void>
}

/**
 * Where contexts are kept. Invariants, checked by the contract suite in `contextd/testing`:
 * each call is one atomic step; versions of an incarnation are 1, 2, 3, … without a hole; a commit, its verdicts and its publication are
 * stored together or not at all; the same batch given twice is stored once.
 * All calls throw `ContextdError`: `backend_unavailable` when nothing was done, `timeout` with `outcome: 'unknown'` when a commit may have been.
 */
export interface ContextBackend extends Backend {
  readonly publishing: Publishing
  /** Absent: there is no way to keep copies for other programs. */
  readonly materialized?: MaterializedKeys
  /**
   * Connects and checks the store.
   * @param user none: nobody to agree with, or to warn
   * @throws {ContextdError} `backend_unavailable` – with what to do
   */
  open(user?: StoreUser): Promise<void>
  /** Decides and writes a batch (P5): see `commitStep`. */
  commit(batch: CommitBatch): Promise<CommitResult>
  /** Reads for a client (P10), and raises its epoch where its history is gone (P11): see `syncStep`. */
  sync(query: SyncQuery): Promise<SyncResult>
  /** Reads a context; null: never there, or forgotten. An absent one with a revision has a row and no snapshot. */
  load(contextId: string): Promise<StoredContext | null>
  /** Entries of the log above `after`, oldest first; fewer when the log does not reach back. */
  log(contextId: string, after: number): Promise<readonly LogEntry[]>
  /** Heads of several contexts, in their order; an unknown one is `{ incarnation: '', version: 0, revision: '' }`. */
  heads(contextIds: readonly string[]): Promise<readonly Head[]>
  /** Contexts that exist, by id in code-unit order. */
  list(query: ListQuery): Promise<readonly ListedContext[]>

  /** Takes a lock that is free, or whose lease is over; gives a hold more time. Locks are there without their context, and outlive it. */
  lock(request: LockRequest): Promise<LockResult>
  /** Ends a hold; false: it was over. */
  unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean>
  /** Locks that are held, by key in code-unit order. */
  locks(contextId: string, now: number): Promise<readonly HeldLock[]>

  /** Reads all there is of a context; null: it is absent. */
  dump(contextId: string): Promise<ContextDump | null>
  /** Puts a context in place of what is there. */
  restore(batch: RestoreBatch): Promise<RestoreResult>

  /** Notes that contexts are in use: for {@link stale} as good as a commit at that time. Unknown ids are passed over. */
  touch(contextIds: readonly string[], now: number): Promise<void>
  /** Contexts that were neither written nor touched at this time or later, ms: the oldest first, at most `limit`. */
  stale(before: number, limit: number): Promise<readonly StaleContext[]>
  /** Contexts that exist and whose log has entries as asked for, in any order, at most `limit`; when each is pruned, all are answered in the end. */
  prunable(query: PrunableQuery): Promise<readonly string[]>
  /** Drops the oldest entries of a log, none above the snapshot. Answers how many; null: the head is another. */
  prune(batch: PruneBatch): Promise<number | null>
}

/** Contexts whose ids begin so are the engine's own: they are never listed, stale or prunable. No id of a user's does. */
export const internalPrefix = '~'
export const isInternal = (contextId: string): boolean => contextId.startsWith(internalPrefix)

/** Head of a context that was never there. */
export const noHead: Head = Object.freeze({ incarnation: '', version: 0, revision: '' })
/** Whether two heads are the same version (P1). */
export const sameHead = (a: Head, b: Head): boolean =>
  a.incarnation === b.incarnation && a.version === b.version && a.revision === b.revision
