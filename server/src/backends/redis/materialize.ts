import { randomUUID } from 'node:crypto'
import { ContextdError } from '@contextd/protocol'
import type { MaterializedKey, MaterializedKeys } from '../backend.ts'
import type { Names } from './keys.ts'
import { decodeLocks, locksScript } from './lock-scripts.ts'
import { lockPrelude, script } from './script.ts'
import type { Script } from './script.ts'
import type { Servers } from './servers.ts'
import { slotOf } from './slots.ts'

/** How long the token of a swap on a Cluster is remembered: far longer than a node pauses, ms. */
const fenceMs = 86_400_000

/**
 * Puts keys in place that lie ready under other names, all of them or none.
 *
 * KEYS: 1 locks of the context; on a Cluster, where these lie elsewhere: the highest token under which these keys were put in place
 *   then for each key: the key · where its new content lies
 * ARGV: 1 key of the lock, or '' on a Cluster · 2 its token · then for each key: its type · '1': there is new content, '': the key is to be gone
 * Reply: { 'swapped' }, { 'locked' }, or { 'type', which key (from 1), what it holds }
 */
const swapScript = (keys: number): Script =>
  script(
    `swap ${keys}`,
    1 + 2 * keys,
    `${lockPrelude}
if ARGV[1] == '' then
  if tonumber(redis.call('GET', KEYS[1]) or '0') > tonumber(ARGV[2]) then
    return { 'locked' }
  end
else
  local lock = readLock(KEYS[1], ARGV[1], redisTime())
  if not lock or lock.token ~= ARGV[2] then
    return { 'locked' }
  end
end
for index = 1, (#KEYS - 1) / 2 do
  local held = redis.call('TYPE', KEYS[2 * index])['ok']
  if held ~= 'none' and held ~= ARGV[2 * index + 1] then
    return { 'type', tostring(index), held }
  end
end
if ARGV[1] == '' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', '${fenceMs}')
end
for index = 1, (#KEYS - 1) / 2 do
  if ARGV[2 * index + 2] == '1' then
    redis.call('PERSIST', KEYS[2 * index + 1])
    redis.call('RENAME', KEYS[2 * index + 1], KEYS[2 * index])
  else
    redis.call('DEL', KEYS[2 * index])
  end
end
return { 'swapped' }
`,
  )

/** Values that one command carries, and how long content that was not put in place is kept, ms. */
const valuesPerCommand = 1_000
const readyForMs = 120_000

const commands = { list: 'RPUSH', hash: 'HSET', set: 'SADD', string: 'SET' } as const

/** New content of a key, and where it lies until it is put in place. */
interface ReadyKey {
  readonly key: string
  readonly at: string
  readonly type: MaterializedKey['type']
  readonly filled: boolean
}

/** The lock under which keys are put in place. */
interface Fence {
  readonly contextId: string
  readonly key: string
  readonly token: number
}

/** A name in the slot of a key. */
function beside(key: string, name: string): string {
  const tagged = `${key}:contextd:${name}`
  return slotOf(tagged) === slotOf(key) ? tagged : `{${key}}:contextd:${name}`
}

/** Keys of Redis beside contexts, for other programs. */
export class RedisMaterializedKeys implements MaterializedKeys {
  readonly #servers: Servers
  readonly #names: Names
  readonly #prefix: string

  constructor(servers: Servers, names: Names, prefix: string) {
    this.#servers = servers
    this.#names = names
    this.#prefix = prefix
  }

  refusal(key: string): string | null {
    return key.startsWith(`${this.#prefix}:`) ? `keys that begin with "${this.#prefix}:" are those of contexts` : null
  }

  refusalTogether(keys: readonly string[]): string | null {
    if (!this.#servers.isCluster || new Set(keys.map(slotOf)).size <= 1) return null
    return 'a Cluster puts several keys in place together only in one slot: give them one hash tag, as in {prices}:list and {prices}:hash'
  }

  async swap(keys: readonly MaterializedKey[], fence: Fence): Promise<void> {
    const refusal = this.refusalTogether(keys.map(({ key }) => key))
    if (refusal !== null) throw new ContextdError('invalid_operation', `The keys cannot be put in place: ${refusal}.`)
    const ready: ReadyKey[] = []
    try {
      for (const { key, type, values } of keys) {
        const at = beside(key, randomUUID())
        ready.push({ key, type, at, filled: await this.#fill(at, type, values) })
      }
      const [result, index, held] = await this.#put(ready, fence)
      if (result === 'swapped') return
      if (result === 'locked') throw new ContextdError('locked', 'Another node has taken over.', { contextId: fence.contextId })
      const { key, type } = ready[Number(index) - 1]!
      throw new ContextdError('invalid_operation', `The key ${key} holds a ${held}, not a ${type}. Remove it, or name another key.`)
    } catch (error) {
      await this.#remove(ready.map(({ at }) => at))
      throw error
    }
  }

  async #put(ready: readonly ReadyKey[], { contextId, key, token }: Fence): Promise<readonly string[]> {
    const locks = this.#names.locks(contextId)
    const names = ready.flatMap((one) => [one.key, one.at])
    const args = ready.flatMap(({ type, filled }) => [type, filled ? '1' : ''])
    const run = async (first: string, lock: string): Promise<readonly string[]> =>
      (await this.#servers.run(swapScript(ready.length), [first, ...names], [lock, String(token), ...args])) as readonly string[]
    if (!this.#servers.isCluster) return await run(locks, key)
    // The lock is on another node. Who has lost it since it was looked at is stopped by the token of who came after.
    const held = decodeLocks(await this.#servers.run(locksScript, [locks], [])).find((lock) => lock.key === key)
    return held?.token === token ? await run(beside(ready[0]!.key, 'token'), '') : ['locked']
  }

  /** Writes content under a name of its own. @returns whether there is any */
  async #fill(at: string, type: MaterializedKey['type'], values: Iterable<string>): Promise<boolean> {
    let some: string[] = []
    let filled = false
    const write = async (): Promise<void> => {
      const part = some
      some = []
      await this.#servers.send(at, (client) => client.call(commands[type], [at, ...part]))
      // Each time: it may take longer than it is kept.
      await this.#servers.send(at, (client) => client.pexpire(at, readyForMs))
      filled = true
    }
    for (const value of values) if (some.push(value) === valuesPerCommand) await write()
    if (some.length > 0) await write()
    return filled
  }

  async #remove(names: readonly string[]): Promise<void> {
    // Where it cannot be done, they expire.
    await Promise.all(names.map((name) => this.#servers.send(name, (client) => client.del(name)).catch(() => {})))
  }
}
