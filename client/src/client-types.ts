import type {
  ContextdError,
  ContextId,
  ContextInfo,
  EventOf,
  Operation,
  PresenceOf,
  StateOf,
  UndeclaredContexts,
  WholeState,
} from '@contextd/protocol'
import type { ConnectionState } from './connection-states.ts'
import type { ContextHandle } from './handle-types.ts'
import type { Source } from './source.ts'
import type { Write } from './write.ts'

/**
 * Merge your contexts into this, and every client and hook knows them:
 * `declare module '@contextd/client' { interface Register { contexts: { [id: \`board:${string}\`]: { state: Board; presence: Cursor; event: Ping } } } }`
 */
export interface Register {}
/** The contexts of `Register`; when there are none, any id with JSON in it. */
export type RegisteredContexts = Register extends { contexts: infer C extends object } ? C : UndeclaredContexts
/** The handle of the contexts with this id. */
export type HandleOf<C, Id extends ContextId<C>> = ContextHandle<StateOf<C, Id>, PresenceOf<C, Id>, EventOf<C, Id>>

/** A refused write, kept to be offered again or dropped. */
export interface RejectedWrite {
  readonly id: string
  readonly contextId: string
  readonly operations: readonly Operation[]
  readonly error: ContextdError
  /** When it was refused, ms since the epoch. */
  readonly at: number
}

/** What `createClient` takes. */
export interface ClientOptions {
  /** Of the server: its origin (the path is `/contextd` then), or with the path. */
  url: string
  /** Token for the server's `authenticate`, or a function that finds one, asked again when it was refused. */
  auth?: string | (() => string | Promise<string>)
  /** Told of refused writes and background failures. */
  onError?: (error: ContextdError) => void
}

/** What a client does whatever its contexts are. */
export interface BaseClient {
  readonly connection: Source<ConnectionState>
  connect(): void
  disconnect(): void
  /** Number of writes without a verdict, in all contexts. */
  readonly pending: Source<number>
  readonly rejected: Source<readonly RejectedWrite[]>
  /** Offers a rejected write again. @throws {TypeError} no such write */
  retry(id: string): Write
  /** Drops a rejected write; does nothing when there is none. */
  discard(id: string): void
  /** Contexts that exist, by id. @throws {ContextdError} `forbidden` · `offline` */
  list(options?: { prefix?: string; limit?: number }): Promise<ContextInfo[]>
  /** Waits until no write is pending. @throws {ContextdError} `timeout` – not within `timeoutMs` */
  flush(timeoutMs?: number): Promise<void>
  /** Closes everything; handles are dead afterwards (`closed`). */
  destroy(): Promise<void>
}
/** A client that knows the contexts `C`. */
export interface Client<C = RegisteredContexts> extends BaseClient {
  /** The handle of a context; reading it creates nothing. `initial`: what an absent context reads as. @throws {TypeError} the id is malformed */
  context<Id extends ContextId<C>>(id: Id, options?: { initial?: WholeState<StateOf<C, Id>> }): HandleOf<C, Id>
  /** Loads a context before it is needed. @throws {ContextdError} `forbidden` · `offline` */
  prefetch(id: ContextId<C>): Promise<void>
}
