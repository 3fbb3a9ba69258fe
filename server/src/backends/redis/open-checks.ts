import { ContextdError } from '@contextd/protocol'
import type { StoreUser } from '../backend.ts'
import { neededCommands } from './acl.ts'
import type { Connection } from './connection.ts'
import { reasonOf } from './errors.ts'
import type { Names } from './keys.ts'
import type { RedisSettings } from './options.ts'
import { script } from './script.ts'
import type { Servers } from './servers.ts'
import type { SharedSettings } from './shared-settings.ts'

/** How the keys are laid out; raised when a version of this program cannot read what another has written. */
const schema = JSON.stringify({ app: 'contextd', schema: 1 })
const leastVersion = 7
/** How many commands an error names that a user may not run. */
const mostNamed = 8

/**
 * Finds out which of the commands that are needed the user may not run.
 *
 * KEYS: none, for they lie apart
 * ARGV: commands with their arguments, blanks in between
 * Reply: { names of commands }
 */
const permissionScript = script(
  'permissions',
  0,
  `
local denied = {}
if not redis.acl_check_cmd then
  return denied
end
for _, command in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(command, '%S+') do
    words[#words + 1] = word
  end
  if not redis.acl_check_cmd(unpack(words)) then
    denied[#denied + 1] = words[1]
  end
end
return denied
`,
)

/** Takes one line on what makes a Redis a bad place for contexts: it throws, or warns. */
type Doubt = (message: string) => void

/** Checks that a Redis can be used. All throw `ContextdError`: `backend_unavailable` – one line for whoever runs the process. */
export class OpenChecks {
  readonly #settings: RedisSettings
  readonly #names: Names
  readonly #user: StoreUser | undefined
  /** What was said of one node of a Cluster is not said of all. */
  readonly #said = new Set<string>()

  /** @param user who is warned; none: nobody */
  constructor(settings: RedisSettings, names: Names, user: StoreUser | undefined) {
    this.#settings = settings
    this.#names = names
    this.#user = user
  }

  /** Looks at a server, on a new connection. */
  async server(connection: Connection, isCluster: boolean): Promise<void> {
    const { address } = this.#settings
    await checkVersion(connection, address)
    if (isCluster && connection.options.db) throw cannotUse(`${address} is a Cluster, which has no database but 0. Name no other.`)
    await checkPermissions(connection, this.#settings, this.#names, isCluster)
    await checkDurability(connection, (message) => this.#doubt(message))
  }

  /** Looks at what is stored, and marks it as ours. */
  async content(servers: Servers, shared: SharedSettings): Promise<void> {
    await claim(servers, this.#settings, this.#names)
    if (this.#user !== undefined) await checkSettings(shared, this.#user, (message) => this.#doubt(message), this.#settings.prefix)
  }

  #doubt(message: string): void {
    const { address, prefix, strict } = this.#settings
    if (strict) throw cannotUse(`${address} ${message}`)
    if (this.#said.has(message)) return
    this.#said.add(message)
    this.#user?.warn({ store: address, prefix }, `${address} ${message}`)
  }
}

/** Nodes with other options forget what this one still counts on, or the other way round. */
async function checkSettings(shared: SharedSettings, user: StoreUser, doubt: Doubt, prefix: string): Promise<void> {
  const difference = await shared.propose(user.settings)
  if (difference !== '') {
    doubt(`has other nodes with the prefix "${prefix}" and ${difference}. Give all of them the same options, or another prefix.`)
  }
  shared.keep()
}

async function checkVersion(connection: Connection, address: string): Promise<void> {
  const hello = await connection
    .send((client) => client.call('HELLO'))
    .catch((error: unknown) => {
      if (reasonOf(error) === 'ERR') return []
      throw error
    })
  const fields = (hello as unknown[]).map(String)
  const version = fields[fields.indexOf('version') + 1] ?? ''
  if (!(Number.parseInt(version, 10) >= leastVersion)) {
    const found = /^\d[\d.]*$/.test(version) ? `version ${version}` : 'an old version'
    throw cannotUse(`${address} is ${found}; version ${leastVersion} or newer of Redis or Valkey is needed.`)
  }
  if (fields[fields.indexOf('role') + 1] === 'replica') throw cannotUse(`${address} is a replica, which takes no writes. Name its primary.`)
}

async function checkPermissions(
  connection: Connection,
  { address, prefix }: RedisSettings,
  names: Names,
  isCluster: boolean,
): Promise<void> {
  const denied = (await connection.run(permissionScript, [], neededCommands(names, isCluster))) as string[]
  const different = [...new Set(denied)]
  if (different.length === 0) return
  const rest = different.length > mostNamed ? ` and ${different.length - mostNamed} more` : ''
  throw cannotUse(denial(address, prefix, different.slice(0, mostNamed).join(', ') + rest))
}

/** A Redis that may drop keys when it is full, or that keeps nothing on disk, loses contexts without a word. */
async function checkDurability(connection: Connection, doubt: Doubt): Promise<void> {
  const info = String(await connection.send((client) => client.call('INFO', 'memory', 'persistence')))
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? 'noeviction'
  if (policy !== 'noeviction' && !/^maxmemory:0\s*$/m.test(info)) {
    const what = policy.startsWith('allkeys') ? 'contexts' : 'locks and records of deleted contexts'
    doubt(`drops keys when it is full, and ${what} with them (maxmemory-policy ${policy}). Set the policy to noeviction.`)
  }
  if (/^aof_enabled:1/m.test(info)) return
  const saves = await savePoints(connection)
  if (saves === '') doubt('keeps nothing on disk: when it ends, all contexts are gone. Set appendonly to yes.')
  if (saves === null) doubt('has no append-only file: when it crashes, commits or all contexts are gone. Set appendonly to yes.')
}

/** When it writes its data to disk, as the setting says; '' is never, and null: one may not ask. */
async function savePoints(connection: Connection): Promise<string | null> {
  try {
    const [, saves = ''] = (await connection.send((client) => client.config('GET', 'save'))) as readonly string[]
    return saves
  } catch (error) {
    if (reasonOf(error) === 'NOPERM' || reasonOf(error) === 'ERR') return null
    throw error
  }
}

async function claim(servers: Servers, { address, prefix }: RedisSettings, names: Names): Promise<void> {
  const stored = await servers
    .send(names.schema, (client) => client.call('SET', names.schema, schema, 'NX', 'GET'))
    .catch((error: unknown) => {
      if (reasonOf(error) === 'WRONGTYPE') return ''
      throw error
    })
  if (stored === null || stored === schema) return
  throw cannotUse(
    `${address} has keys that begin with "${prefix}" and belong to another program or another version of this one. Choose another prefix or database.`,
  )
}

const denial = (address: string, prefix: string, what: string): string =>
  `${address} does not allow its user ${what} on keys and channels that begin with "${prefix}". Extend the user's ACL.`

const cannotUse = (message: string): ContextdError => new ContextdError('backend_unavailable', message)

const reasons: Readonly<Record<string, string>> = {
  WRONGPASS: 'refuses the user or password. Check them in its URL.',
  NOAUTH: 'asks for a password. Put it into its URL: redis://:password@host.',
  LOADING: 'is still loading its data. Wait until it is ready.',
  OOM: 'is out of memory. Give it more (maxmemory).',
  READONLY: 'is a replica, which takes no writes. Name its primary.',
  MISCONF: 'takes no writes because it cannot write to its disk. See its log.',
  NOREPLICAS: 'takes no writes because too few replicas are connected.',
  BUSY: 'is busy with a long script. Wait, or end it with SCRIPT KILL.',
  ENOTFOUND: 'cannot be found: there is no host of that name (ENOTFOUND).',
  ERR_TLS_CERT_ALTNAME_INVALID: 'has a certificate for another host. Name the host as its certificate does.',
  CERT_HAS_EXPIRED: 'has a certificate that has expired.',
  EPROTO: 'does not speak TLS there. Check its port, or use redis:// instead of rediss://.',
}
/** The certificate was made by nobody that this machine trusts. */
const untrusted =
  /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT(_LOCALLY)?)|CERT_UNTRUSTED)$/

/** What `open()` tells of a Redis that cannot be used: one line, without password. */
export function cannotOpen({ address, prefix, connection }: RedisSettings, error: unknown): ContextdError {
  if (error instanceof ContextdError && error.message.startsWith(address)) return error
  const reason = reasonOf(error)
  if (reason === 'NOPERM') return cannotUse(denial(address, prefix, 'what is needed'))
  if (reason in reasons) return cannotUse(`${address} ${reasons[reason]}`)
  if (untrusted.test(reason)) {
    return cannotUse(
      `${address} has a certificate that is not trusted (${reason}). Give its authority: redisOptions.tls.ca, or NODE_EXTRA_CA_CERTS.`,
    )
  }
  const code = /^E[A-Z]{3,}$|^[A-Z_]+$/.test(reason) ? ` (${reason})` : ''
  const hint = code === '' || reason === 'ECONNRESET' || reason === 'ETIMEDOUT' ? tlsHint(connection.tls !== undefined) : 'and its address'
  return cannotUse(`${address} cannot be reached${code}. Check that it is running, ${hint}.`)
}

/** Who speaks TLS to one who does not, or the other way round, is cut off or never answered. */
const tlsHint = (tls: boolean): string =>
  tls ? 'its address, and that it speaks TLS there (rediss://)' : 'its address, and whether it wants TLS (rediss://)'
