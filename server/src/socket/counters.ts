import { Histogram, Tally, secondsBounds } from '../metrics/histogram.ts'

/** What a server counts of its sockets and of its HTTP requests. */
export interface Counts {
  /** Frames that could not be decoded, each the end of its socket. */
  undecodable: number
  /** Events that nobody listens to. */
  unknownEvents: number
  /** Messages and commits above what may come per second. */
  rateLimited: number
  /** Times that a socket fell so far behind that it left its rooms. */
  slowConsumers: number
  /** Sockets that are so far behind now. */
  mutedSockets: number
  /** Connections refused for their origin, or for the number of them from one address. */
  refusedOrigins: number
  refusedAddresses: number
  /** Connections that came through the door and were refused by who they are, or are not, by code. */
  readonly refusedUsers: Tally
  /** Messages of clients, by event. */
  readonly messages: Tally
  /** Time from a message with commits to the answer to its first one, s, of those that are timed; null: nobody wants to know. */
  readonly commitSeconds: Histogram | null
  /** When the last one came that is timed, ms. */
  timedAt: number
  /** Answers of the HTTP API, by method and status: `GET 200`; and the time that they took, s. */
  readonly requests: Tally
  readonly requestSeconds: Histogram
}

/** All at zero. @param timed whether times are taken */
export const noCounts = (timed = false): Counts => ({
  undecodable: 0,
  unknownEvents: 0,
  rateLimited: 0,
  slowConsumers: 0,
  mutedSockets: 0,
  refusedOrigins: 0,
  refusedAddresses: 0,
  refusedUsers: new Tally(),
  messages: new Tally(),
  timedAt: 0,
  commitSeconds: timed ? new Histogram(secondsBounds) : null,
  requests: new Tally(),
  requestSeconds: new Histogram(secondsBounds),
})

/** Whether a message that came at this time, ms, is timed: one in a millisecond, since a look at the clock costs more than all other counting. */
export function isTimed(counts: Counts, came: number): boolean {
  if (counts.commitSeconds === null || came - counts.timedAt < 1) return false
  counts.timedAt = came
  return true
}
