import type { Head, LockToken } from '@contextd/protocol'
import type { User } from '../authorize.ts'
import { checkLockKey } from '../locks/contexts-lock.ts'
import type { KnownHead, WriteOptions } from './contexts-types.ts'
import type { Submission } from '../commits/decide.ts'
import { wholeOf } from '../options.ts'

const longestUserId = 256

/**
 * The conditions of a write, and on whose behalf it is.
 * @throws {ContextdError} `invalid_operation` – the key of the lock is none
 * @throws {TypeError} one is malformed
 */
export function checkWriteOptions(
  { ifVersion, ifRevision, lock, user }: Omit<WriteOptions, 'initial'>,
  idBytes: number,
): {
  /** Null: none. */
  readonly conditions: Pick<Submission<unknown>, 'ifVersion' | 'ifRevision' | 'locks'> | null
  readonly user: User | null
} {
  wholeOf('ifVersion', ifVersion, 0)
  if (ifRevision !== undefined && typeof ifRevision !== 'string')
    throw new TypeError('ifRevision must be the revision of a context, a string')
  if (user !== undefined) checkUser(user)
  const conditional = ifVersion !== undefined || ifRevision !== undefined || lock !== undefined
  const conditions = {
    ...(ifVersion !== undefined && { ifVersion }),
    ...(ifRevision !== undefined && { ifRevision }),
    ...(lock !== undefined && { locks: [lockOf(lock, idBytes)] }),
  }
  return { conditions: conditional ? conditions : null, user: user ?? null }
}

function lockOf(lock: unknown, idBytes: number): LockToken {
  if (typeof lock === 'object' && lock !== null && 'key' in lock && 'token' in lock) {
    const { key, token } = lock
    if (typeof key === 'string' && Number.isSafeInteger(token)) return { key: checkLockKey(key, idBytes), token: token as number }
  }
  throw new TypeError('lock must be what lock() gave: { key, token }')
}

function checkUser(user: unknown): void {
  const id = typeof user === 'object' && user !== null && 'id' in user ? user.id : undefined
  if (typeof id !== 'string') throw new TypeError('user must be an object with an id, a string')
  if (id.length > longestUserId) throw new TypeError(`user.id must have at most ${longestUserId} characters`)
}

/** Where a caller's copy stands, as a partial head. @throws {TypeError} it is neither a version nor a head */
export function checkSince(since: number | KnownHead): { readonly version: number } & Partial<Head> {
  if (typeof since !== 'object' || since === null) {
    if (Number.isSafeInteger(since) && since >= 0) return { version: since }
    throw new TypeError('sync takes a version (a whole number from 0), a head ({ version, revision }), or null for everything')
  }
  const { version, revision, incarnation } = since
  if (!Number.isSafeInteger(version) || version < 0) throw new TypeError('the version of a head must be a whole number from 0')
  if (typeof revision !== 'string') throw new TypeError('the revision of a head must be a string')
  if (incarnation !== undefined && typeof incarnation !== 'string') throw new TypeError('the incarnation of a head must be a string')
  return { version, revision, ...(incarnation !== undefined && { incarnation }) }
}
