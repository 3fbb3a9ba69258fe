import type { HeldLock, LockRequest, LockResult } from '../backends/backend.ts'

/** A lock as a store keeps it. */
export interface StoredLock {
  readonly hold: string
  readonly token: number
  readonly holder: HeldLock['holder']
  readonly since: number
  /** End of the lease, ms. */
  readonly until: number
}

/** The lock as it is told; null: its lease is over. */
export function heldAt(key: string, lock: StoredLock | null, now: number): HeldLock | null {
  if (lock === null || lock.until <= now) return null
  const { token, holder, since, until } = lock
  return { key, token, holder, since, remainingMs: until - now }
}

/**
 * Decides on a request for a lock. Pure: a store reads `lock` and `lastToken`, and keeps `lock` of the outcome, in one atomic step.
 * The token is a fencing token: who checks it sees whether the hold is still the newest (M. Kleppmann, "How to do distributed locking", 2016).
 *
 * @param lastToken the highest token of the context that is still known; 0: none
 */
export function lockStep(
  lock: StoredLock | null,
  lastToken: number,
  { key, hold, holder, ttlMs, extend, now }: LockRequest,
): { readonly result: LockResult; readonly lock: StoredLock | null } {
  const held = heldAt(key, lock, now)
  const mine = held !== null && lock!.hold === hold
  if (!mine && (held !== null || extend)) return { result: { type: 'locked', by: held }, lock: null }
  const kept: StoredLock = mine
    ? { ...lock!, until: now + ttlMs }
    : { hold, token: Math.max(lastToken + 1, now), holder, since: now, until: now + ttlMs }
  return { result: { type: 'held', lock: heldAt(key, kept, now)! }, lock: kept }
}
