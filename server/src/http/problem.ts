import { STATUS_CODES } from 'node:http'
import { isContextdError } from '@contextd/protocol'
import type { ContextdError, ErrorCode } from '@contextd/protocol'
import { wireError } from '../socket/errors.ts'

/** The status of each code, where nothing says another. */
const statuses: { readonly [C in ErrorCode]: number } = {
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  aborted: 409,
  expired: 410,
  too_large: 413,
  invalid_message: 400,
  invalid_operation: 422,
  invalid_state: 422,
  locked: 423,
  update_required: 426,
  rate_limited: 429,
  internal: 500,
  backend_unavailable: 503,
  closed: 503,
  offline: 503,
  timeout: 504,
}

type Headers = { readonly [name: string]: string }

/** An answer that is no success, where its status is not the one of its code, or where it needs headers of its own. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem'
  readonly status: number
  readonly error: ContextdError
  readonly headers: Headers

  constructor(status: number, error: ContextdError, headers: Headers = {}) {
    super(error.message)
    this.status = status
    this.error = error
    this.headers = headers
  }
}

/** An error as it is answered: a document of RFC 9457, with the code of the error in it. */
export interface Problem {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

/** How long to wait before trying again where nothing says it, seconds. */
const someTime = 1

/** Makes the answer of an error; of one that is not ours nothing is told. */
export function problemOf(thrown: unknown): Problem {
  const problem = thrown instanceof HttpProblem ? thrown : null
  const error = problem?.error ?? thrown
  const { code, message, details } = wireError(error)
  const status = problem?.status ?? statuses[code]
  const contextId = isContextdError(error) ? error.contextId : undefined
  const detail = code === 'internal' && !isContextdError(error) ? 'The server failed at this. Its log says more.' : message
  const body = {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    code,
    ...(contextId !== undefined && { contextId }),
    ...(details !== undefined && { details }),
  }
  return { status, headers: { ...waits(error, status), ...problem?.headers }, body: JSON.stringify(body) }
}

function waits(error: unknown, status: number): Headers {
  if (status === 401) return { 'www-authenticate': 'Bearer' }
  if (isContextdError(error, 'rate_limited')) {
    return { 'retry-after': String(Math.max(someTime, Math.ceil(error.details.retryAfterMs / 1_000))) }
  }
  return status === 503 || status === 429 ? { 'retry-after': String(someTime) } : {}
}
