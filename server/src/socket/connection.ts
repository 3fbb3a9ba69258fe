import type { Outcome } from '@contextd/protocol'
import type { Socket } from 'socket.io'
import type { User } from '../authorize.ts'
import { AttachedSession, OpenContext } from './attached-session.ts'
import { closed, rateLimited, wireError } from './errors.ts'
import { ReadGate } from './read-gate.ts'
import { watchSendBuffer } from './send-buffer.ts'
import type { NodeConnection, SocketNode } from './socket-node.ts'
import { VerdictOutbox } from './verdict-outbox.ts'

/** Reads of one connection at a time: each may bring a whole state into its send buffer. */
const readsAtOnce = 4
/** Longest that a timer of Node counts, ms. */
const longestTimer = 2_147_483_647

/** One socket, with its user and 1…32 sessions (P16). */
export class Connection implements NodeConnection {
  readonly node: SocketNode
  readonly socket: Socket
  readonly user: User | null
  readonly sessions = new Map<string, AttachedSession>()
  readonly reads = new ReadGate(readsAtOnce)
  closed = false
  /** Contexts that are open here, with the number of sessions that have them open. */
  readonly #contexts = new Map<string, number>()
  readonly #verdicts: VerdictOutbox
  /** Not in its rooms, though its sessions have contexts open: it does not keep up. */
  #muted = false
  #expiry: NodeJS.Timeout | undefined

  constructor(node: SocketNode, socket: Socket, user: User | null) {
    this.node = node
    this.socket = socket
    this.user = user
    this.#verdicts = new VerdictOutbox((frame) => this.socket.emit('v', frame))
    watchSendBuffer(socket.conn, node.limits.socketBufferBytes, {
      behind: () => this.#mute(),
      drained: () => void this.#rejoin(),
      hopeless: () => this.cut(),
    })
    node.connections.add(this)
    socket.on('disconnect', () => this.#end())
    if (user?.expiresAt !== undefined) this.#expireAt(user.expiresAt)
  }

  get userId(): string | null {
    return this.user?.id ?? null
  }
  get unanswered(): boolean {
    return [...this.sessions.values()].some((session) => [...session.streams.values()].some((stream) => stream.inFlight.size > 0))
  }
  /** Whether a session is told of its own commits by the room's deltas. */
  hears(session: AttachedSession, contextId: string): boolean {
    return !this.#muted && session.contexts.get(contextId)?.joined === true
  }

  attach(id: string): AttachedSession {
    const known = this.sessions.get(id)
    if (known) return known
    const { limits, sessions } = this.node
    if (limits.sessionsPerSocket > 0 && this.sessions.size >= limits.sessionsPerSocket) throw rateLimited('sessionsPerSocket', 1_000)
    // A session is on one connection at a time: the newest (P16).
    sessions.get(id)?.detach(id)
    const session = new AttachedSession(id, this.userId, limits.commitsPerSecond)
    this.sessions.set(id, session)
    sessions.set(id, this)
    return session
  }

  detach(id: string): void {
    const session = this.sessions.get(id)
    if (!session) return
    for (const contextId of session.contexts.keys()) this.leave(session, contextId)
    this.sessions.delete(id)
    if (this.node.sessions.get(id) === this) this.node.sessions.delete(id)
    this.node.noteAnswer()
  }

  /** @throws {ContextdError} `closed` – it is not attached here */
  session(id: string): AttachedSession {
    const session = this.sessions.get(id)
    if (!session) throw closed('The session is not attached to this connection.')
    return session
  }

  /** Notes that a session wants a context. @throws {ContextdError} `rate_limited` – too many on this socket */
  open(session: AttachedSession, contextId: string): OpenContext {
    const known = session.contexts.get(contextId)
    if (known) return known
    const { contextsPerSocket } = this.node.limits
    const others = this.#contexts.get(contextId) ?? 0
    if (others === 0 && contextsPerSocket > 0 && this.#contexts.size >= contextsPerSocket) throw rateLimited('contextsPerSocket', 1_000)
    this.#contexts.set(contextId, others + 1)
    const open = new OpenContext()
    session.contexts.set(contextId, open)
    return open
  }

  /** Lets the socket into the room; one that does not keep up joins when it has caught up. */
  async join(contextId: string): Promise<void> {
    if (!this.#muted) await this.node.fanOut.join(contextId, this.socket)
  }

  leave(session: AttachedSession, contextId: string): void {
    const open = session.contexts.get(contextId)
    if (!open) return
    open.left = true
    session.contexts.delete(contextId)
    this.tellUntold(session, contextId, open)
    const others = (this.#contexts.get(contextId) ?? 1) - 1
    if (others > 0) return void this.#contexts.set(contextId, others)
    this.#contexts.delete(contextId)
    this.node.fanOut.leave(contextId, this.socket)
  }

  deny(contextId: string, error: unknown): void {
    const opened = [...this.sessions.values()].flatMap((session) => session.contexts.get(contextId) ?? [])
    for (const session of this.sessions.values()) this.leave(session, contextId)
    // Who waits for the answer to a first sync is told there.
    if (opened.some(({ joined }) => joined)) this.socket.emit('denied', [contextId, wireError(error)])
  }

  /** Tells a session what its commit came to. */
  tell(contextId: string, actor: string, epoch: number, seq: number, outcome: Outcome): void {
    if (!this.closed) this.#verdicts.tell(contextId, actor, epoch, seq, outcome)
  }

  /** Tells the verdicts that were left to deltas which have not come by. */
  tellUntold(session: AttachedSession, contextId: string, open: OpenContext): void {
    for (const { seq, epoch, outcome } of open.takeUntold(this.node.fanOut.told(contextId)))
      this.tell(contextId, session.actor, epoch, seq, outcome)
  }

  sendAway(retryAfterMs: number): void {
    for (const session of this.sessions.values()) {
      for (const [contextId, open] of session.contexts) this.tellUntold(session, contextId, open)
    }
    this.#verdicts.flush()
    this.socket.emit('bye', { retryAfterMs })
    this.cut()
  }

  /** Closes the connection when what waits is sent; nothing more is taken from it. */
  cut(): void {
    this.closed = true
    this.socket.conn.close()
  }

  /** Cuts a client off for what it sent: it is told that the server did this, so that it does not send the same again for ever. */
  reject(): void {
    if (this.closed) return
    this.closed = true
    this.node.counts.undecodable += 1
    this.socket.disconnect(true)
  }

  #mute(): void {
    this.#muted = true
    this.node.counts.slowConsumers += 1
    this.node.counts.mutedSockets += 1
    this.node.sparse.note(
      { address: this.socket.handshake.address },
      'a client does not keep up; it is sent nothing more until it has caught up',
    )
    this.reads.shut()
    for (const contextId of this.#contexts.keys()) this.node.fanOut.mute(contextId, this.socket)
  }

  /** Back in its rooms, the socket is told the heads: what it missed, its sessions sync. */
  async #rejoin(): Promise<void> {
    const contextIds = [...this.#contexts.keys()]
    const { fanOut, engine, counts } = this.node
    this.#muted = false
    counts.mutedSockets -= 1
    this.reads.open()
    try {
      await Promise.all(contextIds.map((contextId) => fanOut.join(contextId, this.socket)))
      const heads = await engine.backend.heads(contextIds)
      heads.forEach(({ incarnation, version, revision }, index) => {
        const contextId = contextIds[index]!
        if (this.#contexts.has(contextId)) this.socket.emit('h', [contextId, incarnation, version, revision])
      })
    } catch {
      // The store cannot be read now; the next beacon that can says it.
      for (const contextId of contextIds) fanOut.told(contextId)?.doubt()
    }
  }

  #expireAt(expiresAt: number): void {
    const left = expiresAt - this.node.engine.clock.now()
    this.#expiry = setTimeout(
      () => (left > longestTimer ? this.#expireAt(expiresAt) : this.sendAway(0)),
      Math.min(Math.max(left, 0), longestTimer),
    )
    this.#expiry.unref()
  }

  #end(): void {
    this.closed = true
    clearTimeout(this.#expiry)
    if (this.#muted) this.node.counts.mutedSockets -= 1
    for (const id of this.sessions.keys()) this.detach(id)
    this.reads.open()
    this.node.connections.delete(this)
    this.node.noteAnswer()
  }
}
