import type { ContextInfo, Head, Limits, SyncReply } from '@contextd/protocol'
import type { User } from '../authorize.ts'
import type { ContextBackend, SyncStream } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import type { Submission } from '../commits/decide.ts'
import type { Answer } from '../commits/commit-queue.ts'
import type { Logger } from '../logger.ts'
import type { EngineMeasures } from '../metrics/engine-measures.ts'

/**
 * A submission with who asks, and where the answer goes. When a number is handed in again while it is queued, the newer request gets the
 * answer, and the older one none.
 */
export interface CommitRequest extends Omit<Submission<unknown>, 'target'> {
  readonly user: User | null
  /** Called once. It must not throw. */
  reply(answer: Answer): void
}

/** Who has a context open on this node. */
export interface Watcher {
  /**
   * JSON text of the Socket.IO event's arguments (`["d",…]`, `["h",…]`), in the order of the commits; called only for backends that do not
   * publish to sockets themselves.
   */
  frame(text: string): void
  /** The stored head: at each beacon, when the subscriber connection has come back, and when a polled backend saw another process write. */
  head(head: Head): void
}

/** What a client asks with a sync; the store answers it in one atomic step (P10, P11). */
export interface ClientSync {
  readonly contextId: string
  /** Where the client stands; null: it has nothing. */
  readonly head: Head | null
  readonly stream: SyncStream
}

/** The engine as the server's sockets and HTTP use it; {@link engineOf} finds it behind what `createContexts` made. */
export interface Engine {
  readonly backend: ContextBackend
  readonly limits: Limits
  readonly clock: Clock
  readonly logger: Logger
  readonly sessionTtlMs: number
  readonly measures: EngineMeasures
  /** Opens the backend, once; later calls await the same. @throws {ContextdError} `backend_unavailable` · `closed` */
  open(): Promise<void>
  /** Queues a commit. The reply is called exactly once, also when the engine closes. Commits of one source keep their order. */
  submit(contextId: string, request: CommitRequest): void
  /** Reads for a client, as it goes on the wire but for `access`. @throws {ContextdError} `backend_unavailable` · `closed` */
  sync(query: ClientSync): Promise<Omit<SyncReply, 'access'>>
  /** Holds a context open. Returns the end of it. */
  watch(contextId: string, watcher: Watcher): () => void
  /** Contexts by id in code-unit order. @throws {ContextdError} `backend_unavailable` · `closed` */
  list(query: { readonly prefix?: string; readonly limit?: number }): Promise<ContextInfo[]>
  /** Finishes commits, and closes the backend. */
  close(): Promise<void>
}

const engines = new WeakMap<object, Engine>()

/** Lets {@link engineOf} find the engine behind `contexts`. */
export function registerEngine(contexts: object, engine: Engine): void {
  engines.set(contexts, engine)
}

/** The engine behind what `createContexts` made. @throws {TypeError} it made something else */
export function engineOf(contexts: object): Engine {
  const engine = typeof contexts === 'object' && contexts !== null ? engines.get(contexts) : undefined
  if (engine) return engine
  throw new TypeError('The option `contexts` must be what createContexts() of this very package returned.')
}
