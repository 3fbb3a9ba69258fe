import { recordGraceMs } from '../../commits/commit-step.ts'
import { lockStep } from '../../locks/locks.ts'
import type { HeldLock, LockRequest, LockResult } from '../backend.ts'
import type { Tables } from './tables.ts'

/** The locks of an open file; each call within a transaction that the caller has begun. */
export class Locks {
  readonly #tables: Tables

  constructor(tables: Tables) {
    this.#tables = tables
  }

  /** Takes a lock, or gives a hold more time; needs a transaction that may write. */
  lock(request: LockRequest): LockResult {
    const { contextId, key, now } = request
    const tables = this.#tables
    const found = tables.find(contextId)
    const stored = found.number === null ? null : tables.lock(found.number, key)
    const lastToken = found.number === null ? 0 : this.#lastToken(found.number)
    const { result, lock } = lockStep(stored, lastToken, request)
    if (lock === null) return result
    const number = tables.numberOf(found, contextId)
    // Long enough after their end that no clock of another process can take them for held.
    tables.statements.dropLocks.run(number, now - recordGraceMs)
    tables.setLock(number, key, lock)
    if (lock.token > lastToken) tables.statements.setLastToken.run(lock.token, number)
    return result
  }

  /** Ends a hold; needs a transaction that may write. */
  unlock(contextId: string, key: string, hold: string, now: number): boolean {
    const { number } = this.#tables.find(contextId)
    const lock = number === null ? null : this.#tables.lock(number, key)
    if (lock?.hold !== hold) return false
    this.#tables.statements.removeLock.run(number, key)
    return lock.until > now
  }

  locks(contextId: string, now: number): HeldLock[] {
    const { number } = this.#tables.find(contextId)
    return number === null ? [] : this.#tables.locks(number, now)
  }

  #lastToken(number: number): number {
    return (this.#tables.statements.lastToken.get(number) as { last_token: number }).last_token
  }
}
