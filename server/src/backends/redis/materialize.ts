import { randomUUID } from 'node:crypto'
import { ContextdError } from '@contextd/protocol'
import type { MaterializedKey, MaterializedKeys } from '../backend.ts'
import type { Names } from './keys.ts'
import { decodeLocks, locksScript } from './lock-scripts.ts'
import { fillScript, standScript, swapScript } from './materialize-scripts.ts'
import type { Servers } from './servers.ts'
import { slotOf } from './slots.ts'

/** Values and UTF-16 units that one command carries, and how long content that was not put in place is kept, ms. */
const valuesPerCommand = 1_000
const unitsPerCommand = 262_144
const readyForMs = 120_000

const commands = { list: 'RPUSH', hash: 'HSET', set: 'SADD', string: 'APPEND' } as const

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

/** Keys of any installation: `<prefix>:{ctx:…}:…` and `<prefix>:{contexts}:…`. */
const keyOfContexts = /:\{(ctx:.*|contexts)\}:/

/** A key whose slot is that of a part of it. */
const tagged = /^[^{]*\{[^}]+\}/

/** A name in the slot of a key. */
const beside = (key: string, name: string): string => `${tagged.test(key) ? key : `{${key}}`}:contextd:${name}`

/** Where it is noted what was put in place together. */
const fenceOf = (keys: readonly string[]): string => beside(keys[0]!, 'fence')

/** The pattern of all that lies beside a key, for ACL rules. */
export const patternBeside = (key: string): string => beside(key, '*')

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
    if (key.startsWith(`${this.#prefix}:`)) return `keys that begin with "${this.#prefix}:" are those of contexts`
    return keyOfContexts.test(key) ? 'it has the form of a key of contexts, here or of another prefix' : null
  }

  refusalTogether(keys: readonly string[]): string | null {
    if (!this.#servers.isCluster) return null
    const apart = keys.find((key) => slotOf(beside(key, '')) !== slotOf(key))
    if (apart !== undefined) return `the braces of ${apart} make no hash tag`
    if (new Set(keys.map(slotOf)).size <= 1) return null
    return 'a Cluster puts several keys in place together only in one slot: give them one hash tag, as in {prices}:list and {prices}:hash'
  }

  async swap(keys: readonly MaterializedKey[], fence: Fence): Promise<string> {
    const refusal = this.refusalTogether(keys.map(({ key }) => key))
    if (refusal !== null) throw new ContextdError('invalid_operation', `The keys cannot be put in place: ${refusal}.`)
    const mark = randomUUID()
    const ready: ReadyKey[] = []
    try {
      for (const { key, type, values } of keys) {
        const at = beside(key, `${mark}:${ready.length}`)
        ready.push({ key, type, at, filled: false })
        if (await this.#fill(at, type, values)) ready.push({ ...ready.pop()!, filled: true })
      }
      const [result, index, held] = await this.#put(ready, fence, mark)
      if (result === 'swapped') return mark
      if (result === 'locked') throw new ContextdError('locked', 'Another node has taken over.', { contextId: fence.contextId })
      if (result === 'lost') throw new ContextdError('backend_unavailable', 'The store has dropped what was to be put in place. Try again.')
      const { key, type } = ready[Number(index) - 1]!
      throw new ContextdError('invalid_operation', `The key ${key} holds a ${held}, not a ${type}. Remove it, or name another key.`)
    } catch (error) {
      await this.#remove(ready.map(({ at }) => at))
      throw error
    }
  }

  async stand(keys: readonly string[], mark: string): Promise<boolean> {
    return (await this.#servers.run(standScript(keys.length), [fenceOf(keys), ...keys], [mark])) === 1
  }

  async #put(ready: readonly ReadyKey[], fence: Fence, mark: string): Promise<readonly string[]> {
    const { isCluster } = this.#servers
    const note = fenceOf(ready.map((one) => one.key))
    const names = [note, ...ready.flatMap((one) => [one.key, one.at]), ...(isCluster ? [] : [this.#names.locks(fence.contextId)])]
    const contents = ready.flatMap(({ type, filled }) => [type, filled ? '1' : ''])
    const args = [isCluster ? '' : fence.key, String(fence.token), mark, ...contents]
    const run = async (): Promise<readonly string[]> =>
      (await this.#servers.run(swapScript(ready.length, isCluster), names, args)) as readonly string[]
    if (!isCluster) return run()
    // The lock is on another node. Who has lost it since it was looked at is stopped by the token of who came after.
    if (!(await this.#holds(fence))) return ['locked']
    const result = await run()
    if (result[0] !== 'locked' || !(await this.#holds(fence))) return result
    // Held all the time, so nobody came after: the higher token is of locks that the Cluster has lost.
    await this.#servers.send(note, (client) => client.del(note))
    return run()
  }

  async #holds({ contextId, key, token }: Fence): Promise<boolean> {
    const held = decodeLocks(await this.#servers.run(locksScript, [this.#names.locks(contextId)], []))
    return held.some((lock) => lock.key === key && lock.token === token)
  }

  /** Writes content under a name of its own. @returns whether there is any */
  async #fill(at: string, type: MaterializedKey['type'], values: Iterable<string>): Promise<boolean> {
    let some: string[] = []
    let units = 0
    let filled = false
    const write = async (): Promise<void> => {
      const part = type === 'string' ? [some.join('')] : some
      some = []
      units = 0
      await this.#servers.run(fillScript, [at], [commands[type], String(readyForMs), ...part])
      filled = true
    }
    for (const value of values) {
      units += value.length
      const isFull = some.push(value) >= valuesPerCommand || units >= unitsPerCommand
      // Fields of a hash go with their values.
      if (isFull && (type !== 'hash' || some.length % 2 === 0)) await write()
    }
    if (some.length > 0) await write()
    return filled
  }

  async #remove(names: readonly string[]): Promise<void> {
    // Where it cannot be done, they expire.
    await Promise.all(names.map((name) => this.#servers.send(name, (client) => client.del(name)).catch(() => {})))
  }
}
