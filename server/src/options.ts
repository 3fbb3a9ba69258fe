import { defaultLimits, formats } from '@contextd/protocol'
import type { Change, ContextDefinition, DeltaFormat, JsonPatchOperation, Limits, VerboseDelta } from '@contextd/protocol'
import type { Archive, OpenArchive } from './archives/archive.ts'
import { archiveOf } from './archives/open-archive.ts'
import type { Backend, ContextBackend } from './backends/backend.ts'
import { memoryBackend } from './backends/memory.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import type { Hooks } from './definitions/hooks.ts'
import { carefulLogger, silentLogger } from './logger.ts'
import type { Logger } from './logger.ts'

/** The built-in formats of deltas, and what each makes of the changes. */
export interface DeltaFormats {
  verbose: VerboseDelta
  changes: Change[]
  jsonPatch: JsonPatchOperation[]
}
/** What `createContexts` takes. */
export interface ContextsOptions<
  F extends keyof DeltaFormats | DeltaFormat<unknown> = 'verbose',
  D extends readonly ContextDefinition[] = [],
> {
  /** Default `memoryBackend()`. */
  backend?: Backend
  /** Shape of the deltas in answers and to subscribers: a built-in format, or a function of your own. Default `'verbose'`. */
  deltaFormat?: F
  /** Default the system's. */
  clock?: Clock
  /** Life of a context after its last commit, or after it was last seen open, ms; acts with `autoDelete` only. Default: none. */
  contextTtlMs?: number
  /** Age from which deltas are pruned, ms. Default 24 h. */
  deltaTtlMs?: number
  /** Most versions that the log keeps and that `sync` answers as a delta. Default: unset. */
  deltaThreshold?: number
  /** Expire contexts after `contextTtlMs`, when a cleanup runs. Default false. */
  autoDelete?: boolean
  /**
   * Where `export` puts contexts and `restore` finds them: two functions, or a backend. A context that is not there is looked for in it when it
   * is first asked for. Each call may take 10 s.
   */
  archive?: Archive | Backend
  /** Time until a leader that is gone is replaced, ms: shorter is sooner, and asks the store more often. At least 10, default 10,000. */
  leaseMs?: number
  /** Time that a session's records are kept after its last use, ms. Default 7 d. */
  sessionTtlMs?: number
  /** What is known of kinds of contexts: their schema, what they begin as, the key of their list items. */
  contexts?: D
  /** What happens around each commit. */
  hooks?: Hooks
  limits?: Partial<Limits>
  logger?: Logger
}

/** Options with their defaults, checked. */
export interface Settings {
  readonly backend: ContextBackend
  readonly format: DeltaFormat<unknown>
  readonly clock: Clock
  /** 0: contexts do not expire. */
  readonly contextTtlMs: number
  readonly deltaTtlMs: number
  /** 0: unset. */
  readonly deltaThreshold: number
  readonly archive: OpenArchive | null
  readonly leaseMs: number
  readonly sessionTtlMs: number
  readonly contexts: readonly ContextDefinition[]
  readonly hooks: Hooks | null
  readonly limits: Limits
  readonly logger: Logger
}

const dayMs = 86_400_000
/** A lease is renewed in time only if asking the store takes much less. */
const leastLeaseMs = 10
const names: ReadonlySet<string> = new Set<keyof ContextsOptions>([
  'backend',
  'deltaFormat',
  'clock',
  'contextTtlMs',
  'deltaTtlMs',
  'deltaThreshold',
  'autoDelete',
  'archive',
  'leaseMs',
  'sessionTtlMs',
  'contexts',
  'hooks',
  'limits',
  'logger',
])

/** Fills in the defaults. @throws {TypeError} an option is malformed, or unknown */
export function settingsOf(options: ContextsOptions<keyof DeltaFormats | DeltaFormat<unknown>, readonly ContextDefinition[]>): Settings {
  if (typeof options !== 'object' || options === null) throw new TypeError('createContexts takes an object: { backend, … }')
  for (const name of Object.keys(options)) {
    if (!names.has(name)) throw new TypeError(`createContexts has no option ${name}; it has ${[...names].join(', ')}`)
  }
  const { contextTtlMs, deltaTtlMs, deltaThreshold, autoDelete = false, leaseMs, sessionTtlMs } = options
  const backend = backendOf(options.backend)
  const lifeMs = wholeOf('contextTtlMs', contextTtlMs, 1) ?? 0
  if (typeof autoDelete !== 'boolean') throw new TypeError('autoDelete must be true or false')
  return {
    backend,
    format: formatOf(options.deltaFormat),
    clock: clockOf(options.clock),
    contextTtlMs: autoDelete ? lifeMs : 0,
    deltaTtlMs: wholeOf('deltaTtlMs', deltaTtlMs, 0) ?? dayMs,
    deltaThreshold: wholeOf('deltaThreshold', deltaThreshold, 1) ?? 0,
    archive: archiveOf(options.archive, backend),
    leaseMs: checkMs('leaseMs', leaseMs, leastLeaseMs) ?? 10_000,
    sessionTtlMs: wholeOf('sessionTtlMs', sessionTtlMs, 1) ?? 7 * dayMs,
    contexts: definitionsOf(options.contexts),
    hooks: hooksOf(options.hooks),
    limits: limitsOf(options.limits),
    logger: loggerOf(options.logger),
  }
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The limits with their defaults. @throws {TypeError} one is malformed, or unknown */
export function limitsOf(limits: Partial<Limits> | undefined): Limits {
  if (limits === undefined) return defaultLimits
  if (!isObject(limits)) throw new TypeError('limits must be an object: { stateBytes: 1_048_576, … }')
  const set: Partial<Limits> = {}
  for (const [name, value] of Object.entries(limits) as [keyof Limits, unknown][]) {
    if (!Object.hasOwn(defaultLimits, name)) {
      throw new TypeError(`there is no limit ${name}; there are ${Object.keys(defaultLimits).join(', ')}`)
    }
    const whole = wholeOf(`the limit ${name}`, value, 0)
    if (whole !== undefined) set[name] = whole
  }
  return { ...defaultLimits, ...set }
}

/** @throws {TypeError} it is neither undefined nor a whole number of at least `least` */
export function wholeOf(name: string, value: unknown, least: number): number | undefined {
  if (value === undefined) return undefined
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number
  throw new TypeError(`${name} must be a whole number of at least ${least}`)
}

/** What a timer can wait for, ms: 24.8 days. */
const longestMs = 2_147_483_647

/** A length of time that a timer is to wait for. @throws {TypeError} it is malformed */
export function checkMs(name: string, ms: unknown, least: number): number | undefined {
  const checked = wholeOf(name, ms, least)
  if (checked !== undefined && checked > longestMs) throw new TypeError(`${name} must be at most ${longestMs}`)
  return checked
}

const methods = ['open', 'commit', 'sync', 'load', 'log', 'heads', 'list', 'close'] as const satisfies readonly (keyof ContextBackend)[]

function backendOf(backend: unknown = memoryBackend()): ContextBackend {
  if (isObject(backend) && methods.every((method) => typeof backend[method] === 'function')) return backend as unknown as ContextBackend
  throw new TypeError("backend must be a backend: memoryBackend(), openBackend('sqlite:contextd.db'), …")
}

function formatOf(format: unknown = 'verbose'): DeltaFormat<unknown> {
  if (typeof format === 'function') return format as DeltaFormat<unknown>
  if (typeof format === 'string' && Object.hasOwn(formats, format)) return formats[format as keyof DeltaFormats]
  throw new TypeError(`deltaFormat must be ${Object.keys(formats).join(', ')} or a function (delta, { before, after }) => changes`)
}

function clockOf(clock: unknown = systemClock): Clock {
  if (!isObject(clock) || typeof clock['now'] !== 'function') throw new TypeError('clock must be an object with a function now')
  const given = clock as unknown as Clock
  if (!Number.isFinite(given.now())) throw new TypeError('clock.now must give the time in ms since the epoch, a number')
  // Times travel and are stored as whole numbers.
  return { now: () => Math.max(0, Math.trunc(given.now())) }
}

function loggerOf(logger: unknown = silentLogger): Logger {
  const levels = ['debug', 'info', 'warn', 'error'] as const
  if (isObject(logger) && levels.every((level) => typeof logger[level] === 'function')) return carefulLogger(logger as unknown as Logger)
  throw new TypeError('logger must have the functions debug, info, warn and error')
}

const hookNames: readonly string[] = ['beforeCommit', 'afterCommit'] satisfies (keyof Hooks)[]

function hooksOf(hooks: unknown): Hooks | null {
  if (hooks === undefined) return null
  if (!isObject(hooks)) throw new TypeError('hooks must be an object: { beforeCommit, afterCommit }')
  for (const [name, hook] of Object.entries(hooks)) {
    if (!hookNames.includes(name)) throw new TypeError(`there is no hook ${name}; there are ${hookNames.join(', ')}`)
    if (hook !== undefined && typeof hook !== 'function') throw new TypeError(`the hook ${name} must be a function`)
  }
  return hooks
}

function definitionsOf(contexts: unknown = []): readonly ContextDefinition[] {
  if (!Array.isArray(contexts)) throw new TypeError('contexts must be a list of what defineContext() returns')
  for (const definition of contexts as unknown[]) {
    if (!isObject(definition) || typeof definition['id'] !== 'string' || !isObject(definition['state'])) {
      // A schema may be a function too.
      if (isObject(definition) && typeof definition['id'] === 'string' && typeof definition['state'] === 'function') continue
      throw new TypeError('contexts must be a list of what defineContext() returns')
    }
  }
  const definitions = contexts as ContextDefinition[]
  const twice = definitions.find(({ id }, index) => definitions.findIndex((other) => other.id === id) < index)
  if (twice) throw new TypeError(`contexts has two definitions of ${twice.id}`)
  return definitions
}
