import type { Head } from '@contextd/protocol'
import type { ContextBackend } from '../backends/backend.ts'
import type { Logger } from '../logger.ts'

/** What a beacon works with. */
export interface BeaconOptions {
  readonly backend: ContextBackend
  readonly logger: Logger
  /** Time in which the head of every watched context is read, ms; longer when there are more than {@link headsPerSecond} allows. */
  readonly intervalMs: number
  readonly told: (contextId: string, head: Head) => void
}

/** Most heads that a node reads in a second. */
export const headsPerSecond = 2_000
/** Most heads of one call. */
const headsPerCall = 500
const ticksPerInterval = 50
/** Pause before heads are asked for again that may have been missed and could not be read, ms. */
const againMs = 100

/** Reads the heads of the contexts that a node has open, one after the other, spread evenly over the interval. */
export class Beacon {
  readonly #options: BeaconOptions
  /** Whose turn is next comes first. */
  readonly #watched = new Set<string>()
  readonly #tickMs: number
  #timer: NodeJS.Timeout | null = null
  #lastTick = 0
  /** Heads that are due and were not read yet, with fractions. */
  #due = 0
  #reading = false
  /** Heads left of this round, when it began, and how long the last one took, ms. */
  #round = { left: 0, began: 0, lastMs: 0 }
  #all: 'no' | 'reading' | 'again' = 'no'

  constructor(options: BeaconOptions) {
    this.#options = options
    this.#tickMs = Math.max(1, Math.min(100, options.intervalMs / ticksPerInterval))
  }

  /** How many contexts are watched. */
  get size(): number {
    return this.#watched.size
  }
  /** Time in which every head is read, as a multiple of the interval: more than 1 when there are too many, or the store is slow. */
  get stretch(): number {
    const { intervalMs } = this.#options
    if (this.#timer === null) return 1
    const { began, lastMs } = this.#round
    return Math.max(1, (this.size * 1_000) / headsPerSecond / intervalMs, Math.max(lastMs, performance.now() - began) / intervalMs)
  }

  watch(contextId: string): void {
    this.#watched.add(contextId)
    if (this.#timer !== null) return
    this.#due = 0
    this.#lastTick = performance.now()
    this.#round = { left: 1, began: this.#lastTick, lastMs: 0 }
    this.#timer = setInterval(() => this.#tick(), this.#tickMs).unref()
  }

  unwatch(contextId: string): void {
    this.#watched.delete(contextId)
    if (this.#watched.size === 0) this.stop()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  /** Reads all heads at once: something may have been missed. */
  readAll(): void {
    if (this.#all !== 'no') this.#all = 'again'
    else void this.#readAll()
  }

  async #readAll(): Promise<void> {
    do {
      this.#all = 'reading'
      const contextIds = [...this.#watched]
      for (let from = 0; from < contextIds.length; from += headsPerCall) {
        await this.#readSoon(contextIds.slice(from, from + headsPerCall))
      }
    } while ((this.#all as string) === 'again')
    this.#all = 'no'
  }

  #tick(): void {
    const now = performance.now()
    const elapsed = now - this.#lastTick
    this.#lastTick = now
    const { size } = this.#watched
    // A tick early, so that each head is read within the interval.
    const share = (size * elapsed) / (this.#options.intervalMs - this.#tickMs)
    this.#due = Math.min(size, headsPerCall, this.#due + Math.min(share, (headsPerSecond * elapsed) / 1_000))
    const count = Math.floor(this.#due)
    if (count === 0 || this.#reading) return
    this.#due -= count
    void this.#readNext(count)
  }

  async #readNext(count: number): Promise<void> {
    const contextIds: string[] = []
    for (const contextId of this.#watched) {
      if (contextIds.length === count) break
      contextIds.push(contextId)
    }
    for (const contextId of contextIds) {
      this.#watched.delete(contextId)
      this.#watched.add(contextId)
    }
    this.#reading = true
    await this.#read(contextIds)
    this.#reading = false
    this.#noteRound(contextIds.length)
  }

  #noteRound(count: number): void {
    // Fewer when contexts were let go meanwhile.
    this.#round.left = Math.min(this.#round.left - count, this.size)
    if (this.#round.left > 0) return
    const now = performance.now()
    this.#round = { left: this.size, began: now, lastMs: now - this.#round.began }
  }

  /** The store may tell that it is back a little before it answers. After an interval all was read without this. */
  async #readSoon(contextIds: readonly string[]): Promise<void> {
    const end = performance.now() + this.#options.intervalMs
    while (!(await this.#read(contextIds)) && this.#timer !== null && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, againMs))
    }
  }

  /** False: they could not be read. */
  async #read(contextIds: readonly string[]): Promise<boolean> {
    const { backend, logger, told } = this.#options
    try {
      const heads = await backend.heads(contextIds)
      contextIds.forEach((contextId, index) => {
        const head = heads[index]
        if (head && this.#watched.has(contextId)) told(contextId, head)
      })
      return true
    } catch (error) {
      // That the store is away is said elsewhere, once.
      logger.debug({ error }, 'heads could not be read')
      return false
    }
  }
}
