import { defaultLimits } from '@contextd/protocol'
import type { Limits } from '@contextd/protocol'
import type { Authorize, Handshake, User } from './authorize.ts'
import type { Contexts } from './contexts/contexts.ts'

/** What `createServer` takes. */
export interface ServerOptions<U extends User = User> {
  /** The engine; `createContexts` makes it, whatever its types. */
  contexts: Pick<Contexts, 'close'>
  /** Default `/contextd`. */
  path?: string
  /** Origins of browsers that may connect. Default: none but the server's own. */
  cors?: { origin: readonly string[] }
  limits?: Partial<Limits>
  /** Finds out who it is; null refuses with `unauthenticated`. Without it every user is anonymous (null). */
  authenticate?(handshake: Handshake): U | null | Promise<U | null>
  /** Allows or refuses with `forbidden`, the same for ids that do not exist. Default: everything. */
  authorize?(request: Parameters<Authorize<U>>[0]): boolean | Promise<boolean>
  /** Allows addresses other than the loopback without `authenticate`. Default false. */
  anonymous?: boolean
  /**
   * Who may read `/metrics`: `true` everybody who can connect, `{ token }` whoever has this bearer token, `false` nobody, and nothing is measured.
   * Default: whoever asks from this very machine.
   */
  metrics?: boolean | { readonly token: string }
}

const known: ReadonlySet<string> = new Set(['contexts', 'path', 'cors', 'limits', 'authenticate', 'authorize', 'anonymous', 'metrics'])

/** @throws {TypeError} an option is malformed, or unknown */
export function checkServerOptions(options: ServerOptions): void {
  if (typeof options !== 'object' || options === null) throw new TypeError('createServer takes an object: { contexts, … }')
  for (const name of Object.keys(options)) if (!known.has(name)) throw new TypeError(`createServer has no option ${name}`)
  const { path, cors, limits, anonymous } = options
  if (path !== undefined && !/^(\/[\w.~-]+)+\/?$/.test(path)) throw new TypeError('path must be an absolute path, such as /contextd')
  if (cors !== undefined) checkOrigins(cors)
  if (limits !== undefined) checkLimits(limits)
  for (const hook of ['authenticate', 'authorize'] as const) {
    if (options[hook] !== undefined && typeof options[hook] !== 'function') throw new TypeError(`${hook} must be a function`)
  }
  if (anonymous !== undefined && typeof anonymous !== 'boolean') throw new TypeError('anonymous must be true or false')
  checkMetrics(options.metrics)
}

function checkMetrics(metrics: unknown): void {
  if (metrics === undefined || typeof metrics === 'boolean') return
  const token = typeof metrics === 'object' && metrics !== null && 'token' in metrics ? metrics.token : undefined
  if (typeof token !== 'string') throw new TypeError('metrics must be true, false or { token }')
  const fault = tokenFault(token)
  if (fault !== null) throw new TypeError(`metrics.token ${fault}`)
}

/** What can be guessed is no secret. */
const leastToken = 16

/** Why a text cannot be the token of the metrics; null: it can. */
export function tokenFault(token: string): string | null {
  return token.length >= leastToken && /^[\x21-\x7e]+$/.test(token) ? null : `must have at least ${leastToken} characters, and no spaces`
}

function checkOrigins(cors: { origin?: unknown }): void {
  const { origin } = cors ?? {}
  if (!Array.isArray(origin)) throw new TypeError('cors.origin must be a list of origins, such as https://app.example')
  for (const entry of origin) {
    if (!isOrigin(entry))
      throw new TypeError(`cors.origin: ${JSON.stringify(entry)} is no origin; write it as the browser does, such as https://app.example`)
  }
}

function isOrigin(origin: unknown): boolean {
  if (typeof origin !== 'string' || !URL.canParse(origin)) return false
  return new URL(origin).origin === origin || /^[a-z][a-z0-9+.-]*:\/\/[^/?#]+$/.test(origin)
}

function checkLimits(limits: Partial<Limits>): void {
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(defaultLimits, name))
      throw new TypeError(`there is no limit ${name}; there are ${Object.keys(defaultLimits).join(', ')}`)
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`the limit ${name} must be a whole number; 0: none`)
  }
}
