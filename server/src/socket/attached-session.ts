import type { Head, Outcome } from '@contextd/protocol'
import { actorOf, mintedAt, streamKeyOf } from '../session.ts'
import { TokenBucket } from './token-bucket.ts'
import type { ToldHead } from './told-head.ts'

/** From this number of streams on the idle ones are forgotten. */
const manyStreams = 1_000

/** A verdict that the room's delta tells, as long as that delta has not come by. */
interface Untold {
  readonly seq: number
  readonly epoch: number
  readonly head: Head
  readonly outcome: Outcome
}

/** A context that a session has open. */
export class OpenContext {
  /** Syncs that are not answered yet. */
  syncing = 0
  /** The socket is in the room: what is committed from now on comes as deltas. */
  joined = false
  /** The session has left, or was made to. */
  left = false
  #untold: Untold[] = []

  /** Leaves a verdict to the room's delta. Where commits and their publication travel on two connections, it may still be on its way. */
  leaveToDelta(untold: Untold, told: ToldHead | undefined): void {
    if (this.#untold.length > 0) this.#untold = this.#untold.filter(({ head }) => !told?.covers(head))
    if (!told?.covers(untold.head)) this.#untold.push(untold)
  }

  /** The verdicts whose deltas have not come by; they will not be told by these any more. */
  takeUntold(told: ToldHead | undefined): Untold[] {
    const untold = this.#untold.filter(({ head }) => !told?.covers(head))
    this.#untold = []
    return untold
  }
}

/** A session's commits to one context: what is unanswered, and what was held. */
export class Stream {
  /** Unanswered numbers, each with the commit that is to be answered: its newest sending. */
  readonly inFlight = new Map<number, object>()
  /** Frames wait here for the application's `authorize`, so that none overtakes another. */
  turn: Promise<void> | null = null
  /** From this number on commits were held: later ones must not overtake them. */
  held: { readonly from: number; readonly until: number; readonly error: unknown } | null = null

  /** Nothing about it needs to be remembered. */
  isIdle(now: number): boolean {
    return this.inFlight.size === 0 && this.turn === null && (this.held === null || this.held.until <= now)
  }
}

/** A session on the connection that it is attached to. */
export class AttachedSession {
  readonly id: string
  readonly actor: string
  readonly streamKey: string
  readonly mintedAt: number
  readonly contexts = new Map<string, OpenContext>()
  readonly streams = new Map<string, Stream>()
  readonly commits: TokenBucket
  #manyStreams = manyStreams

  constructor(id: string, userId: string | null, commitsPerSecond: number) {
    this.id = id
    this.actor = actorOf(userId, id)
    this.streamKey = streamKeyOf(userId, id)
    this.mintedAt = mintedAt(id) ?? 0
    this.commits = new TokenBucket(commitsPerSecond, performance.now())
  }

  stream(contextId: string): Stream {
    const found = this.streams.get(contextId)
    if (found) return found
    if (this.streams.size >= this.#manyStreams) this.#forgetIdle()
    const stream = new Stream()
    this.streams.set(contextId, stream)
    return stream
  }

  #forgetIdle(): void {
    const now = performance.now()
    for (const [contextId, stream] of this.streams) if (stream.isIdle(now)) this.streams.delete(contextId)
    this.#manyStreams = Math.max(manyStreams, 2 * this.streams.size)
  }
}
