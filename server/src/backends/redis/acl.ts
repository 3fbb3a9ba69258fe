import type { Names } from './keys.ts'
import { patternBeside } from './materialize.ts'
import { checkPrefix } from './options.ts'

/** Commands on keys, each with arguments after the key that are enough to ask whether it is allowed. */
const keyCommands: Readonly<Record<string, string>> = {
  DEL: '',
  GET: '',
  HDEL: 'f',
  HGET: 'f',
  HGETALL: '',
  HLEN: '',
  HMGET: 'f',
  HRANDFIELD: '8',
  HSET: 'f v',
  LINDEX: '0',
  LLEN: '',
  LRANGE: '0 1',
  LTRIM: '0 1',
  PERSIST: '',
  PEXPIRE: '1',
  PTTL: '',
  RPUSH: 'v',
  SET: 'v',
  STRLEN: '',
  ZADD: '0 m',
  ZCARD: '',
  ZMSCORE: 'm',
  ZRANGE: '- + BYLEX',
  ZRANGEBYSCORE: '0 1',
  ZREM: 'm',
  ZSCORE: 'm',
}

/** Commands on channels, as {@link keyCommands}. */
const channelCommands: Readonly<Record<string, string>> = { SPUBLISH: 'm', SSUBSCRIBE: '', SUNSUBSCRIBE: '' }

/** Commands on neither. */
const otherCommands = ['EVAL 0 0', 'EVALSHA 0 0', 'INFO', 'PUBSUB SHARDNUMSUB', 'SELECT 0', 'TIME'] as const

/** Commands that only a Cluster needs. */
const clusterCommands = ['ASKING', 'CLUSTER SLOTS'] as const

/** Commands that only keys for other programs need. */
const materializeCommands = ['APPEND', 'EXISTS', 'RENAME', 'SADD', 'TYPE', 'UNLINK'] as const

/** What a client says of itself: it does without where it may not. */
const politeCommands = ['client|setname'] as const

/**
 * The ACL rules of a Redis user who may do what contextd does with one prefix, and nothing else:
 *
 *     await admin.call('ACL', 'SETUSER', 'contextd', 'on', '>password', ...redisAclRules('contextd').split(' '))
 *
 * @param prefix as given to `redisBackend`; default `contextd`
 * @param keys those that sources materialize, if any
 * @throws {TypeError} the prefix is malformed, or a key has a character that ACL rules cannot name
 */
export function redisAclRules(prefix = 'contextd', keys: readonly string[] = []): string {
  checkPrefix(prefix)
  const odd = keys.find((key) => /[\s*?[\]\\]/.test(key))
  if (odd !== undefined) throw new TypeError(`The key ${JSON.stringify(odd)} cannot be named in ACL rules`)
  const commands = [
    ...Object.keys(keyCommands),
    ...Object.keys(channelCommands),
    ...[...otherCommands, ...clusterCommands].map(aclName),
    ...(keys.length > 0 ? materializeCommands : []),
  ].map((name) => name.toLowerCase())
  const allowed = [...commands, ...politeCommands].toSorted().map((name) => `+${name}`)
  const patterns = [`${prefix}:*`, ...keys.flatMap((key) => [key, patternBeside(key)])].map((pattern) => `~${pattern}`)
  return `resetkeys ${patterns.join(' ')} resetchannels &${prefix}#* -@all ${allowed.join(' ')}`
}

const aclName = (command: string): string => command.replace(/ 0 0$| 0$/, '').replace(' ', '|')

/** All commands that are needed, each with arguments, as words with blanks in between. */
export function neededCommands(names: Names, isCluster: boolean): string[] {
  const [row] = names.context('permissions')
  const [index] = names.index
  const channel = names.channel('permissions')
  const keys = Object.entries(keyCommands)
  return [
    ...keys.map((command) => on(row, command)),
    ...keys.filter(([name]) => name.startsWith('Z')).map((command) => on(index, command)),
    ...Object.entries(channelCommands).map((command) => on(channel, command)),
    ...otherCommands,
    ...(isCluster ? clusterCommands : []),
  ]
}

const on = (what: string, [name, rest]: [string, string]): string => `${name} ${what} ${rest}`.trim()
