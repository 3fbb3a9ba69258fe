import type { Limits } from '@contextd/protocol'
import type { Socket } from 'socket.io'
import type { Access } from '../authorize.ts'
import type { Engine } from '../engine/engine.ts'
import type { Counts } from './counters.ts'
import { noCounts } from './counters.ts'
import type { FanOut } from './fan-out.ts'
import { SparseLog } from '../sparse-log.ts'

/** A connection, as the others and the server see it. */
export interface NodeConnection {
  readonly socket: Socket
  readonly userId: string | null
  /** Whether commits wait for their answers. */
  readonly unanswered: boolean
  /** Ends a session on this connection. */
  detach(session: string): void
  /** Ends the access of every session here to a context. */
  deny(contextId: string, error: unknown): void
  /** Says that the client is to connect again, and closes the connection when everything is sent. */
  sendAway(retryAfterMs: number): void
}

/** What the connections of one server share. */
export class SocketNode {
  readonly engine: Engine
  readonly limits: Limits
  readonly access: Access
  readonly fanOut: FanOut
  readonly counts: Counts
  /** For what clients cause. */
  readonly sparse: SparseLog
  readonly connections = new Set<NodeConnection>()
  /** Which connection a session is attached to. */
  readonly sessions = new Map<string, NodeConnection>()
  /** Nothing new is taken; what is in flight is answered. */
  closing = false
  #whenAnswered: (() => void)[] = []

  constructor(engine: Engine, limits: Limits, access: Access, fanOut: FanOut, counts: Counts = noCounts()) {
    this.engine = engine
    this.limits = limits
    this.access = access
    this.fanOut = fanOut
    this.counts = counts
    this.sparse = new SparseLog((details, message) => engine.logger.warn(details, message))
  }

  /** Resolves when no commit of any connection waits for its answer. */
  answered(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenAnswered.push(resolve)
      this.noteAnswer()
    })
  }

  /** A commit was answered, or its connection is gone. */
  noteAnswer(): void {
    if (this.#whenAnswered.length === 0 || [...this.connections].some((connection) => connection.unanswered)) return
    for (const resolve of this.#whenAnswered.splice(0)) resolve()
  }
}
