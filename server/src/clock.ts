/** The time, in ms since the epoch; inject one in tests. */
export interface Clock {
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }
