import { setTimeout as pause } from 'node:timers/promises'
import { ContextdError, isContextdError, randomToken } from '@contextd/protocol'
import type { Author } from '@contextd/protocol'
import type { ContextBackend, LockResult } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'

/** What is to be held, and where. */
export interface HoldOptions {
  readonly backend: ContextBackend
  readonly clock: Clock
  readonly contextId: string
  readonly key: string
  readonly holder: Author
}

const idLength = 16
/** How often a store is asked whose answer was lost, and the pause before the second time: doubled each time, ms. */
const mostTries = 5
const firstPauseMs = 20
/** Stores count whole ms: their leases may end earlier by less than this. */
const roundingMs = 1

/**
 * One hold of a lock, under a random id of its own: a hold that is over never comes back. It knows by the clock of this process when its
 * lease is over, at the latest when the store does: a process that was stopped for a while finds out before it asks anybody.
 */
export class Hold {
  readonly #options: HoldOptions
  readonly #id = randomToken(idLength)
  #token = 0
  /** End of the lease, by the monotonic clock. */
  #until = Number.NEGATIVE_INFINITY

  constructor(options: HoldOptions) {
    this.#options = options
  }

  /** Fencing token; 0: it was never held. */
  get token(): number {
    return this.#token
  }
  /** How long the lease still lasts, ms; 0: it is over, or never began. */
  get remainingMs(): number {
    return Math.max(0, this.#until - performance.now())
  }

  /**
   * Asks for a lease from now on. An answer that is lost is asked for again: the same hold is granted once.
   * @param extend true: only if it is still held
   * @throws {ContextdError} `backend_unavailable` – when `extend` is false it may be held until its lease ends
   */
  async ask(ttlMs: number, extend: boolean): Promise<LockResult> {
    const { backend, clock, contextId, key, holder } = this.#options
    for (let tries = 1; ; tries += 1) {
      const asked = performance.now()
      try {
        const result = await backend.lock({ contextId, key, hold: this.#id, holder, ttlMs, extend, now: clock.now() })
        if (result.type === 'held') {
          this.#token = result.lock.token
          this.#until = asked + ttlMs - roundingMs
        }
        return result
      } catch (error) {
        if (!isUnknown(error)) throw error
        // It may be the shorter lease that counts now.
        this.#until = Math.min(this.#until, asked + ttlMs - roundingMs)
        if (tries === mostTries) throw unanswered(contextId, error)
      }
      await pause(firstPauseMs * 2 ** (tries - 1))
    }
  }

  /** Gives it back; does nothing when it is over. @throws {ContextdError} `backend_unavailable` – its lease ends it then */
  async end(): Promise<void> {
    const { backend, clock, contextId, key } = this.#options
    this.#until = Number.NEGATIVE_INFINITY
    for (let tries = 1; ; tries += 1) {
      try {
        await backend.unlock(contextId, key, this.#id, clock.now())
        return
      } catch (error) {
        if (!isUnknown(error)) throw error
        if (tries === mostTries) throw unanswered(contextId, error)
      }
      await pause(firstPauseMs * 2 ** (tries - 1))
    }
  }
}

const isUnknown = (error: unknown): boolean => isContextdError(error, 'timeout')

const unanswered = (contextId: string, cause: unknown): ContextdError =>
  new ContextdError('backend_unavailable', 'The store did not answer about a lock. Should it be held, its lease ends it.', {
    contextId,
    cause,
  })
