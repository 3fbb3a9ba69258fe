import type { AttachReply, ContextdError, DeltaFrame, Decoder, HeadFrame, VerdictFrame } from '@contextd/protocol'
import type { ConnectionState } from './connection-states.ts'
import type { Source } from './source.ts'

/** What a session is told. */
export interface LaneListener {
  /** The session is on a connection; `renewed`: it is another session than before. */
  attached(reply: AttachReply, renewed: boolean): void
  /** The connection is lost. `undecodable`: the server closed it, since it could not read a message. */
  detached(undecodable: boolean): void
  delta(frame: DeltaFrame): void
  head(frame: HeadFrame): void
  verdicts(frame: VerdictFrame): void
  denied(contextId: string, error: ContextdError): void
}

/** One session's way to the server. While there is no connection, messages are dropped: who is attached again sends again what counts. */
export interface Lane {
  /** Sends a message that is not acknowledged. The session is added to it. */
  send(event: 'commit' | 'leave', message: object): void
  /** Sends a message, and hands the reply on, or why there is none: `offline` · `timeout` · what the server answered. The session is added to a `sync`. */
  request<T>(
    event: 'sync' | 'list',
    message: object,
    decoder: Decoder<T>,
    done: (error: ContextdError | null, reply: T | null) => void,
  ): void
  /** Takes a new session in place of this one. */
  renew(): void
  /** Attaches again: the server does not know the session on this connection. */
  reattach(): void
  close(): void
}

/**
 * What carries sessions to the server: a connection of one's own, or another tab's. Invariants: a lane that is attached hears all its
 * deltas, heads and verdicts in the server's order until it is detached; nothing is sent twice, and nothing after `detached`.
 */
export interface Link {
  readonly state: Source<ConnectionState>
  /** Opens a lane for one more session. */
  open(listener: LaneListener): Lane
  /** Something is to be sent or heard: connects, unless the application has disconnected. */
  need(): void
  connect(): void
  disconnect(): void
  /** The server refused what was sent since the login, or the client, is no longer good. */
  refuse(error: ContextdError): void
  destroy(): void
}
