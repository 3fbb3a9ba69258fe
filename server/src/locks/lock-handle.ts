import { ContextdError } from '@contextd/protocol'
import type { LockToken } from '@contextd/protocol'
import { lockLost } from '../commits/decide.ts'
import type { Hold } from './lock-hold.ts'
import { checkMs } from '../options.ts'

/** How to take a lock. */
export interface LockOptions {
  /** Length of the lease, ms. Default 10,000. */
  ttlMs?: number
  /** Default 100 ms. */
  retryDelayMs?: number
  /** Default 50. */
  maxRetries?: number
  /** Ends the waiting. */
  signal?: AbortSignal
}
/** A lock that is held until released or its lease ends. */
export interface Lock extends LockToken {
  /** Starts the lease anew, by default of the same length, ms. @throws {ContextdError} `locked` – it was lost · `backend_unavailable` – the old lease goes on */
  extend(ttlMs?: number): Promise<void>
  /** Gives it back; does nothing when lost. @throws {ContextdError} `backend_unavailable` – its lease ends it then */
  release(): Promise<void>
  /** Aborted when the lock is lost: its lease is over, the store says so, or the engine closes. */
  readonly signal: AbortSignal
}

/** A lock in the hands of an application. */
export class LockHandle implements Lock {
  readonly key: string
  readonly token: number
  readonly #hold: Hold
  readonly #contextId: string
  readonly #ended: (handle: LockHandle) => void
  readonly #controller = new AbortController()
  #ttlMs: number
  #state: 'held' | 'released' | 'lost' = 'held'
  #timer: NodeJS.Timeout | undefined

  /** @param ended told when it is held no longer, in whatever way */
  constructor(contextId: string, key: string, hold: Hold, ttlMs: number, ended: (handle: LockHandle) => void) {
    this.key = key
    this.token = hold.token
    this.#contextId = contextId
    this.#hold = hold
    this.#ttlMs = ttlMs
    this.#ended = ended
    this.#arm()
  }

  get signal(): AbortSignal {
    // A process that was stopped runs the timer late.
    this.#look()
    return this.#controller.signal
  }
  /** Whether it may be written with: as far as this process knows. */
  get held(): boolean {
    this.#look()
    return this.#state === 'held'
  }

  async extend(ttlMs?: number): Promise<void> {
    const length = checkMs('ttlMs', ttlMs, 1) ?? this.#ttlMs
    if (!this.held) throw this.#lostError()
    const result = await this.#hold.ask(length, true)
    if (result.type === 'held' && this.#state === 'held') {
      this.#ttlMs = length
      this.#arm()
      return
    }
    // It was given back, or its lease was over here, while the store still gave it more time.
    if (result.type === 'held') this.#hold.end().catch(() => {})
    this.lose()
    throw this.#lostError()
  }

  async release(): Promise<void> {
    if (this.#state === 'lost') return
    this.#end('released')
    await this.#hold.end()
  }

  /** It is held no longer, though nobody released it. */
  lose(reason: ContextdError = this.#lostError()): void {
    if (this.#state !== 'held') return
    this.#end('lost')
    this.#controller.abort(reason)
  }

  /** Gives it back at the end of the engine: its holder hears of that. @throws {ContextdError} `backend_unavailable` */
  async giveUp(reason: ContextdError): Promise<void> {
    if (this.#state !== 'held') return
    this.lose(reason)
    await this.#hold.end()
  }

  #end(state: 'released' | 'lost'): void {
    this.#state = state
    clearTimeout(this.#timer)
    this.#ended(this)
  }

  #look(): void {
    if (this.#state === 'held' && this.#hold.remainingMs === 0) this.lose()
  }

  #arm(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.lose(), Math.ceil(this.#hold.remainingMs)).unref()
  }

  #lostError(): ContextdError {
    const { message, details } = lockLost(this.key)
    return new ContextdError('locked', message, { details, contextId: this.#contextId })
  }
}
