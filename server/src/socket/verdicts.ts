import { isContextdError, isHeldCode } from '@contextd/protocol'
import type { Outcome } from '@contextd/protocol'
import type { Answer } from '../commits/commit-queue.ts'
import { wireError } from './errors.ts'

/**
 * Whether the room's own frame tells the session what its commit came to: the delta carries (actor, number), so a session that has joined
 * needs no verdict beside it. A delete has no delta, and of a repeat the delta was long ago. Pure.
 */
export function isToldByDelta(answer: Answer, commit: { readonly remove: boolean }, joined: boolean): boolean {
  return joined && !commit.remove && answer.type === 'verdict' && answer.verdict.type === 'applied' && answer.decided !== null
}

/** What a session is told of its commit in a `v` frame. Pure. */
export function outcomeOf(answer: Answer): Outcome {
  if (answer.type === 'verdict') return answer.verdict
  if (answer.type === 'held') return heldBy(answer.error)
  if (answer.type === 'unknown') return { type: 'held', code: 'timeout', message: 'The server does not know yet. It is sent again.' }
  return { type: answer.type }
}

/** Held, for a reason that is no verdict: a final code would be one without a number, so it counts as `internal`. */
export function heldBy(error: unknown): Outcome {
  const reason = isContextdError(error) && isHeldCode(error.code) ? error : null
  return { type: 'held', ...wireError(reason) }
}
