import { ContextdError } from '@contextd/protocol'
import { Replica } from '@contextd/client/cores'
import type { ReplicaEvent } from '@contextd/client/cores'
import { ReplicaCheck } from './replica-check.ts'
import { initialState } from './workload.ts'
import type { World } from './world.ts'

/** A commit without an answer for this long brings a sync, ms. */
const unansweredMs = 10_000
/** How long a client waits after it was told that something is held, ms. */
const pauseMs = 200

/** What the checks have to know of a write. */
export interface NewBooking {
  readonly token: string
  readonly marked: boolean
  readonly plain: boolean
  readonly remove: boolean
}

/** One context of a client: the client's own replica, what it has to wait for, and the checks after each of its inputs. */
export class SimHandle {
  readonly contextId: string
  readonly replica: Replica
  readonly #client: string
  readonly #world: World
  readonly #check: ReplicaCheck
  /** Time until which its commits stay with it: something was held. */
  #pausedUntil = 0
  /** The commit that has waited longest for its answer, and since when. */
  #unanswered: { readonly seq: number; readonly since: number } | null = null

  constructor(client: string, contextId: string, world: World, inFlight: number) {
    this.contextId = contextId
    this.replica = new Replica(contextId, { initial: initialState, inFlight })
    this.#client = client
    this.#world = world
    this.#check = new ReplicaCheck(world, contextId, this.replica, `${client}/${contextId}`)
  }

  get paused(): boolean {
    return this.#pausedUntil > this.#world.scheduler.now
  }

  /** Notes a write that was just made. */
  book({ token, marked, plain, remove }: NewBooking): void {
    const { contextId } = this
    const incarnation = this.#check.incarnationToWriteOn()
    const madeOn = this.#check.absentHead()
    const write = this.#world.book.add({ token, contextId, who: this.#client, marked, plain, incarnation, madeOn })
    if (remove) this.#check.deleted(write)
    else this.#check.wrote(write)
  }

  syncSent(): void {
    this.#check.syncSent()
  }

  /** The client has another session. */
  renewed(): void {
    this.replica.renewed()
    this.#check.renewed()
    this.#world.book.renewed(this.#client, this.contextId)
  }

  /** What was held would be held again: it is sent after a while. */
  pause(pump: () => void): void {
    this.#pausedUntil = this.#world.scheduler.now + pauseMs
    this.#world.scheduler.after(pauseMs, pump)
  }

  /** What has had no answer for long is asked for. */
  lookAfter(): void {
    const { now } = this.#world.scheduler
    const seq = this.replica.unanswered
    if (seq === null) this.#unanswered = null
    else if (this.#unanswered?.seq !== seq) this.#unanswered = { seq, since: now }
    else if (now - this.#unanswered.since >= unansweredMs) {
      this.#unanswered = null
      this.replica.resync()
    }
  }

  /** The events of the last input, checked. */
  takeEvents(): readonly ReplicaEvent[] {
    const events = this.replica.takeEvents()
    if (this.#world.trace.on) for (const event of events) this.#world.note(this.#client, event.type, this.contextId, brief(event))
    this.#check.after(events)
    return events
  }

  /** At the end, when all is quiet. */
  finish(): void {
    this.#check.finish()
  }
}

const brief = (event: ReplicaEvent): unknown =>
  'error' in event
    ? { ...event, error: event.error instanceof ContextdError ? event.error.code : String(event.error), operations: undefined }
    : event
