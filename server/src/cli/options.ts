import { defaultLimits } from '@contextd/protocol'
import type { Limits } from '@contextd/protocol'
import { tokenFault } from '../server-options.ts'
import type { ServerOptions } from '../server-options.ts'
import { isLoopback } from '../socket/admission.ts'
import { UsageError, wholeOf } from './flags.ts'
import type { Flags, Given } from './flags.ts'
import type { TokenRules } from './tokens.ts'

/** What `contextd serve` was asked for. */
export interface ServeOptions {
  readonly port: number
  readonly host: string
  readonly store: string
  readonly anonymous: boolean
  /** How bearer tokens are checked; null: nobody is authenticated. */
  readonly tokens: TokenRules | null
  readonly origins: readonly string[]
  readonly limits: Partial<Limits>
  /** Life of a context after its last commit, ms; null: none ends. */
  readonly contextTtlMs: number | null
  /** Age from which deltas are pruned, ms; null: the engine's default. */
  readonly deltaTtlMs: number | null
  readonly log: LogOptions
  /** Who may read the metrics, as `createServer` takes it. */
  readonly metrics: ServerOptions['metrics']
}

/** The least that is logged, and as what; null: text on a terminal, else JSON. */
export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat | null
}
const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
const logFormats = ['json', 'text'] as const
type LogLevel = (typeof logLevels)[number]
type LogFormat = (typeof logFormats)[number]
/** Who may read the metrics, but for who has a token. */
const readers = ['local', 'all', 'off'] as const

export const defaultStore = 'sqlite:contextd.db'

/** What there is to say to `serve`. */
export const serveFlags: Flags = {
  port: { kind: 'text', value: 'PORT', help: 'port to listen on; 0: a free one (default 4000)' },
  host: { kind: 'text', value: 'HOST', help: 'address to listen on (default 127.0.0.1)' },
  store: {
    kind: 'text',
    value: 'URL',
    help: `where contexts are kept: sqlite:FILE, memory:, redis://HOST:PORT, rediss://HOST:PORT, s3://BUCKET (default ${defaultStore})`,
  },
  'jwt-secret': {
    kind: 'text',
    value: 'SECRET',
    help: 'lets in who has a JWT signed with this secret (HS256, HS384, HS512); also from CONTEXTD_JWT_SECRET',
  },
  jwks: { kind: 'text', value: 'URL', help: 'lets in who has a JWT signed with one of the keys that this address publishes' },
  'jwt-issuer': { kind: 'text', value: 'NAME', help: 'only tokens of this issuer (iss)' },
  'jwt-audience': { kind: 'text', value: 'NAME', help: 'only tokens for this audience (aud)' },
  anonymous: {
    kind: 'switch',
    help: "lets everybody who can connect read and write everything; without tokens needed for any HOST but this machine's own",
  },
  cors: { kind: 'list', value: 'ORIGIN', help: "origin of browser pages that may connect, besides the server's own; may be repeated" },
  limit: {
    kind: 'list',
    value: 'NAME=VALUE',
    help: `sets a limit; 0: none; may be repeated. Names: ${Object.keys(defaultLimits).join(', ')}`,
  },
  'context-ttl-ms': {
    kind: 'text',
    value: 'MS',
    help: 'contexts that nobody has open expire this long after their last commit (default: never)',
  },
  'delta-ttl-ms': { kind: 'text', value: 'MS', help: 'deltas are pruned at this age (default 24 h)' },
  metrics: {
    kind: 'text',
    value: readers.join('|'),
    help: 'who may read /metrics: who asks on this machine (default), everybody who can connect, nobody',
  },
  'metrics-token': {
    kind: 'text',
    value: 'TOKEN',
    help: 'who may read /metrics: whoever has this bearer token, from anywhere; also from CONTEXTD_METRICS_TOKEN',
  },
  'log-level': { kind: 'text', value: logLevels.join('|'), help: 'the least that is logged, to standard error (default info)' },
  log: { kind: 'text', value: logFormats.join('|'), help: 'lines of JSON, or text (default: text on a terminal, else JSON)' },
}

/** Reads what `serve` was asked for. @throws {UsageError} */
export function serveOptions(
  positionals: readonly string[],
  given: Given,
  env: { readonly [name: string]: string | undefined },
): ServeOptions {
  if (positionals.length > 0) throw new UsageError(`unexpected argument: ${positionals[0]}`)
  const anonymous = given.on('anonymous')
  const tokens = tokensOf(given, anonymous ? {} : env)
  if (tokens !== null && anonymous) throw new UsageError('--anonymous: with --jwt-secret or --jwks nobody is anonymous; take one of them')
  const host = given.text('host') ?? '127.0.0.1'
  if (!isLoopback(host) && !anonymous && tokens === null) {
    throw new UsageError(
      `--host: on ${host} others can connect; add --jwt-secret or --jwks, or --anonymous if all of them may read and write everything`,
    )
  }
  return {
    port: readPort(given.text('port') ?? '4000'),
    host,
    store: given.text('store') ?? defaultStore,
    anonymous,
    tokens,
    origins: given.list('cors'),
    limits: Object.fromEntries(given.list('limit').map(readLimit)),
    contextTtlMs: wholeOf(given, 'context-ttl-ms', 1) ?? null,
    deltaTtlMs: wholeOf(given, 'delta-ttl-ms', 0) ?? null,
    log: { level: oneOf(given, 'log-level', logLevels) ?? 'info', format: oneOf(given, 'log', logFormats) ?? null },
    metrics: metricsOf(given, env),
  }
}

/** One of a few words; undefined: it is not given. @throws {UsageError} it is another */
function oneOf<Word extends string>(given: Given, name: string, words: readonly Word[]): Word | undefined {
  const text = given.text(name)
  if (text === undefined) return undefined
  const found = words.find((word) => word === text)
  if (found === undefined) throw new UsageError(`--${name}: ${text} is none of ${words.join(', ')}`)
  return found
}

function metricsOf(given: Given, env: { readonly [name: string]: string | undefined }): ServerOptions['metrics'] {
  const reader = oneOf(given, 'metrics', readers)
  const named = given.text('metrics-token')
  if (reader !== undefined && named !== undefined) throw new UsageError('--metrics and --metrics-token exclude each other')
  const token = named ?? (reader === undefined ? env['CONTEXTD_METRICS_TOKEN'] || undefined : undefined)
  if (token === undefined) return reader === undefined || reader === 'local' ? undefined : reader === 'all'
  const fault = tokenFault(token)
  if (fault !== null) throw new UsageError(`--metrics-token ${fault}`)
  return { token }
}

function tokensOf(given: Given, env: { readonly [name: string]: string | undefined }): TokenRules | null {
  const jwks = given.text('jwks')
  const secret = given.text('jwt-secret') ?? (jwks === undefined ? env['CONTEXTD_JWT_SECRET'] : undefined)
  const issuer = given.text('jwt-issuer')
  const audience = given.text('jwt-audience')
  const narrowed = { ...(issuer !== undefined && { issuer }), ...(audience !== undefined && { audience }) }
  if (secret !== undefined && jwks !== undefined) throw new UsageError('--jwks and --jwt-secret exclude each other')
  if (secret !== undefined) {
    if (secret.length < 32) throw new UsageError('--jwt-secret: a secret has at least 32 characters, or it can be guessed')
    return { ...narrowed, secret }
  }
  if (jwks !== undefined) return { ...narrowed, jwks: readJwks(jwks) }
  if (issuer !== undefined || audience !== undefined) throw new UsageError('--jwt-issuer and --jwt-audience need --jwt-secret or --jwks')
  return null
}

function readJwks(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[|\]$/g, '')))) return url
  throw new UsageError(`--jwks: ${text} is no https address`)
}

function readPort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new UsageError(`--port: ${text} is no port; it is a number from 0 to 65535`)
  return Number(text)
}

function readLimit(text: string): [string, number] {
  const [, name, value] = /^(\w+)=(\d{1,15})$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new UsageError(`--limit: ${text} is not NAME=VALUE with a whole number`)
  if (!Object.hasOwn(defaultLimits, name))
    throw new UsageError(`--limit: there is no limit ${name}; there are ${Object.keys(defaultLimits).join(', ')}`)
  return [name, Number(value)]
}
