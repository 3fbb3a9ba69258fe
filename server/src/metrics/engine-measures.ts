import { Histogram, Tally } from './histogram.ts'
import type { MeasuredBackend } from './measured-backend.ts'

/** Bounds for times of fetches, s. */
const fetchBounds = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** What can be seen of an engine. */
export interface EngineParts {
  readonly store: MeasuredBackend
  readonly beacon: { readonly size: number; readonly stretch: number }
  readonly leader: { readonly isLeader: boolean; readonly terms: number }
  readonly locks: { readonly held: number; readonly counts: { readonly taken: number; readonly locked: number } }
  readonly cleanup: {
    readonly counts: { readonly runs: number; readonly failures: number; readonly contexts: number; readonly deltas: number }
  }
  /** The contexts in memory. */
  readonly live: { readonly size: number }
}

/** What the sources of a node come to. */
export class SourceMeasures {
  /** How many there are. */
  added = 0
  readonly refreshes = new Tally<'done' | 'failed'>()
  readonly seconds = new Histogram(fetchBounds)
  /** Those that this node fetches, and whose last refresh failed. */
  readonly #failing = new Set<string>()

  get failing(): number {
    return this.#failing.size
  }

  done(contextId: string, tookMs: number): void {
    this.#took('done', tookMs)
    this.#failing.delete(contextId)
  }

  failed(contextId: string, tookMs: number): void {
    this.#took('failed', tookMs)
    this.#failing.add(contextId)
  }

  /** Another node fetches it now, or none. */
  rests(contextId: string): void {
    this.#failing.delete(contextId)
  }

  #took(result: 'done' | 'failed', ms: number): void {
    this.refreshes.add(result)
    this.seconds.observe(ms / 1_000)
  }
}

/** What an engine counts; what costs something begins when it is asked for, see {@link MeasuredBackend.measure}. */
export class EngineMeasures {
  readonly parts: EngineParts
  readonly sources = new SourceMeasures()

  constructor(parts: EngineParts) {
    this.parts = parts
  }
}
