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

/** What an engine counts; what costs something begins when it is asked for, see {@link MeasuredBackend.measure}. */
export class EngineMeasures {
  readonly parts: EngineParts
  /** Sources of this node, and those of them whose last refresh failed. */
  readonly sources = {
    added: 0,
    failing: new Set<string>(),
    refreshes: new Tally<'done' | 'failed'>(),
    seconds: new Histogram(fetchBounds),
  }

  constructor(parts: EngineParts) {
    this.parts = parts
  }
}
