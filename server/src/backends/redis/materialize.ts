import { randomUUID } from 'node:crypto'
import { ContextdError } from '@contextd/protocol'
import type { MaterializedKey, MaterializedKeys } from '../backend.ts'
import type { Connection } from './connection.ts'
import type { Names } from './keys.ts'
import { lockPrelude, script } from './script.ts'

/**
 * Puts keys in place that lie ready under other names, all of them or none.
 *
 * KEYS: 1 locks of the context · then for each key: the key · where its new content lies
 * ARGV: 1 key of the lock · 2 its token · then for each key: its type · '1': there is new content, '': the key is to be gone
 * Reply: { 'swapped' }, { 'locked' }, or { 'type', which key (from 1), what it holds }
 */
const swapScript = (keys: number) =>
  script(
    `swap ${keys}`,
    1 + 2 * keys,
    `${lockPrelude}
local lock = readLock(KEYS[1], ARGV[1], redisTime())
if not lock or lock.token ~= ARGV[2] then
  return { 'locked' }
end
for index = 1, (#KEYS - 1) / 2 do
  local held = redis.call('TYPE', KEYS[2 * index])['ok']
  if held ~= 'none' and held ~= ARGV[2 * index + 1] then
    return { 'type', tostring(index), held }
  end
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

/** Keys of Redis beside contexts, for other programs. */
export class RedisMaterializedKeys implements MaterializedKeys {
  readonly #connection: Connection
  readonly #names: Names
  readonly #prefix: string

  constructor(connection: Connection, names: Names, prefix: string) {
    this.#connection = connection
    this.#names = names
    this.#prefix = prefix
  }

  refusal(key: string): string | null {
    return key.startsWith(`${this.#prefix}:`) ? `keys that begin with "${this.#prefix}:" are those of contexts` : null
  }

  refusalTogether(): string | null {
    return null
  }

  async swap(
    keys: readonly MaterializedKey[],
    fence: { readonly contextId: string; readonly key: string; readonly token: number },
  ): Promise<void> {
    const ready: { readonly key: string; readonly at: string; readonly type: MaterializedKey['type']; readonly filled: boolean }[] = []
    try {
      for (const { key, type, values } of keys) {
        const at = `{${key}}:contextd:${randomUUID()}`
        ready.push({ key, type, at, filled: await this.#fill(at, type, values) })
      }
      const names = [this.#names.locks(fence.contextId), ...ready.flatMap(({ key, at }) => [key, at])]
      const args = [fence.key, String(fence.token), ...ready.flatMap(({ type, filled }) => [type, filled ? '1' : ''])]
      const [result, index, held] = (await this.#connection.run(swapScript(keys.length), names, args)) as readonly string[]
      if (result === 'swapped') return
      if (result === 'locked') throw new ContextdError('locked', 'Another node has taken over.', { contextId: fence.contextId })
      const { key, type } = ready[Number(index) - 1]!
      throw new ContextdError('invalid_operation', `The key ${key} holds a ${held}, not a ${type}. Remove it, or name another key.`)
    } catch (error) {
      await this.#remove(ready.map(({ at }) => at))
      throw error
    }
  }

  /** Writes content under a name of its own. @returns whether there is any */
  async #fill(at: string, type: MaterializedKey['type'], values: Iterable<string>): Promise<boolean> {
    let some: string[] = []
    let filled = false
    const write = async (): Promise<void> => {
      const part = some
      some = []
      await this.#connection.send((client) => client.call(commands[type], [at, ...part]))
      // Each time: it may take longer than it is kept.
      await this.#connection.send((client) => client.pexpire(at, readyForMs))
      filled = true
    }
    for (const value of values) if (some.push(value) === valuesPerCommand) await write()
    if (some.length > 0) await write()
    return filled
  }

  async #remove(names: readonly string[]): Promise<void> {
    // Where it cannot be done, they expire.
    await Promise.all(names.map((name) => this.#connection.send((client) => client.del(name)).catch(() => {})))
  }
}
