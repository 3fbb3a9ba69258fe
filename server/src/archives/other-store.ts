import { ContextdError, randomToken } from '@contextd/protocol'
import type { ContextBackend } from '../backends/backend.ts'

/** Where two backends find out whether they are on one store: no id of a user's context begins so. */
const meetingId = '~archive'
const leaseMs = 60_000
const tokenLength = 12

/**
 * Makes sure that two open backends are not on one store: what is locked in one is not locked in the other.
 * @throws {ContextdError} `invalid_operation` – they are · `backend_unavailable`
 */
export async function checkOtherStore(backend: ContextBackend, archive: ContextBackend): Promise<void> {
  const [key, hold, now] = [randomToken(tokenLength), randomToken(tokenLength), Date.now()]
  await backend.lock({ contextId: meetingId, key, hold, holder: { userId: null, actor: 'server' }, ttlMs: leaseMs, extend: false, now })
  try {
    const found = await archive.locks(meetingId, now)
    if (!found.some((lock) => lock.key === key)) return
  } finally {
    // Else its lease ends it.
    await backend.unlock(meetingId, key, hold, now).catch(() => {})
  }
  throw new ContextdError(
    'invalid_operation',
    'archive is the very store that keeps the contexts: an export would replace them by what they were. Name another one.',
  )
}
