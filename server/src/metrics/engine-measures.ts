import type { Beacon } from '../beacon.ts'
import type { Cleanup } from '../cleanup/cleanup.ts'
import type { NodeLocks } from '../contexts-lock.ts'
import type { Leader } from '../leader.ts'
import { Histogram, Tally } from './histogram.ts'
import type { MeasuredBackend } from './measured-backend.ts'

/** Bounds for times of fetches, s. */
const fetchBounds = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** What can be seen of an engine. */
export interface EngineParts {
  readonly store: MeasuredBackend
  readonly beacon: Pick<Beacon, 'size' | 'stretch'>
  readonly leader: Pick<Leader, 'isLeader' | 'terms'>
  readonly locks: Pick<NodeLocks, 'held' | 'counts'>
  readonly cleanup: Pick<Cleanup, 'counts'>
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
