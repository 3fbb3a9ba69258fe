import { isContextdError } from '@contextd/protocol'
import type { Logger } from '../logger.ts'

/** So long nothing must have failed until a store counts as back, ms: one that refuses some calls only is not back at each of the others. */
const quietMs = 1_000

/** Says once that the store is away, and once that it is back. */
export class StoreWatch {
  readonly #logger: Logger
  readonly #store: string
  /** Since when it is away; null: it is not. */
  #awaySince: number | null = null
  #failedAt = 0

  /** @param store its name, for the log */
  constructor(logger: Logger, store: string) {
    this.#logger = logger
    this.#store = store
  }

  /** A call was answered. */
  answered(): void {
    if (this.#awaySince === null || performance.now() - this.#failedAt < quietMs) return
    const awayMs = Math.round(this.#failedAt - this.#awaySince)
    this.#awaySince = null
    this.#logger.info({ store: this.#store, awayMs }, 'the store answers again')
  }

  /** A call failed. */
  failed(error: unknown): void {
    if (!isContextdError(error, 'backend_unavailable') && !isContextdError(error, 'timeout')) return
    this.#failedAt = performance.now()
    if (this.#awaySince !== null) return
    this.#awaySince = this.#failedAt
    this.#logger.warn({ store: this.#store, error }, 'the store does not answer; commits wait')
  }
}
