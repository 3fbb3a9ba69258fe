import type { Operation } from './operation.ts'
import type { SchemaIssue } from './define-context.ts'

/** Final: the write is refused and rolled back. */
export type FinalErrorCode =
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'locked'
  | 'invalid_operation'
  | 'invalid_state'
  | 'invalid_message'
  | 'too_large'
  | 'expired'
  | 'aborted'
/** Held: nothing is lost, it is sent again. */
export type HeldErrorCode =
  | 'offline'
  | 'timeout'
  | 'closed'
  | 'backend_unavailable'
  | 'rate_limited'
  | 'unauthenticated'
  | 'update_required'
  | 'internal'
/** Every code, the same on server, wire and client. */
export type ErrorCode = FinalErrorCode | HeldErrorCode
/** What `details` holds, where the code says more. */
export interface ErrorDetails {
  rate_limited: { readonly retryAfterMs: number }
  /** `unknown`: the write may have been applied. */
  timeout: { readonly outcome?: 'unknown' }
  conflict: { readonly operations?: readonly Operation[] }
  invalid_state: { readonly issues?: readonly SchemaIssue[] }
}
type DetailsOf<Code extends ErrorCode> = Code extends keyof ErrorDetails ? ErrorDetails[Code] : { readonly [key: string]: unknown }

/** Codes after which nothing is lost: the write is sent again. */
const heldCodes: ReadonlySet<ErrorCode> = new Set<HeldErrorCode>([
  'offline',
  'timeout',
  'closed',
  'backend_unavailable',
  'rate_limited',
  'unauthenticated',
  'update_required',
  'internal',
])
const finalCodes: ReadonlySet<ErrorCode> = new Set<FinalErrorCode>([
  'forbidden',
  'not_found',
  'conflict',
  'locked',
  'invalid_operation',
  'invalid_state',
  'invalid_message',
  'too_large',
  'expired',
  'aborted',
])

/** Tells a held code from a final one. */
export function isHeldCode(code: ErrorCode): code is HeldErrorCode {
  return heldCodes.has(code)
}
/** Tells an error code from any other text. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return heldCodes.has(code as ErrorCode) || finalCodes.has(code as ErrorCode)
}

/** The one error class of contextd; `message` says what happened, to which context, and what to do. */
export class ContextdError<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'ContextdError'
  readonly code: Code
  readonly details: DetailsOf<Code>
  /** True for held codes. */
  readonly retryable: boolean
  declare readonly contextId?: string
  declare readonly cause?: unknown

  constructor(code: Code, message: string, options: { details?: DetailsOf<Code>; contextId?: string; cause?: unknown } = {}) {
    super(message)
    this.code = code
    this.details = options.details ?? ({} as DetailsOf<Code>)
    this.retryable = isHeldCode(code)
    if (options.contextId !== undefined) this.contextId = options.contextId
    if (options.cause !== undefined) this.cause = options.cause
  }
}

/** Tells a `ContextdError` (of this code), also one of another copy of the package. */
export function isContextdError(error: unknown): error is ContextdError
export function isContextdError<Code extends ErrorCode>(error: unknown, code: Code): error is ContextdError<Code>
export function isContextdError(error: unknown, code?: ErrorCode): boolean {
  if (!(error instanceof Error) || error.name !== 'ContextdError' || !('code' in error)) return false
  return code === undefined ? isErrorCode(error.code) : error.code === code
}
