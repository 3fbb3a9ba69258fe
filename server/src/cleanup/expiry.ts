import { expiredMark, randomToken } from '@contextd/protocol'
import type { CommitBatch, StaleContext } from '../backends/backend.ts'
import { headFrame } from '../commits/commit-attempt.ts'
import { serverAuthor } from '../commits/known-context.ts'

const tokenLength = 12

/** The batch that ends a context which nobody has used for long. It comes to nothing when somebody has written since. */
export function expiryOf(
  { contextId, head: base }: Pick<StaleContext, 'contextId' | 'head'>,
  now: number,
  sessionTtlMs: number,
): CommitBatch {
  const head = { incarnation: '', version: 0, revision: expiredMark + randomToken(tokenLength) }
  return {
    contextId,
    base,
    head,
    now,
    sessionTtlMs,
    members: [],
    entries: [],
    snapshot: null,
    updatedBy: serverAuthor,
    schema: 0,
    remove: true,
    retention: { before: 0, softSize: 0, hardSize: 0, maxVersions: 0 },
    message: headFrame(contextId, head),
  }
}
