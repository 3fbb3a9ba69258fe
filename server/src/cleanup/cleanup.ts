import { ContextdError, isContextdError } from '@contextd/protocol'
import { checkOptions } from '../check-options.ts'
import type { Leader } from '../locks/leader.ts'
import type { Logger } from '../logger.ts'
import { wholeOf } from '../options.ts'
import type { Cleaned, Cleaner } from './cleaner.ts'

/** When and how much to clean up. */
export interface CleanupOptions {
  /** Time between runs, ms. Default 1 h. */
  intervalMs?: number
  /** Most contexts that a run expires, and most whose logs it prunes. Default 1,000. */
  limit?: number
}

const defaults = { intervalMs: 3_600_000, limit: 1_000 }
/** Longest time that a timer knows, ms: 24.8 days. */
const longestIntervalMs = 2 ** 31 - 1

/** @throws {TypeError} an option is malformed, or unknown */
export function checkCleanupOptions(
  call: string,
  options: CleanupOptions,
  names: readonly string[] = ['intervalMs', 'limit'],
): CleanupOptions {
  checkOptions(call, options, names)
  const intervalMs = wholeOf('intervalMs', options.intervalMs, 1)
  const limit = wholeOf('limit', options.limit, 1)
  if (intervalMs !== undefined && intervalMs > longestIntervalMs) throw new TypeError(`intervalMs must be at most ${longestIntervalMs}`)
  return { ...(intervalMs !== undefined && { intervalMs }), ...(limit !== undefined && { limit }) }
}

/** What cleanups of this node came to. */
export interface CleanupCounts extends Cleaned {
  runs: number
  failures: number
}

/** Cleans up on demand on this node, and at an interval on the one node that leads. */
export class Cleanup {
  readonly #cleaner: Cleaner
  readonly #leader: Pick<Leader, 'isLeader' | 'need'>
  readonly #logger: Logger
  readonly counts: CleanupCounts = { runs: 0, failures: 0, contexts: 0, deltas: 0 }
  /** Null: stopped. */
  #interval: { options: Required<CleanupOptions>; readonly resign: () => void } | null = null
  #timer: NodeJS.Timeout | null = null
  #ticking = false
  #closed = false
  readonly #running = new Set<Promise<unknown>>()

  constructor(cleaner: Cleaner, leader: Pick<Leader, 'isLeader' | 'need'>, logger: Logger) {
    this.#cleaner = cleaner
    this.#leader = leader
    this.#logger = logger
  }

  /** Cleans up once. @throws {ContextdError} `backend_unavailable` · `timeout` · `closed` */
  run({ limit = defaults.limit }: Pick<CleanupOptions, 'limit'>, goesOn: () => boolean = () => true): Promise<Cleaned> {
    const running: Promise<Cleaned> = this.#cleaner.run(limit, () => !this.#closed && goesOn()).finally(() => this.#running.delete(running))
    this.#running.add(running)
    running.then(
      (cleaned) => this.#count(cleaned),
      () => (this.counts.failures += 1),
    )
    return running
  }

  #count({ contexts, deltas }: Cleaned): void {
    this.counts.runs += 1
    this.counts.contexts += contexts
    this.counts.deltas += deltas
    if (contexts + deltas > 0) this.#logger.info({ contexts, deltas }, 'cleaned up')
  }

  /** Begins after one interval; when it runs, it goes on with these options. */
  start(options: CleanupOptions): void {
    if (this.#closed) throw new ContextdError('closed', 'The contexts are closed.')
    this.#interval ??= { options: defaults, resign: this.#leader.need() }
    this.update(options)
  }

  update(options: CleanupOptions): void {
    if (this.#interval === null) return
    this.#interval.options = { ...this.#interval.options, ...options }
    this.#arm(this.#interval.options.intervalMs)
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#interval?.resign()
    this.#interval = null
  }

  /** Ends after the step that is under way. */
  async close(): Promise<void> {
    this.#closed = true
    this.stop()
    await Promise.allSettled(this.#running)
  }

  #arm(intervalMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      const { options } = this.#interval!
      this.#arm(options.intervalMs)
      void this.#tick(options)
    }, intervalMs).unref()
  }

  async #tick({ limit }: Required<CleanupOptions>): Promise<void> {
    if (this.#ticking || !this.#leader.isLeader) return
    this.#ticking = true
    try {
      await this.run({ limit }, () => this.#interval !== null && this.#leader.isLeader)
    } catch (error) {
      if (!this.#closed || !isContextdError(error, 'closed')) this.#logger.warn({ error }, 'a cleanup failed; the next one goes on')
    }
    this.#ticking = false
  }
}
