import { isContextdError } from '@contextd/protocol'
import type { ContextBackend, StaleContext } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { expiryOf } from './expiry.ts'
import { pruningOf } from './pruning.ts'
import type { Retained } from './pruning.ts'

/** What a cleanup removed. */
export interface Cleaned {
  /** Contexts that expired. */
  contexts: number
  /** Deltas of logs, those of expired contexts too. */
  deltas: number
}

/** What a cleaner works with. */
export interface CleanerOptions {
  readonly backend: ContextBackend
  readonly clock: Clock
  readonly logger: Logger
  /** Life of a context after its last use, ms; 0: none expires. */
  readonly contextTtlMs: number
  readonly deltaTtlMs: number
  /** Most versions that a log keeps; 0: any. */
  readonly deltaThreshold: number
  readonly sessionTtlMs: number
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
  /** Whether this node has a context open. */
  readonly isOpen: (contextId: string) => boolean
  /** Told of each context that expired, with the frame that says so. */
  readonly expired: (contextId: string, message: string) => void
}

/** Contexts that are looked for at once, and that are worked on at once. */
const pageSize = 1_000
/** How long what was found is worked on: a context that is opened meanwhile is in use, ms. */
const pageLastsMs = 1_000
const expiredAtOnce = 50
const prunedAtOnce = 5
/** After each step as many times its duration is left to others; at most so long, ms. */
const restFactor = 4
const longestRestMs = 1_000
/** A look that takes no longer delays nobody, ms. */
const noticeableMs = 5
/** How often a log is tried that others write to meanwhile. */
const mostTries = 3
/** Most contexts that are remembered as failing. */
const mostFailing = 10_000

/** Expires contexts and prunes logs, in small steps with pauses, so that commits go on beside it. */
export class Cleaner {
  readonly #options: CleanerOptions
  /** Contexts that could not be cleaned up: they come last, so that those behind them are reached. */
  readonly #failing = new Set<string>()
  /** How long the last look for what is to be done took, ms, while it is not long ago. */
  #lookMs = 0
  #endedAt = 0

  constructor(options: CleanerOptions) {
    this.#options = options
  }

  /**
   * @param limit most contexts that expire, and most whose logs are pruned
   * @param goesOn asked before each step
   * @throws {ContextdError} `backend_unavailable`, `timeout` – the store is away
   */
  async run(limit: number, goesOn: () => boolean): Promise<Cleaned> {
    await this.#options.open()
    if (performance.now() - this.#endedAt > longestRestMs) this.#lookMs = 0
    const cleaned = { contexts: 0, deltas: 0 }
    try {
      await this.#expire(limit, goesOn, cleaned)
      await this.#prune(limit, goesOn, cleaned)
    } finally {
      this.#endedAt = performance.now()
    }
    return cleaned
  }

  async #expire(limit: number, goesOn: () => boolean, cleaned: Cleaned): Promise<void> {
    const { backend, clock, contextTtlMs, sessionTtlMs, isOpen, expired } = this.#options
    if (contextTtlMs === 0) return
    const find = (count: number): Promise<readonly StaleContext[]> => backend.stale(Math.max(0, clock.now() - contextTtlMs), count)
    await this.#each({ limit, goesOn, find, atOnce: expiredAtOnce }, async (stale) => {
      if (isOpen(stale.contextId)) return
      const batch = expiryOf(stale, clock.now(), sessionTtlMs)
      const result = await backend.commit(batch)
      // Else somebody has written since: it is in use.
      if (result.type !== 'committed') return
      expired(stale.contextId, batch.message!)
      cleaned.contexts += 1
      cleaned.deltas += stale.logged
    })
  }

  async #prune(limit: number, goesOn: () => boolean, cleaned: Cleaned): Promise<void> {
    const { backend, clock, deltaTtlMs, deltaThreshold } = this.#options
    const retained: Retained = { before: Math.max(0, clock.now() - deltaTtlMs), maxVersions: deltaThreshold }
    if (retained.before === 0 && retained.maxVersions === 0) return
    const find = async (count: number): Promise<{ contextId: string }[]> =>
      (await backend.prunable({ ...retained, limit: count })).map((contextId) => ({ contextId }))
    await this.#each({ limit, goesOn, find, atOnce: prunedAtOnce }, async ({ contextId }) => {
      // Several are under way: what has been counted is read after the wait.
      const dropped = await this.#pruneOne(contextId, retained)
      cleaned.deltas += dropped
    })
  }

  async #pruneOne(contextId: string, retained: Retained): Promise<number> {
    const { backend } = this.#options
    for (let tries = 0; tries < mostTries; tries += 1) {
      const stored = await backend.load(contextId)
      const batch = stored && pruningOf(contextId, stored, retained)
      const dropped = batch === null ? 0 : await backend.prune(batch)
      if (dropped !== null) return dropped
    }
    return 0
  }

  async #each<T extends { readonly contextId: string }>(
    task: {
      readonly limit: number
      readonly goesOn: () => boolean
      readonly find: (count: number) => Promise<readonly T[]>
      readonly atOnce: number
    },
    work: (item: T) => Promise<void>,
  ): Promise<void> {
    const { limit, goesOn, find, atOnce } = task
    const seen = new Set<string>()
    while (seen.size < limit && goesOn()) {
      const wanted = Math.min(limit - seen.size, pageSize)
      // Rested for before the next look, also of the next run: after the rest what was found would be old.
      if (this.#lookMs > noticeableMs) await rest(this.#lookMs)
      const foundAt = performance.now()
      const found = (await find(wanted + this.#failing.size)).filter(({ contextId }) => !seen.has(contextId))
      this.#lookMs = performance.now() - foundAt
      const sound = found.filter(({ contextId }) => !this.#failing.has(contextId))
      const next = (sound.length > 0 ? sound : found).slice(0, wanted)
      if (next.length === 0) return
      for (let from = 0; from < next.length && goesOn(); from += atOnce) {
        if (from > 0 && performance.now() - foundAt > pageLastsMs) break
        const step = next.slice(from, from + atOnce)
        for (const { contextId } of step) seen.add(contextId)
        await paced(() => this.#all(step, work))
      }
    }
  }

  /** Works on contexts side by side; one that fails is passed over. @throws what says that the store is away */
  async #all<T extends { readonly contextId: string }>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled(items.map(work))
    const failed = results.flatMap((result, index) => {
      const { contextId } = items[index]!
      if (result.status === 'rejected') return [{ contextId, error: result.reason as unknown }]
      this.#failing.delete(contextId)
      return []
    })
    // Where all fail it is the store's fault.
    if (failed.length === items.length && failed.every(({ error }) => isAway(error))) throw failed[0]!.error
    for (const { contextId, error } of failed) {
      if (this.#failing.size < mostFailing) this.#failing.add(contextId)
      this.#options.logger.error({ contextId, error }, 'a context could not be cleaned up, and is passed over')
    }
  }
}

const isAway = (error: unknown): boolean =>
  isContextdError(error, 'backend_unavailable') || isContextdError(error, 'timeout') || isContextdError(error, 'closed')

/** Does a step, and rests for a time that grows with what it took. */
async function paced(step: () => Promise<void>): Promise<void> {
  const start = performance.now()
  await step()
  await rest(performance.now() - start)
}

/** Leaves others their time, after what took so long. */
async function rest(tookMs: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, Math.min(longestRestMs, restFactor * tookMs))
  })
}
