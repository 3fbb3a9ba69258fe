import { ContextdError, syncReplySchema } from '@contextd/protocol'
import type { AttachReply, DeltaFrame, HeadFrame, JsonObject, VerdictFrame } from '@contextd/protocol'
import type { ConnectionState } from './connection-states.ts'
import type { ContextStatus, SyncReport } from './handle-types.ts'
import type { Lane } from './link.ts'
import { Gate, Patience } from './pacing.ts'
import { Replica } from './replica.ts'
import type { ReplicaEvent } from './replica-event.ts'
import { createCell } from './source.ts'
import { later } from './timers.ts'
import type { Timer } from './timers.ts'
import { ReadyWaiters, SyncWaiters, reportOf } from './waiters.ts'
import { Writer } from './writer.ts'
import type { Plan, Refusal } from './writer.ts'
import type { Write } from './write.ts'

/** What a context needs of the session that it is in. */
export interface ContextHost {
  readonly lane: Lane
  /** What the server said when the session was attached; null: it is not. */
  readonly attachment: AttachReply | null
  readonly connection: ConnectionState
  /** Something is to be sent or heard. */
  need(): void
  /** The login, or the client, is no longer good. */
  refuse(error: ContextdError): void
  /** A write was refused for good. */
  refused(contextId: string, refusal: Refusal): void
  /** Something went wrong in the background. */
  failed(error: ContextdError): void
  /** The number of writes without a verdict has changed. */
  pendingChanged(by: number): void
  /** The outbox is empty: the session may be replaced, if it is due (P14). */
  drained(): void
  sessionExpired(): void
  /** Nobody has wanted the context for a while, and nothing of it is pending. */
  forget(context: OpenContext): void
}

/** Time from the last interest to leaving, and from there to forgetting, ms. */
const graceMs = 1_000
const forgetMs = 300_000

/** How a context stands that nobody has opened. */
export const nothingKnown: ContextStatus = Object.freeze({
  phase: 'loading',
  version: 0,
  revision: null,
  pending: 0,
  source: 'none',
  access: null,
  error: null,
  reset: null,
})

/** A context that somebody has opened: its replica, with the timers and the connection that it needs. */
export class OpenContext {
  readonly contextId: string
  readonly itemKey: string
  readonly state = createCell<JsonObject | undefined>(undefined)
  readonly status = createCell<ContextStatus>(nothingKnown)
  readonly #host: ContextHost
  readonly #replica: Replica
  readonly #writer: Writer
  readonly #ready = new ReadyWaiters()
  readonly #syncs: SyncWaiters
  #holders = 0
  #joined = false
  #scheduled = false
  #destroyed = false
  /** Runs from the last interest to leaving, then to forgetting. */
  #grace: Timer | null = null
  readonly #gate = new Gate()
  readonly #patience = new Patience(
    () => this.#replica.unanswered,
    () => {
      this.#replica.resync()
      this.#schedule()
    },
  )

  constructor(contextId: string, itemKey: string, host: ContextHost) {
    this.contextId = contextId
    this.itemKey = itemKey
    this.#host = host
    this.#replica = new Replica(contextId, { itemKey })
    this.#syncs = new SyncWaiters(contextId)
    this.#writer = new Writer(this.#replica, { refused: (refusal) => host.refused(contextId, refusal) })
  }

  /** Every commit has left the outbox. */
  get idle(): boolean {
    return this.#replica.idle
  }
  get version(): number {
    return this.#replica.head?.version ?? 0
  }

  // ---- for handles --------------------------------------------------------------------------------------------

  /** Says what the context reads as while it is absent; the first one that is said counts. */
  offerInitial(initial: JsonObject): void {
    if (this.#replica.offerInitial(initial)) this.reachabilityChanged()
  }

  /** Holds the context open; returns the function that ends it. */
  hold(): () => void {
    this.#holders += 1
    this.#balance()
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#holders -= 1
      this.#balance()
    }
  }

  submit<R>(plan: Plan<R>): Write<R> {
    try {
      return this.#writer.submit(plan)
    } finally {
      this.#balance()
      this.reachabilityChanged()
      this.#tell()
      this.#schedule()
    }
  }

  ready(live: boolean, signal: AbortSignal | undefined): Promise<JsonObject | undefined> {
    const promise = this.#ready.add(live, signal)
    this.#answerWaiters()
    return promise
  }

  async sync(): Promise<SyncReport> {
    const release = this.hold()
    try {
      const report = this.#syncs.add()
      this.#replica.resync()
      this.#answerWaiters()
      this.#schedule()
      return await report
    } finally {
      release()
    }
  }

  // ---- for the session ----------------------------------------------------------------------------------------

  /** The session is on a connection; `renewed`: it is another one than before. */
  attached(renewed: boolean): void {
    this.#gate.open()
    this.#gate.calm()
    if (renewed) this.#replica.renewed()
    if (this.#joined) this.#attach()
    this.#tell()
    this.#schedule()
  }
  detached(undecodable: boolean): void {
    if (undecodable) this.#replica.undecodable()
    this.#replica.detached()
    this.#tell()
  }
  /** What was written as another user is not sent as this one. */
  abandon(error: ContextdError): void {
    this.#writer.abandon(error)
    this.#replica.abandon(error)
    this.#tell()
  }
  delta(frame: DeltaFrame): void {
    this.#replica.delta(frame)
    this.#tell()
    this.#schedule()
  }
  toldHead(frame: HeadFrame): void {
    this.#replica.toldHead(frame)
    this.#schedule()
  }
  verdicts([, , epoch, outcomes]: VerdictFrame): void {
    this.#replica.outcomes(epoch, outcomes)
    this.#tell()
    this.#schedule()
  }
  denied(error: ContextdError): void {
    this.#replica.denied(error)
    this.#tell()
    this.#schedule()
  }

  /** Whether the server can be reached has changed: who waits for it is told, and what has an `initial` counts as absent. */
  reachabilityChanged(): void {
    const { connection } = this.#host
    const away = connection.name === 'reconnecting' || whyUnreachable(connection) !== null
    if (this.#joined && away) this.#replica.countAsAbsent()
    this.#tell()
  }

  /** The client is closed. */
  destroy(error: ContextdError): void {
    this.#destroyed = true
    this.#gate.open()
    this.#cancelGrace()
    this.#patience.end()
    this.#writer.close(error)
    this.#ready.fail(error)
    this.#syncs.fail(error)
  }

  // ---- interest -----------------------------------------------------------------------------------------------

  /** Joins what is wanted; leaves what has not been for a grace time. */
  #balance(): void {
    if (this.#destroyed) return
    const wanted = this.#holders > 0 || !this.#writer.idle || !this.#replica.idle
    if (wanted) {
      this.#cancelGrace()
      this.#join()
    } else if (this.#grace === null) {
      this.#grace = this.#joined ? later(() => this.#leave(), graceMs) : later(() => this.#host.forget(this), forgetMs)
    }
  }
  #join(): void {
    if (this.#joined) return
    this.#joined = true
    this.#host.need()
    if (this.#host.attachment !== null) this.#attach()
    this.#schedule()
    // What is opened while nobody can be asked learns of it now: nothing has to change any more.
    this.reachabilityChanged()
  }
  #attach(): void {
    const { actor, messageBytes } = this.#host.attachment!
    this.#replica.attached(actor, messageBytes)
  }
  #leave(): void {
    this.#grace = null
    this.#joined = false
    this.#gate.open()
    this.#host.lane.send('leave', { contextId: this.contextId })
    this.#replica.detached()
    this.#tell()
    this.#balance()
  }
  #cancelGrace(): void {
    if (this.#grace !== null) clearTimeout(this.#grace)
    this.#grace = null
  }

  // ---- sending ------------------------------------------------------------------------------------------------

  /** What one microtask has written goes as one message. */
  #schedule(): void {
    if (this.#scheduled || this.#destroyed) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      if (!this.#destroyed) this.#send()
    })
  }

  #send(): void {
    if (this.#gate.shut || this.#host.attachment === null) return
    this.#sendSync()
    const { lane } = this.#host
    const { contextId } = this
    for (let message = this.#replica.takeCommits(); message !== null; message = this.#replica.takeCommits())
      lane.send('commit', { contextId, ...message })
    // What is too long for a message comes out as refused.
    this.#tell()
    this.#patience.watch()
  }

  #sendSync(): void {
    const sync = this.#replica.takeSync()
    if (sync === null) return
    const { ticket, ...query } = sync
    const wasAbsent = query.head?.version === 0
    this.#syncs.sent(ticket)
    this.#host.lane.request('sync', { contextId: this.contextId, ...query }, syncReplySchema, (error, reply) => {
      if (this.#destroyed) return
      if (error !== null) {
        this.#replica.syncFailed(ticket, error)
        if (!error.retryable) this.#syncs.fail(error)
      } else {
        this.#gate.calm()
        this.#replica.synced(ticket, reply!)
        this.#syncs.answered(ticket, () => reportOf(reply!, this.#replica.head, wasAbsent))
      }
      this.#tell()
      this.#schedule()
    })
  }

  /** Waits before anything is sent again. */
  #held(error: ContextdError): void {
    if (error.code === 'internal') this.#host.failed(error)
    if (error.code === 'unauthenticated' || error.code === 'update_required') return this.#host.refuse(error)
    const least = error.code === 'rate_limited' ? (error as ContextdError<'rate_limited'>).details.retryAfterMs : 0
    this.#gate.hold(least, () => {
      // The server does not know the session any more on this connection.
      if (error.code === 'closed') this.#host.lane.reattach()
      this.#schedule()
    })
  }

  // ---- telling ------------------------------------------------------------------------------------------------

  #tell(): void {
    let reset: ContextStatus['reset'] = null
    let held: ContextdError | null = null
    for (const event of this.#replica.takeEvents()) {
      if (event.type === 'reset') reset = event.reason
      // The commits of a message are held together: that is one reason to wait.
      else if (event.type === 'held') held ??= event.error
      else this.#take(event)
    }
    if (held !== null) this.#held(held)
    this.#publish(reset)
    this.#answerWaiters()
    if (this.#writer.waiting > 0 && this.#replica.phase !== 'loading') {
      this.#writer.proceed()
      this.#schedule()
      this.#tell()
    }
    if (this.#replica.idle) this.#host.drained()
    this.#balance()
  }

  #take(event: ReplicaEvent): void {
    if (event.type === 'settled') {
      this.#gate.calm()
      this.#writer.settled(event)
    } else if (event.type === 'refused') this.#writer.refused(event)
    else if (event.type === 'session_expired') this.#host.sessionExpired()
  }

  #publish(reset: ContextStatus['reset']): void {
    const { phase, head, error, access, shown } = this.#replica
    const was = this.status.get()
    const now: ContextStatus = {
      phase,
      version: head?.version ?? 0,
      revision: head?.revision ?? null,
      pending: this.#writer.waiting + this.#replica.pending,
      source: head === null ? 'none' : 'server',
      access,
      error,
      reset,
    }
    const same = (Object.keys(now) as (keyof ContextStatus)[]).every((key) => now[key] === was[key] || (key === 'reset' && reset === null))
    const tellState = this.state.put(shown)
    const tellStatus = same ? null : this.status.put(now)
    if (now.pending !== was.pending) this.#host.pendingChanged(now.pending - was.pending)
    tellState()
    tellStatus?.()
  }

  #answerWaiters(): void {
    if (this.#ready.size === 0 && this.#syncs.size === 0) return
    const { phase, shown, error, upToDate } = this.#replica
    if (phase !== 'loading' && error === null) this.#ready.settle(upToDate, shown)
    const unreachable = whyUnreachable(this.#host.connection)
    const why = error ?? unreachable
    if (why !== null) this.#ready.fail(why)
    if (unreachable !== null) this.#syncs.fail(unreachable)
  }
}

/** Why nothing can be asked of the server in this state; null: it can, or will be by itself. */
function whyUnreachable(state: ConnectionState): ContextdError | null {
  switch (state.name) {
    case 'needs-auth':
    case 'update-required':
      return state.error
    case 'closed':
      return new ContextdError('closed', 'The client was destroyed.')
    case 'idle':
      return new ContextdError('offline', 'The client is disconnected. Call connect().')
    case 'offline':
      return new ContextdError('offline', 'There is no network. The client connects by itself when there is.')
    default:
      return null
  }
}
