import { ContextdError, isContextdError, isExpiredHead, isHeldCode } from '@contextd/protocol'
import type { DeltaFrame, Head, HeadFrame, JsonObject, Operation, SyncReply, VerdictFrame, WireCommit } from '@contextd/protocol'
import { Confirmed } from './confirmed.ts'
import { Outbox, errorOf } from './outbox.ts'
import type { NewWrite, Phase, ReplicaEvent } from './replica-event.ts'
import { ShownState } from './shown-state.ts'
import { SyncTurn } from './sync-turn.ts'

/** How a replica behaves. */
export interface ReplicaOptions {
  /** Key that identifies list items. Default `id`. */
  readonly itemKey?: string
  /** What an absent context reads as, and is created from. */
  readonly initial?: JsonObject
  /** Most commits whose verdicts the server has to remember. Default 64. */
  readonly inFlight?: number
  /** Longest message, bytes; 0: any. Default 1 MiB. */
  readonly messageSize?: number
}

/** What a replica looked like when its events were taken last. */
interface Standing {
  readonly shown: JsonObject | undefined
  readonly head: Head | null
  readonly phase: Phase
  readonly pending: number
}

const defaultInFlight = 64
const defaultMessageSize = 1_048_576

/**
 * One context in one session: the confirmed state, the pending commits on top of it, and what the connection has to carry (P2–P15).
 * Pure: the caller brings messages in, takes messages and events out, and has the timers.
 */
export class Replica {
  readonly contextId: string
  #initial: JsonObject | undefined
  readonly #inFlight: number
  #messageSize: number
  readonly #outbox: Outbox
  readonly #shown: ShownState
  readonly #confirmed: Confirmed

  #access: 'read' | 'write' | null = null
  #countsAsAbsent = false
  #denied: ContextdError | null = null
  #failure: ContextdError | null = null
  /** What the server sent could not be applied; nothing was since. */
  #mistrusts = false

  readonly #turn = new SyncTurn()
  #told: Standing

  constructor(contextId: string, options: ReplicaOptions = {}) {
    const itemKey = options.itemKey ?? 'id'
    this.contextId = contextId
    this.#initial = options.initial
    this.#inFlight = options.inFlight ?? defaultInFlight
    this.#messageSize = options.messageSize ?? defaultMessageSize
    this.#outbox = new Outbox(contextId)
    this.#shown = new ShownState(this.#outbox, itemKey)
    this.#confirmed = new Confirmed(this.#outbox, this.#shown, itemKey)
    this.#told = this.#standing()
  }

  // ---- what is shown ------------------------------------------------------------------------------------------

  /** Confirmed state and pending commits; undefined: there is none, or access was denied. */
  get shown(): JsonObject | undefined {
    const { phase } = this
    return phase === 'loading' || phase === 'denied' ? undefined : (this.#shown.tip.state ?? this.#initial)
  }
  /** The confirmed head; version 0: known to be absent; null: nothing is known. */
  get head(): Head | null {
    return this.#confirmed.head
  }
  get phase(): Phase {
    if (this.#denied) return 'denied'
    if (this.#failure) return 'error'
    if (this.head === null) return this.#countsAsAbsent ? 'absent' : 'loading'
    if (this.head.version === 0) return this.#confirmed.life === '' ? 'absent' : 'deleted'
    return this.#turn.synced ? 'live' : 'stale'
  }
  /** Why the phase is `denied` or `error`. */
  get error(): ContextdError | null {
    return this.#denied ?? this.#failure
  }
  /** What an absent context is created from. */
  get initial(): JsonObject {
    return this.#initial ?? {}
  }
  /** What the server allows; null: it has not said. */
  get access(): 'read' | 'write' | null {
    return this.#access
  }
  /** Writes without a verdict. */
  get pending(): number {
    return this.#outbox.undecided
  }
  /** Every commit has left: the session may be replaced (P14). */
  get idle(): boolean {
    return this.#outbox.size === 0
  }
  /** A sync was answered on this connection, and no other is wanted. */
  get upToDate(): boolean {
    return this.#turn.upToDate
  }

  // ---- writes -------------------------------------------------------------------------------------------------

  /**
   * Shows a write and takes a number for it.
   * @throws {ContextdError} `conflict` · `invalid_operation` – it does not apply to what is shown · `offline` – there is no state yet
   */
  write(write: NewWrite): void {
    if (this.head === null && !this.#countsAsAbsent) {
      throw new ContextdError('offline', `There is no state of "${this.contextId}" yet. Write when it has come.`, {
        contextId: this.contextId,
      })
    }
    const { state, incarnation } = this.#shown.tip
    const expected = (this.head?.version ?? 0) + this.#outbox.size + 1
    const entry = this.#outbox.add(write, state === null ? '' : incarnation, write.initial ?? this.initial, expected)
    try {
      this.#shown.push(entry)
    } catch (error) {
      this.#outbox.giveBack(entry)
      throw error
    }
  }

  /** Operations of the newest commit, if it is this one and was never sent: what may be amended. */
  amendable(id: string): readonly Operation[] | undefined {
    const entry = this.#outbox.newest
    const shown = entry !== undefined && this.#shown.tip.state !== null && this.#shown.tip.state === entry.after
    return shown && entry.id === id && !entry.sent ? entry.operations : undefined
  }
  /** Gives a commit that is amendable other operations. @throws {ContextdError} they do not apply; nothing has changed */
  amend(id: string, operations: readonly Operation[]): void {
    const was = this.amendable(id)
    if (was === undefined) throw new TypeError(`write ${id} cannot be amended`)
    const entry = this.#outbox.newest!
    try {
      this.#shown.amend(entry, operations)
      entry.size = 0
    } catch (error) {
      this.#shown.amend(entry, was)
      throw error
    }
  }

  /** Takes back a commit that was never sent; its number goes as an empty commit (P3). False: it was sent, or is not there. */
  abort(id: string): boolean {
    const entry = this.#outbox.find(id)
    if (entry === undefined || entry.sent) return false
    this.#outbox.empty(entry)
    this.#shown.touch()
    return true
  }

  // ---- the connection -----------------------------------------------------------------------------------------

  /** The session is on a connection, for the first time or again: a sync comes first, then what is pending. */
  attached(actor: string, messageSize?: number): void {
    this.#confirmed.actor = actor
    if (messageSize !== undefined) this.#messageSize = messageSize
    // What was denied may be allowed by now, or to another user.
    this.#denied = null
    this.#failure = null
    this.#turn.restart(true)
  }
  /** The connection is lost. */
  detached(): void {
    this.#turn.restart(false)
  }
  /** The session was replaced (P14): what was never sent belongs to the new one, the rest comes out as refused. */
  renewed(): void {
    this.#outbox.renew()
    this.#shown.touch()
    this.detached()
  }
  /** Everything is dropped: it was another user's. What has no verdict comes out as refused. */
  abandon(error: ContextdError): void {
    for (const entry of this.#outbox.entries) if (entry.told === null) this.#outbox.refuse(entry, error)
    this.#access = null
    this.#countsAsAbsent = false
    this.#confirmed.forget()
    this.renewed()
  }
  /**
   * Number of the oldest commit that was sent and not seen since; null: none. When it stays the same for long, what was to tell of it is lost
   * (a delta, and then the history that had it), and only a `resync()` goes on.
   */
  get unanswered(): number | null {
    return this.#outbox.unanswered
  }

  /** Asks for a sync, also where nothing shows that one is needed. */
  resync(): void {
    this.#turn.wantFresh()
  }
  /** Says what an absent context reads as; false: that was said before, and counts. */
  offerInitial(initial: JsonObject): boolean {
    if (this.#initial !== undefined) return false
    this.#initial = initial
    return true
  }
  /** Nothing is known and nobody can be asked: a context with an `initial` counts as absent. */
  countAsAbsent(): void {
    this.#countsAsAbsent = this.head === null && this.#initial !== undefined
  }
  /** The server closed the connection since it could not read a message of this context (P15). */
  undecodable(): void {
    for (const entry of this.#outbox.entries) {
      if (!entry.inFlight) continue
      this.#outbox.fault(entry)
      this.#shown.touch()
      return
    }
  }

  // ---- messages in --------------------------------------------------------------------------------------------

  /** Commits of the context (P9). */
  delta(frame: DeltaFrame): void {
    // While a sync is in flight deltas wait; what comes before it is sent is in its answer.
    if (!this.#turn.keep(() => this.delta(frame)) && this.upToDate) this.#take(frame)
  }

  /** The head of the context, where it may have been missed. */
  toldHead(frame: HeadFrame): void {
    if (this.#turn.keep(() => this.toldHead(frame)) || this.#denied !== null) return
    if (!this.#confirmed.is({ incarnation: frame[1], version: frame[2], revision: frame[3] })) this.#turn.want()
  }

  /** What commits came to (P4, P8, P15). */
  outcomes(epoch: number, outcomes: VerdictFrame[3]): void {
    if (epoch !== this.#outbox.epoch) return
    this.#shown.touch()
    for (const [seq, outcome] of outcomes) {
      if (outcome.type === 'held' || (outcome.type === 'refused' && isHeldCode(outcome.code))) {
        this.#outbox.hold(seq, errorOf(outcome, this.contextId))
      } else if (outcome.type === 'gap') {
        if (this.#outbox.get(seq)?.inFlight) this.#stranded()
      } else if (outcome.type === 'fenced' || outcome.type === 'expired') {
        this.#stranded()
      } else {
        this.#outbox.tell(seq, outcome, false)
        // A version that is not ahead of mine, and in which the commit was not seen, is of another history.
        const ahead = outcome.type === 'refused' || this.#confirmed.isBehind(outcome.head)
        this.#confirmed.leaveReached()
        if (!ahead && this.#outbox.get(seq)) this.#turn.want()
      }
    }
  }

  /** The answer to a sync (P10, P11); one to another sync than the last is dropped. */
  synced(ticket: number, reply: SyncReply): void {
    if (!this.#turn.answered(ticket)) return
    if (reply.answer.type === 'expired') return this.#event({ type: 'session_expired' })
    const was = this.head
    const { life } = this.#confirmed
    try {
      if (!this.#confirmed.takeAnswer(reply.answer)) return this.#distrust(null)
    } catch (error) {
      return this.#distrust(error)
    }
    this.#denied = null
    this.#failure = null
    this.#access = reply.access
    if (was !== null && was.version > 0 && this.head?.version === 0) this.#event(endOf(this.head))
    this.#noteReset(life, reply.reset)
    this.#outbox.synced(reply.record, reply.before ?? reply.record)
    this.#shown.touch()
    this.#turn.done()
  }

  /** A sync came to nothing: held, it is wanted still; `forbidden` ends access. */
  syncFailed(ticket: number, error: ContextdError): void {
    if (!this.#turn.answered(ticket)) return
    this.#turn.failed()
    if (isHeldCode(error.code)) this.#event({ type: 'held', error })
    else if (error.code === 'forbidden') this.denied(error)
    else this.#fail(error)
  }

  /** Access to the context has ended. */
  denied(error: ContextdError): void {
    this.#denied = error
    this.#access = null
    this.#countsAsAbsent = false
    this.#confirmed.forget()
    this.#turn.stop()
    this.#event({ type: 'denied', error })
  }

  // ---- messages out -------------------------------------------------------------------------------------------

  /** The sync to send now; null: none. */
  takeSync(): { ticket: number; head: Head | null; epoch: number; told: number; settled: number } | null {
    const ticket = this.#turn.take()
    if (ticket === null) return null
    const { epoch, told, settled } = this.#outbox
    return { ticket, head: this.#mistrusts ? null : this.head, epoch, told, settled }
  }

  /** The commits to send now, as one message; null: none. */
  takeCommits(): { epoch: number; settled: number; commits: WireCommit[] } | null {
    // Where access was denied there is no sync; writes are sent all the same, so that they are refused under their numbers.
    if (!this.#turn.attached || !(this.upToDate || this.#denied)) return null
    const { epoch, settled } = this.#outbox
    const told = this.#outbox.events.length
    const commits = this.#outbox.take({ inFlight: this.#inFlight, messageSize: this.#messageSize })
    // What is too long for a message was refused.
    if (this.#outbox.events.length > told) this.#shown.touch()
    return commits && { epoch, settled, commits }
  }

  /** What has to be told since the last call. */
  takeEvents(): ReplicaEvent[] {
    const { events } = this.#outbox
    this.#outbox.events = []
    const now = this.#standing()
    const was = this.#told
    if (now.shown === was.shown && now.head === was.head && now.phase === was.phase && now.pending === was.pending) return events
    this.#told = now
    events.push({ type: 'changed' })
    return events
  }

  // ---- inside -------------------------------------------------------------------------------------------------

  #take(frame: DeltaFrame): void {
    const { life } = this.#confirmed
    try {
      if (!this.#confirmed.take(frame)) {
        this.#turn.want()
        return
      }
      this.#mistrusts = false
      this.#noteReset(life, null)
    } catch (error) {
      this.#distrust(error)
    }
  }

  /** P12: another life of the context than the one that was shown last is told. */
  #noteReset(life: string, reset: 'rolled_back' | 'restored' | null): void {
    const recreated = life !== '' && life !== this.#confirmed.life
    const reason = reset ?? (recreated ? 'recreated' : null)
    if (reason) this.#event({ type: 'reset', reason })
  }

  /** The server does not take the stream as it is: a sync tells how to go on; where there can be none, nothing can be written. */
  #stranded(): void {
    if (this.#denied === null) this.#turn.want()
    else for (const entry of this.#outbox.entries) if (entry.told === null) this.#outbox.refuse(entry, this.#denied)
  }

  /** What the server sent cannot be applied: once the whole state is asked for; when that does not help, nothing is taken any more. */
  #distrust(cause: unknown): void {
    this.#turn.want()
    if (this.#mistrusts) {
      const message = `What the server sent of "${this.contextId}" cannot be applied. Reload, with a newer version of the client if there is one.`
      this.#fail(
        new ContextdError('invalid_message', message, { contextId: this.contextId, cause: isContextdError(cause) ? cause : String(cause) }),
      )
    }
    this.#mistrusts = true
  }

  #fail(error: ContextdError): void {
    this.#failure = error
    this.#turn.stop()
  }

  #event(event: ReplicaEvent): void {
    this.#outbox.events.push(event)
  }

  #standing(): Standing {
    return { shown: this.shown, head: this.head, phase: this.phase, pending: this.pending }
  }
}

/** What is told of a context that was there, and is absent now. */
const endOf = (head: Head): ReplicaEvent => (isExpiredHead(head) ? { type: 'reset', reason: 'expired' } : { type: 'deleted' })
