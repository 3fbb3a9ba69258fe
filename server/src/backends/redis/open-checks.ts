import { ContextdError } from '@contextd/protocol'
import type { Connection } from './connection.ts'
import { reasonOf } from './errors.ts'
import type { Names } from './keys.ts'
import type { RedisSettings } from './options.ts'
import { script } from './script.ts'

/** How the keys are laid out; raised when a version of this program cannot read what another has written. */
const schema = JSON.stringify({ app: 'contextd', schema: 1 })
const leastVersion = 7

/**
 * Finds out which of the commands that are needed the user may not run.
 *
 * KEYS: 1 a row · 2 a log · 3 a snapshot · 4 an index
 * ARGV: 1 the channel of a context
 * Reply: { names of commands }
 */
const permissionScript = script(
  'permissions',
  4,
  `
local denied = {}
if not redis.acl_check_cmd then
  return denied
end
local needed = {
  { 'HMGET', KEYS[1], 'f' }, { 'HSET', KEYS[1], 'f', 'v' }, { 'HGET', KEYS[1], 'f' }, { 'HDEL', KEYS[1], 'f' }, { 'HLEN', KEYS[1] },
  { 'LLEN', KEYS[2] }, { 'LINDEX', KEYS[2], '0' }, { 'LRANGE', KEYS[2], '0', '1' }, { 'RPUSH', KEYS[2], 'v' }, { 'LTRIM', KEYS[2], '0', '1' },
  { 'STRLEN', KEYS[3] }, { 'GET', KEYS[3] }, { 'SET', KEYS[3], 'v' }, { 'DEL', KEYS[3] }, { 'PEXPIRE', KEYS[3], '1' }, { 'PERSIST', KEYS[3] },
  { 'ZADD', KEYS[4], '0', 'm' }, { 'ZREM', KEYS[4], 'm' }, { 'ZCARD', KEYS[4] }, { 'ZSCORE', KEYS[4], 'm' },
  { 'ZRANGEBYSCORE', KEYS[4], '0', '1' }, { 'ZRANGE', KEYS[4], '-', '+', 'BYLEX' },
  { 'SPUBLISH', ARGV[1], 'm' }, { 'SSUBSCRIBE', ARGV[1] }, { 'SUNSUBSCRIBE', ARGV[1] }, { 'PUBSUB', 'SHARDNUMSUB', ARGV[1] }, { 'TIME' },
}
for _, command in ipairs(needed) do
  if not redis.acl_check_cmd(unpack(command)) then
    denied[#denied + 1] = command[1]
  end
end
return denied
`,
)

/**
 * Checks on a new connection that this Redis can be used, and marks it as ours.
 * @throws {ContextdError} `backend_unavailable` – one line for whoever runs the process
 */
export async function checkServer(connection: Connection, settings: RedisSettings, names: Names): Promise<void> {
  const { address } = settings
  await checkVersion(connection, address)
  await checkPermissions(connection, settings, names)
  await checkMemory(connection, address)
  await claim(connection, settings, names)
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

async function checkPermissions(connection: Connection, { address, prefix }: RedisSettings, names: Names): Promise<void> {
  const [row, snapshot, log] = names.context('permissions')
  const denied = await connection.run(permissionScript, [row, log, snapshot, names.index[0]], [names.channel('permissions')])
  const commands = denied as string[]
  if (commands.length === 0) return
  throw cannotUse(denial(address, prefix, commands.join(', ')))
}

/** A Redis that may drop any key when it is full would lose contexts without a word. */
async function checkMemory(connection: Connection, address: string): Promise<void> {
  const info = await connection
    .send((client) => client.info('memory'))
    .catch((error: unknown) => {
      if (reasonOf(error) === 'NOPERM') return ''
      throw error
    })
  const policy = /^maxmemory_policy:(allkeys-\S+)/m.exec(info)?.[1]
  if (policy === undefined || /^maxmemory:0\s*$/m.test(info)) return
  throw cannotUse(
    `${address} drops any keys when it is full (maxmemory-policy ${policy}), and contexts with them. Set the policy to noeviction.`,
  )
}

async function claim(connection: Connection, { address, prefix }: RedisSettings, names: Names): Promise<void> {
  const stored = await connection
    .send((client) => client.call('SET', names.schema, schema, 'NX', 'GET'))
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
}

/** What `open()` tells of a Redis that cannot be used: one line, without password. */
export function cannotOpen({ address, prefix }: RedisSettings, error: unknown): ContextdError {
  if (error instanceof ContextdError && error.message.startsWith(address)) return error
  const reason = reasonOf(error)
  if (reason === 'NOPERM') return cannotUse(denial(address, prefix, 'what is needed'))
  if (reason in reasons) return cannotUse(`${address} ${reasons[reason]}`)
  const code = /^E[A-Z]{3,}$|^[A-Z_]+$/.test(reason) ? ` (${reason})` : ''
  return cannotUse(`${address} cannot be reached${code}. Check that it is running, and its address.`)
}
