import { ContextdError, isContextdError } from '@contextd/protocol'
import type { Answer } from './commit-queue.ts'

/** Why a write did not come to a commit. */
export function errorOf(contextId: string, answer: Answer): unknown {
  if (answer.type === 'verdict' && answer.decided?.error !== undefined) return located(answer.decided.error, contextId)
  if (answer.type === 'held') return located(answer.error, contextId)
  return new ContextdError(
    'timeout',
    `It is not known whether the write to ${contextId} was stored. Read the context before writing again.`,
    { contextId, details: { outcome: 'unknown' } },
  )
}

/** The error, with the context that it is about; what the caller's own code threw stays as it is. */
export function located(error: unknown, contextId: string): unknown {
  if (!isContextdError(error) || error.contextId !== undefined) return error
  const { code, message, details } = error
  return new ContextdError(code, message, { details, contextId, cause: error })
}
