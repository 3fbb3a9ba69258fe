import type { ContextBackend } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'

/** What it works with. */
export interface OpenContextsOptions {
  readonly backend: ContextBackend
  readonly clock: Clock
  readonly logger: Logger
  /** Life of a context after its last use, ms. */
  readonly contextTtlMs: number
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
}

/** Most contexts of one call. */
const mostAtOnce = 500
/** A context is noted again after this part of its life. */
const parts = 10
/** A context that was just opened is noted this soon, ms. */
const longestTickMs = 100

/** Tells the store now and then which contexts this node has open, so that they do not expire. */
export class OpenContexts {
  readonly #options: OpenContextsOptions
  readonly #open = new Set<string>()
  /** To be noted at the next tick. */
  readonly #due = new Set<string>()
  /** When an open context was noted last; the oldest first. */
  readonly #noted = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null
  #noting = false
  #warned = false

  constructor(options: OpenContextsOptions) {
    this.#options = options
  }

  watch(contextId: string): void {
    this.#open.add(contextId)
    this.note(contextId)
  }

  unwatch(contextId: string): void {
    this.#open.delete(contextId)
    this.#noted.delete(contextId)
  }

  /** Notes a context once. */
  note(contextId: string): void {
    this.#due.add(contextId)
    const everyMs = Math.min(longestTickMs, Math.max(10, this.#options.contextTtlMs / (parts * 4)))
    this.#timer ??= setInterval(() => void this.#tick(), everyMs).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  async #tick(): Promise<void> {
    if (this.#noting) return
    const { backend, clock, logger, open } = this.#options
    const now = clock.now()
    const contextIds = this.#next(now)
    if (contextIds.length === 0) return this.#open.size === 0 ? this.stop() : undefined
    this.#noting = true
    try {
      await open()
      await backend.touch(contextIds, now)
      this.#warned = false
      for (const contextId of contextIds) this.#note(contextId, now)
    } catch (error) {
      // They stay due.
      if (!this.#warned) logger.warn({ error }, 'it could not be noted which contexts are open')
      this.#warned = true
    }
    this.#noting = false
  }

  #note(contextId: string, now: number): void {
    this.#due.delete(contextId)
    this.#noted.delete(contextId)
    if (this.#open.has(contextId)) this.#noted.set(contextId, now)
  }

  #next(now: number): string[] {
    const next = [...this.#due].slice(0, mostAtOnce)
    for (const [contextId, at] of this.#noted) {
      // A clock that was turned back counts as time.
      const old = now - at >= this.#options.contextTtlMs / parts || now < at
      if (!old || next.length >= mostAtOnce) break
      if (!this.#due.has(contextId)) next.push(contextId)
    }
    return next
  }
}
