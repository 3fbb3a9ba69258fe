import { isContextdError } from '@contextd/protocol'

/** What a failure is in one line, for whoever runs the command: no stack, and nothing of a password. */
export function failureLine(
  error: unknown,
  { port, host, store }: { readonly port: number; readonly host: string; readonly store: string },
): string {
  return withoutSecrets(reason(error, port, host), store).replaceAll(/\s*\n\s*/g, ' ')
}

function reason(error: unknown, port: number, host: string): string {
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (isContextdError(error)) return error.message
  if (code === 'EADDRINUSE') return `port ${port} on ${host} is in use; choose another with --port`
  if (code === 'EACCES') return `port ${port} on ${host} may not be used by this user; choose another with --port`
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return `${host} is no address of this machine; choose another with --host`
  return typeof message === 'string' && message !== '' ? message : 'failed for no known reason'
}

/** Whatever a library says, neither the password of the store nor any that stands in a URL leaves this process. */
function withoutSecrets(text: string, store: string): string {
  let clean = text.replaceAll(/\/\/(?!:PASSWORD@)[^/\s@]*@/g, '//***@')
  for (const secret of secretsOf(store)) clean = clean.replaceAll(secret, '***')
  return clean
}

function secretsOf(store: string): string[] {
  const written = /^[a-z][a-z0-9+.-]*:\/\/[^/:@]*:([^/]*)@/i.exec(store)?.[1]
  if (written === undefined || written === '') return []
  try {
    return [written, decodeURIComponent(written)]
  } catch {
    return [written]
  }
}
