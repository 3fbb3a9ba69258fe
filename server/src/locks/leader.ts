import { isContextdError } from '@contextd/protocol'
import type { ContextBackend } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import { serverAuthor } from '../commits/known-context.ts'
import { Hold } from './lock-hold.ts'
import type { Logger } from '../logger.ts'

/** What an election works with. */
export interface LeaderOptions {
  readonly backend: ContextBackend
  readonly clock: Clock
  readonly logger: Logger
  /** Time after which a leader that is gone is replaced, ms. */
  readonly leaseMs: number
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
}

/** Where the nodes of a store agree: no id of a user's context begins so. */
export const clusterId = '~cluster'
const leaderKey = 'leader'
/** Longest time until a node that does not lead asks again, ms: so long a clean stop goes unnoticed by who was not told. */
const longestRetryMs = 500

/**
 * The election of one node of all that share a store, by a lease that the leader renews. It begins with the first who needs a leader.
 * A node leads as long as its own clock says that its lease lasts: so one that was stopped for a while knows that before it acts.
 */
export class Leader {
  readonly #options: LeaderOptions
  readonly #listeners = new Set<(leads: boolean) => void>()
  #hold: Hold | null = null
  /** What the listeners were told last. */
  #told = false
  #terms = 0
  #needed = 0
  /** How long the lease of who leads still lasts, as it was told, ms. */
  #takenForMs = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | null = null
  #asking: Promise<void> | null = null
  #warned = false
  #closed = false

  constructor(options: LeaderOptions) {
    this.#options = options
  }

  /** Whether this node leads right now. */
  get isLeader(): boolean {
    return this.#hold !== null && this.#hold.remainingMs > 0
  }
  /** How often this node has begun to lead. */
  get terms(): number {
    return this.#terms
  }
  /** Fencing token of this node's term: grows from term to term, of whichever node; null: it does not lead. */
  get token(): number | null {
    return this.isLeader ? this.#hold!.token : null
  }

  /** Stands for election until the returned function is called, which resolves when another node may lead. */
  need(): () => Promise<void> {
    this.#needed += 1
    if (this.#needed === 1) this.#next(0)
    let ended = false
    return async () => {
      if (ended) return
      ended = true
      this.#needed -= 1
      if (this.#needed === 0) await this.#resign()
    }
  }

  /** Asks now whether it may lead: who did may have given it up. */
  hurry(): void {
    if (this.#hold === null) this.#next(0)
  }

  /** Calls when this node begins to lead, and when it ends. Returns the end of it. */
  onChange(listener: (leads: boolean) => void): () => void {
    const own = (leads: boolean): void => listener(leads)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  /** Stands back for good; another node may lead at once. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#resign()
  }

  get #stands(): boolean {
    return this.#needed > 0 && !this.#closed
  }

  #next(inMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (!this.#stands || this.#asking !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#asking = this.#ask().finally(() => {
        this.#asking = null
        this.#next(this.#pauseMs())
      })
    }, inMs).unref()
  }

  /** Renewed at a third of the lease; and looked at when it ends. */
  #pauseMs(): number {
    const { leaseMs } = this.#options
    const third = Math.ceil(leaseMs / 3)
    if (this.#hold !== null) return Math.min(third, Math.ceil(this.#hold.remainingMs))
    const retryMs = Math.min(longestRetryMs, third) * (0.5 + Math.random() / 2)
    return Math.min(retryMs, this.#takenForMs + 1)
  }

  async #ask(): Promise<void> {
    const { backend, clock, leaseMs, open } = this.#options
    // A lease that is over is not extended: the next term has a token of its own.
    if (!this.isLeader) this.#lose()
    const hold = this.#hold ?? new Hold({ backend, clock, contextId: clusterId, key: leaderKey, holder: serverAuthor })
    this.#takenForMs = Number.POSITIVE_INFINITY
    try {
      await open()
      const result = await hold.ask(leaseMs, this.#hold !== null)
      this.#warned = false
      if (result.type === 'locked' && result.by !== null) this.#takenForMs = result.by.remainingMs
      if (result.type === 'locked') this.#lose()
      else if (this.#stands) this.#win(hold)
      else await hold.end()
    } catch (error) {
      this.#failed(error)
      if (this.#hold === null) hold.end().catch(() => {})
    }
  }

  #win(hold: Hold): void {
    this.#hold = hold
    // The lease ends by itself, whatever becomes of its renewal.
    setTimeout(() => this.#tell(), hold.remainingMs + 1).unref()
    this.#tell()
  }

  #lose(): void {
    this.#hold = null
    this.#tell()
  }

  async #resign(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#asking
    const hold = this.#hold
    if (this.#stands || hold === null) return
    const ended = hold.end().catch((error: unknown) => this.#failed(error))
    this.#lose()
    await ended
  }

  #failed(error: unknown): void {
    if (this.#closed && isContextdError(error, 'closed')) return
    const { logger } = this.#options
    if (this.#warned) return
    this.#warned = true
    logger.warn({ error }, 'the election of a leader failed; it is tried again')
  }

  #tell(): void {
    const leads = this.isLeader
    if (leads === this.#told) return
    this.#told = leads
    if (leads) this.#terms += 1
    this.#options.logger.info({ token: this.token }, leads ? 'this node leads' : 'this node leads no longer')
    for (const listener of new Set(this.#listeners)) {
      try {
        listener(leads)
      } catch (error) {
        this.#options.logger.error({ error }, 'a listener to the election failed')
      }
    }
  }
}
