/** What is bounded, for the option `limits`. */
export interface Limits {
  /** One message = one commit. Default 1 MiB; above: `too_large`. */
  messageBytes: number
  /** A context after the commit. Default 4 MiB; above: `too_large`. */
  stateBytes: number
  /** An HTTP request. Default 8 MiB; above: `too_large`. */
  bodyBytes: number
  /** Nesting of a value. Default 64; above: `invalid_operation`. */
  depth: number
  /** Operations of a commit. Default 1,000; above: `invalid_operation`. */
  operations: number
  /** Context id or lock key: 1 to this many of `A-Z a-z 0-9 . _ : - @ + ~`, first alphanumeric. Default 128; else `invalid_operation`. */
  idBytes: number
  /** Default 1,000; above: `rate_limited`. */
  contextsPerSocket: number
  /** Default 32; above: `rate_limited`. */
  sessionsPerSocket: number
  /** Per session, burst × 5. Default 200; above: `rate_limited`. */
  commitsPerSecond: number
  /** Per socket, burst × 5. Default 500; above: `rate_limited`. */
  messagesPerSecond: number
  /** Unanswered commits of a stream. Default 64; above: `rate_limited`. */
  inFlight: number
  /** A presence message. Default 4 KiB; above: `too_large`. */
  presenceBytes: number
  /** An event message. Default 16 KiB; above: `too_large`. */
  eventBytes: number
  /** Sockets of one address. Default 200; above: refused. */
  socketsPerAddress: number
  /** Send buffer of a slow consumer. Default 1 MiB; above: it leaves its rooms, and syncs when drained. */
  socketBufferBytes: number
}
/** The defaults of every limit. */
export const defaultLimits: Readonly<Limits> = Object.freeze({
  messageBytes: 1_048_576,
  stateBytes: 4_194_304,
  bodyBytes: 8_388_608,
  depth: 64,
  operations: 1_000,
  idBytes: 128,
  contextsPerSocket: 1_000,
  sessionsPerSocket: 32,
  commitsPerSecond: 200,
  messagesPerSecond: 500,
  inFlight: 64,
  presenceBytes: 4_096,
  eventBytes: 16_384,
  socketsPerAddress: 200,
  socketBufferBytes: 1_048_576,
})
