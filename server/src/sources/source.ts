import type { EngineNode } from '../engine/engine-node.ts'
import type { SourceSettings } from './source-options.ts'
import type { SourceStatus } from './source-types.ts'
import { Term } from './term.ts'

/** Longest pause after failures, ms; longer only when the interval is. */
const longestPauseMs = 300_000

/** The time until the next fetch, after so many failures (from 1) in a row, ms. Jitter keeps many sources from failing in step. */
export function pauseAfter(failures: number, refreshIntervalMs: number, random: number): number {
  const longest = Math.max(longestPauseMs, refreshIntervalMs)
  return Math.min(longest, refreshIntervalMs * 2 ** Math.min(failures, 40)) * (0.75 + random / 4)
}

/** What does not follow from the term. */
type OwnStatus = Omit<SourceStatus, 'leader' | 'running'>

/** One source on this node, and how it is doing: while the node leads there is a term, in which it fetches. */
export class Source {
  readonly settings: SourceSettings
  readonly #node: EngineNode
  readonly #changed: () => void
  #term: Term | null = null
  /** When the last fetch began, ms. */
  #beganAt = 0
  #status: OwnStatus = {
    failures: 0,
    lastSuccessAt: null,
    lastError: null,
    nextRunAt: null,
    version: 0,
  }

  constructor(node: EngineNode, settings: SourceSettings, changed: () => void) {
    this.#node = node
    this.settings = settings
    this.#changed = changed
  }

  get status(): SourceStatus {
    return { leader: this.#term !== null, running: this.#term?.running ?? false, ...this.#status }
  }

  /** The term in which this node fetches; null: it does not. */
  get term(): Term | null {
    return this.#term
  }

  /** Begins to fetch: at once. */
  lead(): void {
    if (this.#term !== null) return
    const term = new Term(this.#node, this.settings, {
      began: () => {
        this.#beganAt = performance.now()
        this.#of(term, {})
      },
      stored: (version) => this.#stored(term, version),
      failed: (error) => this.#failed(term, error),
      next: (inMs) => this.#of(term, { nextRunAt: Math.round(this.#node.clock.now() + inMs) }),
    })
    this.#term = term
    // What becomes of it is in the status.
    term.run().catch(() => {})
  }

  /** Fetches no more; what is under way is not written. */
  async rest(): Promise<void> {
    const term = this.#term
    if (term === null) return
    this.#term = null
    this.#node.measures.sources.rests(this.settings.contextId)
    this.#set({ nextRunAt: null })
    await term.end()
  }

  /** Notes a version of the context that was seen; who leads knows better. */
  seen(version: number): void {
    if (this.#term === null && version !== this.#status.version) this.#set({ version })
  }

  #stored(term: Term, version: number): void {
    this.#node.measures.sources.done(this.settings.contextId, performance.now() - this.#beganAt)
    this.#of(term, { version, failures: 0, lastError: null, lastSuccessAt: this.#node.clock.now() })
  }

  /** @returns the pause until it is tried again, ms */
  #failed(term: Term, error: unknown): number {
    const { refreshIntervalMs, contextId } = this.settings
    const failures = this.#status.failures + 1
    this.#node.measures.sources.failed(contextId, performance.now() - this.#beganAt)
    this.#of(term, { failures, lastError: error instanceof Error ? error : new Error(String(error)) })
    this.#node.logger.warn({ contextId, failures, error }, 'a source failed; its last state stays')
    return pauseAfter(failures, refreshIntervalMs, Math.random())
  }

  /** What a term tells after its end is of no interest. */
  #of(term: Term, change: Partial<OwnStatus>): void {
    if (this.#term === term) this.#set(change)
  }

  #set(change: Partial<OwnStatus>): void {
    this.#status = { ...this.#status, ...change }
    this.#changed()
  }
}
