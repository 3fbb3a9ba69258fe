import { isContextId } from '@contextd/protocol'
import type { Backend, ContextBackend } from '../backends/backend.ts'
import { RedisBackend, redisBackend } from '../backends/redis/redis.ts'
import type { Logger } from '../logger.ts'
import { settingsOf, wholeOf } from '../options.ts'
import type { Settings } from '../options.ts'
import { checkOptions } from '../check-options.ts'

/** What `new Contextd` takes. */
export interface ContextdOptions {
  /** Id of the context. */
  contextKey: string
  /** Default `localhost`. */
  redisHost?: string
  /** Default 6379. */
  redisPort?: number
  /** Default 0. */
  redisDb?: number
  /** Default: none. */
  redisPassword?: string
  /** In place of host, port, db and password. */
  redisUrl?: string
  /** Handed to ioredis. */
  redisOptions?: { readonly [option: string]: unknown }
  /**
   * An extra plain channel on which each commit of this class publishes `{ contextKey, version, revision }` for other programs, as JSON: at most
   * once, and not when the process ends in between. Needs Redis.
   */
  pubsubChannel?: string
  /** In place of Redis. It is this instance's own: `close()` closes it. */
  backend?: Backend
  /** Default: none. */
  logger?: Logger
}

/** Options of the class, checked. */
export interface ContextdSettings {
  readonly contextKey: string
  readonly engine: Settings
  /** Publishes for other programs; null: not asked for. */
  readonly publish: ((message: string) => Promise<unknown>) | null
}

const names: readonly string[] = [
  'contextKey',
  'redisHost',
  'redisPort',
  'redisDb',
  'redisPassword',
  'redisUrl',
  'redisOptions',
  'pubsubChannel',
  'backend',
  'logger',
] satisfies (keyof ContextdOptions)[]
const highestPort = 65_535

/** @throws {TypeError} an option is malformed, or does not go with another */
export function checkContextdOptions(options: ContextdOptions): ContextdSettings {
  checkOptions('Contextd', options, names)
  const { contextKey, pubsubChannel, logger } = options
  if (!isContextId(contextKey)) {
    throw new TypeError('contextKey must be the id of a context: 1 to 128 of A-Z a-z 0-9 . _ : - @ + ~, the first a letter or a digit')
  }
  text('pubsubChannel', pubsubChannel)
  const engine = settingsOf({ backend: backendOf(options), ...(logger !== undefined && { logger }) })
  return { contextKey, engine, publish: publisherOf(engine.backend, pubsubChannel) }
}

function backendOf(options: ContextdOptions): Backend {
  const { backend, redisHost, redisPort, redisDb, redisPassword, redisUrl, redisOptions } = options
  const server = { redisHost, redisPort, redisDb, redisPassword }
  if (backend !== undefined) {
    refuse('backend', { ...server, redisUrl, redisOptions })
    return backend
  }
  if (redisOptions !== undefined && (typeof redisOptions !== 'object' || redisOptions === null)) {
    throw new TypeError('redisOptions must be an object, for ioredis')
  }
  if (redisUrl !== undefined) {
    refuse('redisUrl', server)
    return redisBackend({ url: redisUrl, ...(redisOptions && { redisOptions }) })
  }
  const host = text('redisHost', redisHost) ?? 'localhost'
  const port = wholeOf('redisPort', redisPort, 1) ?? 6379
  if (port > highestPort) throw new TypeError(`redisPort must be at most ${highestPort}`)
  const db = wholeOf('redisDb', redisDb, 0) ?? 0
  if (redisPassword !== undefined && typeof redisPassword !== 'string') throw new TypeError('redisPassword must be a string')
  return redisBackend({ redisOptions: { host, port, db, ...(redisPassword && { password: redisPassword }), ...redisOptions } })
}

/** @throws {TypeError} one of the others is given too */
function refuse(name: string, others: { readonly [name: string]: unknown }): void {
  const given = Object.keys(others).find((other) => others[other] !== undefined)
  if (given !== undefined) throw new TypeError(`${given} does not go with ${name}, which says where the context is kept`)
}

function text(name: string, value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw new TypeError(`${name} must be a string that is not empty`)
}

function publisherOf(backend: ContextBackend, channel: string | undefined): ContextdSettings['publish'] {
  if (channel === undefined) return null
  if (!(backend instanceof RedisBackend)) throw new TypeError('pubsubChannel is a channel of Redis: it needs Redis as the backend')
  return (message) => backend.publishPlain(channel, message)
}
