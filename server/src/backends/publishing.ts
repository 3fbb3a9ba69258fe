import type { Namespace } from 'socket.io'
import type { Adapter } from 'socket.io-adapter'

/** How other processes' commits become known. */
export type Publishing =
  /** Nobody else writes here. */
  | { readonly type: 'none' }
  /** Another process may write, and nobody says so: the head of each open context is read once in this time, ms. */
  | { readonly type: 'beacon'; readonly intervalMs: number }
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

/** Socket.IO room of a context, with a Redis hash tag of its own. Never 20 characters long: Socket.IO's sharded adapter takes such a room for a socket's own. */
export function roomOf(contextId: string): string {
  const room = `{ctx:${contextId}}`
  return room.length === 20 ? `${room}.` : room
}
