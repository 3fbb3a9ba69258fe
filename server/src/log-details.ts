import { isContextdError } from '@contextd/protocol'

/** Errors are told with their causes, so many of them. */
const mostCauses = 4
/** Codes of errors whose messages may quote the state. */
const quoting: ReadonlySet<string> = new Set(['conflict', 'invalid_operation', 'invalid_state', 'invalid_message'])

/** An error as it is logged. */
interface LoggedError {
  readonly type: string
  readonly code?: string
  readonly message: string
  /** Where it was thrown; not of ours, whose code says enough. */
  readonly stack?: string
  readonly cause?: LoggedError
}

/**
 * Details as they may leave the process. An error becomes plain JSON; what it carries besides its message stays here, since that may be a part
 * of a state or the claims of a token. Passwords in addresses are blotted out.
 */
export function loggable(details: object): object {
  const out: { [name: string]: unknown } = {}
  for (const [name, value] of Object.entries(details) as [string, unknown][]) {
    if (name === 'error' || value instanceof Error) out[name] = loggedError(value, 0)
    else out[name] = typeof value === 'string' ? withoutPasswords(value) : value
  }
  return out
}

/** Text in which no address has a password. */
export const withoutPasswords = (text: string): string => text.replaceAll(/\/\/(?!:PASSWORD@)[^/\s@]*@/g, '//***@')

function loggedError(error: unknown, causes: number): LoggedError {
  if (!(error instanceof Error)) {
    return { type: typeof error, message: typeof error === 'string' ? withoutPasswords(error) : 'what was thrown is no error' }
  }
  const { code } = error as { code?: unknown }
  return {
    type: error.name,
    ...((typeof code === 'string' || typeof code === 'number') && { code: String(code) }),
    message: messageOf(error),
    ...(!isContextdError(error) && { stack: placesOf(error) }),
    ...(error.cause !== undefined && causes < mostCauses && { cause: loggedError(error.cause, causes + 1) }),
  }
}

function messageOf(error: Error): string {
  const message = withoutPasswords(error.message)
  // What V8 could not read it quotes, and that may be a state.
  if (/is not valid JSON|JSON at position/.test(message))
    return message.replace(/(?:Unexpected|Expected|Unterminated|Bad |").*/s, 'it is no JSON')
  return isContextdError(error) && quoting.has(error.code) ? message.replaceAll(/"(?:[^"\\]|\\.)*"/g, '"…"') : message
}

/** The stack without its first lines, which repeat the message. */
const placesOf = ({ stack = '' }: Error): string =>
  stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim())
    .join('\n')
