/** What only tests set. */
export interface Timing {
  /** Time in which the head of every open context is read, ms. */
  readonly beaconMs: number
  /** How long a context that nobody has open stays in memory, ms. */
  readonly graceMs: number
  /** How long `close` waits for commits whose outcome is unknown, ms. */
  readonly drainMs: number
  /** Longest that an archive may take, ms. */
  readonly archiveMs: number
  /** Longest that a commit waits for the hook `beforeCommit`, ms. */
  readonly hookMs: number
}
export const defaultTiming: Timing = { beaconMs: 5_000, graceMs: 2_000, drainMs: 5_000, archiveMs: 10_000, hookMs: 5_000 }
