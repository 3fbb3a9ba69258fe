import { setTimeout as delay } from 'node:timers/promises'
import type { ContextBackend, HeldLock, LockRequest, LockResult } from '../../backends/backend.ts'
import { contextId, same, startAt } from './kit.ts'

/** Holder with texts that are easily damaged on their way. */
export const holder = { userId: 'zoë 😀', actor: 'tab "1"' }
/** A lease that does not end within a case, ms. */
export const longLease = 600_000
/** A lease whose end is waited for, ms. */
export const shortLease = 50

/** Makes a request for a lock: for the key `doc`, unless said otherwise. */
export const requestOf = (hold: string, spec: Partial<LockRequest> = {}): LockRequest => ({
  contextId,
  key: 'doc',
  hold,
  holder,
  ttlMs: longLease,
  extend: false,
  now: startAt,
  ...spec,
})

/** Takes a lock that must be free, or be held by this very hold. */
export async function take(backend: ContextBackend, hold: string, spec: Partial<LockRequest> = {}): Promise<HeldLock> {
  const request = requestOf(hold, spec)
  const result = await backend.lock(request)
  if (result.type !== 'held') throw new Error(`${hold} does not get the lock, and must: ${JSON.stringify(result)}`)
  checkRemaining(result.lock, request.ttlMs)
  return result.lock
}

/** Asks for a lock that must not be given; returns who has it, without its remaining time. */
export async function denied(backend: ContextBackend, hold: string, spec: Partial<LockRequest> = {}): Promise<object | null> {
  const result: LockResult = await backend.lock(requestOf(hold, spec))
  if (result.type !== 'locked') throw new Error(`${hold} gets the lock, and must not: ${JSON.stringify(result)}`)
  return result.by && told(result.by)
}

/** A lock without its remaining time, which depends on when it is looked at. */
export function told({ key, token, holder: by, since }: HeldLock): object {
  return { key, token, holder: by, since }
}

/** Locks that are held, without their remaining times. */
export async function held(backend: ContextBackend, id = contextId, now = startAt): Promise<object[]> {
  const locks = await backend.locks(id, now)
  for (const lock of locks) checkRemaining(lock, longLease)
  return locks.map(told)
}

function checkRemaining({ remainingMs }: HeldLock, ttlMs: number): void {
  same(remainingMs > 0 && remainingMs <= ttlMs, true, `${remainingMs} ms remain of a lease of ${ttlMs} ms`)
}

/**
 * Waits for the end of all leases of a context, by the clock of the store or by the time that is given to it.
 * @returns a time at which they are over
 */
export async function leasesOver(backend: ContextBackend, patienceMs: number): Promise<number> {
  const now = startAt + shortLease
  const deadline = performance.now() + shortLease + patienceMs
  while ((await backend.locks(contextId, now)).length > 0) {
    if (performance.now() > deadline) throw new Error('A lease does not end.')
    await delay(5)
  }
  return now
}
