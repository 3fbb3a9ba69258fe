/** What a server counts of its sockets. */
export interface Counts {
  /** Frames that could not be decoded, each the end of its socket. */
  undecodable: number
  /** Events that nobody listens to. */
  unknownEvents: number
  /** Messages and commits above what may come per second. */
  rateLimited: number
  /** Times that a socket fell so far behind that it left its rooms. */
  slowConsumers: number
  /** Connections refused for their origin, or for the number of them from one address. */
  refusedOrigins: number
  refusedAddresses: number
}

/** All at zero. */
export const noCounts = (): Counts => ({
  undecodable: 0,
  unknownEvents: 0,
  rateLimited: 0,
  slowConsumers: 0,
  refusedOrigins: 0,
  refusedAddresses: 0,
})
