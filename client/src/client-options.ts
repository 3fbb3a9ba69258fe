import type { ContextDefinition } from '@contextd/protocol'
import type { ClientOptions } from './client-types.ts'

/** Options that a client takes, checked. */
export interface CheckedOptions {
  readonly origin: string
  readonly path: string
  readonly auth: ClientOptions['auth']
  readonly onError: NonNullable<ClientOptions['onError']>
  readonly contexts: readonly ContextDefinition[]
}

const known: ReadonlySet<string> = new Set(['url', 'auth', 'onError', 'contexts'])
const defaultPath = '/contextd'

/** @throws {TypeError} an option is missing, malformed or unknown */
export function checkOptions(options: unknown): CheckedOptions {
  if (typeof options !== 'object' || options === null)
    throw new TypeError('createClient takes an object of options, with the url of the server')
  for (const name of Object.keys(options)) if (!known.has(name)) throw new TypeError(`createClient: unknown option "${name}"`)
  const { url, auth, onError, contexts = [] } = options as ClientOptions & { contexts?: unknown }
  if (auth !== undefined && typeof auth !== 'string' && typeof auth !== 'function') {
    throw new TypeError('createClient: auth is a token, or a function that finds one')
  }
  if (onError !== undefined && typeof onError !== 'function') throw new TypeError('createClient: onError is a function')
  if (!Array.isArray(contexts) || !contexts.every(isDefinition))
    throw new TypeError('createClient: contexts is a list of what defineContext made')
  return { ...checkUrl(url), auth, onError: onError ?? (() => {}), contexts }
}

const isDefinition = (definition: unknown): definition is ContextDefinition =>
  typeof definition === 'object' && definition !== null && 'id' in definition && typeof definition.id === 'string'

/** The origin of the server and the path of its endpoint. */
function checkUrl(url: unknown): { origin: string; path: string } {
  const page = (globalThis as { readonly location?: { readonly href?: string } }).location?.href
  let parsed: URL
  try {
    parsed = new URL(String(url), page)
  } catch {
    throw new TypeError(
      `createClient: url is that of the server, like https://example.com or https://example.com/contextd, not ${JSON.stringify(url)}`,
    )
  }
  const protocol = parsed.protocol.replace(/^ws/, 'http')
  if (typeof url !== 'string' || (protocol !== 'http:' && protocol !== 'https:')) {
    throw new TypeError(`createClient: url is an http or https one, not ${JSON.stringify(url)}`)
  }
  const path = parsed.pathname.replace(/\/+$/, '')
  return { origin: `${protocol}//${parsed.host}`, path: path === '' ? defaultPath : path }
}

/** Finds the definition of a context: one with its id, else the first whose pattern fits. */
export function definitionFinder(definitions: readonly ContextDefinition[]): (contextId: string) => ContextDefinition | undefined {
  const patterns = definitions.map((definition) => ({ definition, parts: definition.id.split('*') }))
  return (contextId) => patterns.find(({ parts }) => fits(contextId, parts))?.definition
}

/** Whether an id is these parts with any text between them. */
function fits(id: string, parts: readonly string[]): boolean {
  const first = parts[0]!
  const last = parts.at(-1)!
  if (parts.length === 1) return id === first
  if (!id.startsWith(first) || !id.endsWith(last) || id.length < first.length + last.length) return false
  const end = id.length - last.length
  let from = first.length
  for (const part of parts.slice(1, -1)) {
    const at = id.indexOf(part, from)
    if (at < 0 || at + part.length > end) return false
    from = at + part.length
  }
  return true
}
