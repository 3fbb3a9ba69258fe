import { isContextdError } from '@contextd/protocol'
import { withoutPasswords } from '../log-details.ts'

/**
 * What a failure is in one line, for whoever runs the command: no stack, and nothing of a password.
 * @param urls what was named on the command line, and may hold one
 * @param at where a server was to listen
 */
export function failureLine(error: unknown, urls: readonly string[], at?: { readonly port: number; readonly host: string }): string {
  return withoutSecrets(reason(error, at), urls).replaceAll(/\s*\n\s*/g, ' ')
}

function reason(error: unknown, at?: { readonly port: number; readonly host: string }): string {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (isContextdError(error)) return error.message
  if (at !== undefined) {
    const { port, host } = at
    if (code === 'EADDRINUSE') return `port ${port} on ${host} is in use; choose another with --port`
    if (code === 'EACCES') return `port ${port} on ${host} may not be used by this user; choose another with --port`
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
      return `${host} is no address of this machine; choose another with --host`
  }
  return typeof message === 'string' && message !== '' ? message : 'failed for no known reason'
}

/** Whatever a library says, neither a password that was named nor any that stands in a URL leaves this process. */
function withoutSecrets(text: string, urls: readonly string[]): string {
  let clean = withoutPasswords(text)
  for (const secret of urls.flatMap(secretsOf)) clean = clean.replaceAll(secret, '***')
  return clean
}

function secretsOf(url: string): string[] {
  const written = /^[a-z][a-z0-9+.-]*:\/\/[^/:@]*:([^/]*)@/i.exec(url)?.[1]
  if (written === undefined || written === '') return []
  try {
    return [written, decodeURIComponent(written)]
  } catch {
    return [written]
  }
}
