import type { Author, Head, StreamRecord, Verdict } from '@contextd/protocol'
import type { Namespace } from 'socket.io'
import type { Adapter } from 'socket.io-adapter'

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

/** One commit of a batch, decided on the batch's base. */
export interface BatchMember {
  /** Null: a commit of the server itself. */
  readonly stream: StreamPosition | null
  readonly verdict: Verdict
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

/** What came of a batch. In all cases but `committed` nothing was written. */
export type CommitResult =
  | { readonly type: 'committed' }
  /** Members that are no new commit of their stream, by index; the others are to be computed again. */
  | { readonly type: 'streams'; readonly answers: readonly { readonly member: number; readonly answer: StreamAnswer }[] }
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

/** How other processes' commits become known. */
export type Publishing =
  /** Nobody else writes here. */
  | { readonly type: 'none' }
  /** `changed` is called when another process may have written: the heads of open contexts are read then. */
  | { readonly type: 'poll'; onChange(changed: () => void): () => void }
  /** The store publishes `CommitBatch.message` to all nodes in the atomic step of the commit. */
  | StorePublishing

/** A store that is also the fan-out. */
export interface StorePublishing {
  readonly type: 'publish'
  /** Hands over what is published of a context, for listeners in this process that are no sockets. Returns the end of it. */
  subscribe(contextId: string, listener: (message: string) => void): () => void
  /** Calls when publications may have been missed: the subscribing connection was down and is back. Returns the end of it. */
  onRestored(listener: () => void): () => void
  readonly sockets: PublishedSockets
}

/** How publications reach the sockets of this node. */
export interface PublishedSockets {
  /** Makes the Socket.IO adapter of a namespace; it survives refused publishes and garbage on its channels. */
  adapter(): (namespace: Namespace) => Adapter
  /** The Socket.IO room of a context: {@link roomOf}. */
  room(contextId: string): string
  /**
   * Resolves once the store has confirmed this node's subscription to the context: after the socket has joined the room, before the sync is read.
   * @throws {ContextdError} `backend_unavailable` – the store cannot be reached
   */
  confirm(contextId: string): Promise<void>
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
  /** Connects and checks the store. @throws {ContextdError} `backend_unavailable` – with what to do */
  open(): Promise<void>
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
}

/** Socket.IO room of a context, with a Redis hash tag of its own. Never 20 characters long: Socket.IO's sharded adapter takes such a room for a socket's own. */
export function roomOf(contextId: string): string {
  const room = `{ctx:${contextId}}`
  return room.length === 20 ? `${room}.` : room
}

/** Head of a context that was never there. */
export const noHead: Head = Object.freeze({ incarnation: '', version: 0, revision: '' })
/** Whether two heads are the same version (P1). */
export const sameHead = (a: Head, b: Head): boolean =>
  a.incarnation === b.incarnation && a.version === b.version && a.revision === b.revision
