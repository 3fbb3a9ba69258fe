import type { Random } from './random.ts'

/** What goes wrong by itself, and how often; what is done on purpose (crashes, rollbacks, …) is in `weights`. All zero: a healthy world. */
export interface Faults {
  /** Probabilities of a publication on its way to one node. */
  publicationLost: number
  publicationTwice: number
  /** … of arriving late, past younger ones. */
  publicationLate: number
  /** Probabilities of a call to the store: refused before it is done · done, and the answer lost · answer lost, and done late or never. */
  storeRefused: number
  storeAnswerLost: number
  storeLate: number
  /** Probability that a message under way is still delivered after its connection is gone. */
  zombie: number
  /** Longest delay of a message between client and node, ms. */
  clientLatency: number
  /** Longest delay of a call to the store, each way, ms. */
  storeLatency: number
  /** Probability that a node answers a commit with a held error instead of taking it. */
  held: number
}

/** A world in which everything works. */
export const healthy: Readonly<Faults> = Object.freeze({
  publicationLost: 0,
  publicationTwice: 0,
  publicationLate: 0,
  storeRefused: 0,
  storeAnswerLost: 0,
  storeLate: 0,
  zombie: 0,
  clientLatency: 20,
  storeLatency: 4,
  held: 0,
})

/** Draws how bad a world is: some are nearly healthy, some are bad in every way, most in a few. */
export function drawFaults(random: Random): Faults {
  const some = (...rates: number[]): number => (random.chance(0.5) ? 0 : random.pick(rates))
  return {
    publicationLost: some(0.02, 0.1, 0.4),
    publicationTwice: some(0.05, 0.2),
    publicationLate: some(0.05, 0.2),
    storeRefused: some(0.02, 0.1),
    storeAnswerLost: some(0.02, 0.1, 0.2),
    storeLate: some(0.02, 0.1),
    zombie: random.pick([0.1, 0.5, 0.9]),
    clientLatency: random.pick([5, 40, 200]),
    storeLatency: random.pick([1, 5, 40]),
    held: some(0.02, 0.1),
  }
}

/** What is done to the world, between two writes. */
export interface Weights {
  cut: number
  crashNode: number
  crashClient: number
  disconnect: number
  slowConsumer: number
  deafNode: number
  dump: number
  rollback: number
  serverDelete: number
  leap: number
  sweep: number
  leaveAndReturn: number
}

/** Draws how often what is done on purpose is done, as probability beside each write. */
export function drawWeights(random: Random): Weights {
  const some = (...rates: number[]): number => (random.chance(0.4) ? 0 : random.pick(rates))
  return {
    cut: some(0.02, 0.1, 0.2),
    crashNode: some(0.01, 0.03),
    crashClient: some(0.005, 0.02),
    disconnect: some(0.01, 0.05),
    slowConsumer: some(0.01, 0.05),
    deafNode: some(0.01, 0.03),
    dump: 0.05,
    rollback: some(0.005, 0.01, 0.03),
    serverDelete: some(0.005, 0.02),
    leap: some(0.002, 0.01),
    sweep: some(0.01),
    leaveAndReturn: some(0.01, 0.03),
  }
}
