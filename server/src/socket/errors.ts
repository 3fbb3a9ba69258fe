import { ContextdError, isContextdError } from '@contextd/protocol'
import type { JsonValue, WireError } from '@contextd/protocol'

/** Longest message that travels with an error. */
const longest = 1_000

/** An error as it is told to a client: its own code and words if it is ours, else `internal` and nothing of what is inside. */
export function wireError(error: unknown): WireError {
  if (!isContextdError(error)) return { code: 'internal', message: 'The server failed at this. It is sent again.' }
  const told = { code: error.code, message: error.message.slice(0, longest) }
  return Object.keys(error.details).length === 0 ? told : { ...told, details: error.details as JsonValue }
}

/** The error of whatever is bounded per second or per socket. */
export const rateLimited = (limit: string, retryAfterMs: number): ContextdError =>
  new ContextdError('rate_limited', `Too much at once (${limit}). Try again in ${retryAfterMs} ms.`, { details: { retryAfterMs } })

/** The error while the server is closing, and of sessions that have gone elsewhere. */
export const closed = (why: string): ContextdError => new ContextdError('closed', `${why} Attach the session on a new connection.`)
