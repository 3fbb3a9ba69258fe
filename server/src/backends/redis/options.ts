import type { RedisOptions } from 'ioredis'
import { nameOf } from './cluster-map.ts'
import type { Address, NatMap, ServersOptions } from './cluster-map.ts'

/** Where Redis is. */
export interface RedisBackendOptions {
  /** `redis://` or `rediss://`, with user, password and database where there are any. Default `redis://localhost:6379/0`. */
  readonly url?: string
  /** Start of every key and channel: installations with different ones share a Redis. Default `contextd`. */
  readonly prefix?: string
  /**
   * Handed to ioredis (Sentinel, TLS, time-outs): `{ tls: { ca } }` for a certificate authority of one's own, `{ sentinels: [{ host, port }], name }`.
   * Of a Cluster the URL names any node; `{ cluster: [{ host, port }, …] }` names several instead, and `natMap` says where its nodes are reached from here.
   */
  readonly redisOptions?: { readonly [option: string]: unknown }
  /**
   * Whether a Redis that may lose contexts (it evicts keys, or keeps nothing on disk), or whose other nodes have other options, is refused by `open()`.
   * Default false: it is a warning to the logger.
   */
  readonly strict?: boolean
}
const optionNames: ReadonlySet<string> = new Set<keyof RedisBackendOptions>(['url', 'prefix', 'redisOptions', 'strict'])

/** Options, checked. */
export interface RedisSettings extends ServersOptions {
  readonly prefix: string
  /** Start of every channel: channels are not kept apart by database, as keys are. */
  readonly channelPrefix: string
  /** Where Redis is, for messages to whoever runs the process: without user and password. */
  readonly address: string
  readonly strict: boolean
}

const form = 'redis://[user:password@]host[:port][/database], or rediss:// for TLS'
/** Braces would end the hash tag of a context's keys, and # parts the names of channels. */
const prefixPattern = /^[A-Za-z0-9][A-Za-z0-9._:\-@+~/]*$/

/**
 * Checks what `redisBackend` was given.
 * @throws {TypeError} the URL or the prefix is malformed; the message does not repeat the URL, which may hold a password
 */
export function checkOptions(given: string | RedisBackendOptions | undefined): RedisSettings {
  const options = typeof given === 'string' ? { url: given } : (given ?? {})
  for (const name of Object.keys(options)) {
    if (!optionNames.has(name)) throw new TypeError(`redisBackend has no option ${name}; it has ${[...optionNames].join(', ')}.`)
  }
  const { url = 'redis://localhost:6379/0', prefix = 'contextd', redisOptions = {}, strict = false } = options
  checkPrefix(prefix)
  if (typeof strict !== 'boolean') throw new TypeError('strict is true or false.')
  const target = parseUrl(url)
  const { cluster, natMap, ...rest } = redisOptions
  const seeds = checkSeeds(cluster)
  const mapped = natMap !== undefined && rest['sentinels'] !== undefined && { natMap: natMap as NonNullable<RedisOptions['natMap']> }
  const connection: RedisOptions = { ...target, ...rest, ...mapped, ...seeds[0], ...ours }
  const channelPrefix = connection.db ? `${prefix}#${connection.db}` : prefix
  const address = seeds.length > 0 ? `Redis at ${seeds.map(nameOf).join(', ')}` : addressOf(connection)
  return { prefix, channelPrefix, address, connection, seeds, natMap: natMap as NatMap | undefined, strict }
}

function checkSeeds(cluster: unknown): Address[] {
  if (cluster === undefined) return []
  const seeds = Array.isArray(cluster) ? (cluster as unknown[]) : []
  if (seeds.length === 0 || !seeds.every(isAddress)) {
    throw new TypeError('redisOptions.cluster is a list of nodes: [{ host: "10.0.0.1", port: 6379 }, …].')
  }
  return seeds.map(({ host, port }) => ({ host, port }))
}

function isAddress(value: unknown): value is Address {
  if (typeof value !== 'object' || value === null) return false
  const { host, port } = value as { host?: unknown; port?: unknown }
  return typeof host === 'string' && host !== '' && Number.isInteger(port)
}

/** @throws {TypeError} it cannot begin keys and channels */
export function checkPrefix(prefix: unknown): void {
  if (typeof prefix === 'string' && prefixPattern.test(prefix)) return
  throw new TypeError('The prefix of Redis keys is made of A-Z a-z 0-9 . _ : - @ + ~ /, and begins with a letter or a digit.')
}

/**
 * What ioredis may not do otherwise: it never repeats a command by itself, nor keeps one for later, so that a failure that was told stays one;
 * and a command that was under way when the connection was lost is told at once.
 */
const ours: RedisOptions = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  enableReadyCheck: true,
  enableAutoPipelining: false,
  // Its user need not be allowed to.
  disableClientInfo: true,
  keyPrefix: '',
  stringNumbers: false,
}

function parseUrl(text: unknown): RedisOptions {
  if (typeof text !== 'string') throw new TypeError(`Redis is named by a URL: ${form}.`)
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new TypeError(`The URL of Redis is malformed. It looks like this: ${form}.`)
  }
  const database = /^\/?(\d*)$/.exec(url.pathname)?.[1]
  const known = url.protocol === 'redis:' || url.protocol === 'rediss:'
  if (!known || database === undefined || url.search !== '' || url.hash !== '') {
    throw new TypeError(`The URL of Redis is malformed. It looks like this: ${form}.`)
  }
  return {
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: Number(url.port || 6379),
    db: Number(database || 0),
    ...(url.username !== '' && { username: decoded(url.username) }),
    ...(url.password !== '' && { password: decoded(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: {} }),
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new TypeError('The user or password in the URL of Redis is malformed: write % as %25.')
  }
}

function addressOf({ path, sentinels, name, host, port, db }: RedisOptions): string {
  if (sentinels) return `Redis ${name ?? ''} behind Sentinel`
  const at = path ?? `${host?.includes(':') ? `[${host}]` : host}:${port}`
  return `Redis at ${at}${db ? `/${db}` : ''}`
}
