import { Redis } from 'ioredis'
import { actionOf, chatGroup, sizeOf } from './chord-load.ts'
import type { OperationName } from './chord-load.ts'

const store = `redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', KEYS[2], ARGV[1])
return redis.call('INCR', KEYS[3])`
const append = `redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], -100, -1)
redis.call('PUBLISH', KEYS[2], ARGV[1])
return redis.call('INCR', KEYS[3])`

/**
 * FC: Chord's operations by a program that only stores and publishes: every `set` is the whole state as text, every `update` a line of its own, each one
 * script with a counter; `sync` reads a state. It compares nothing, checks nothing, and would lose a write to another one's.
 */
export class ChordFloor {
  calls = 0
  operations = 0
  readonly #redis: Redis
  readonly #name: OperationName
  #scripts: { readonly store: string; readonly append: string } = { store: '', append: '' }

  constructor(url: string, name: OperationName) {
    this.#redis = new Redis(url)
    this.#name = name
  }

  async prepare(): Promise<void> {
    const load = async (script: string): Promise<string> => String(await this.#redis.script('LOAD', script))
    this.#scripts = { store: await load(store), append: await load(append) }
  }

  async run(): Promise<void> {
    const { contexts, perContext } = sizeOf[this.#name]
    const ids = Array.from({ length: contexts }, (_, index) => `floor:${index}`)
    for (const id of ids) await this.#run('store', 's', id, JSON.stringify(chatGroup(id)))
    const actions: Promise<unknown>[] = []
    for (let index = 1; index <= perContext; index += 1) for (const id of ids) actions.push(this.#act(id, index))
    await Promise.all(actions)
    this.calls += ids.length + actions.length
    this.operations += 1
  }

  async close(): Promise<number> {
    await this.#redis.quit()
    return 0
  }

  async #act(id: string, index: number): Promise<unknown> {
    const patch = actionOf(index, `user_${index}`)
    return patch === null ? JSON.parse((await this.#redis.get(`${id}:s`))!) : this.#run('append', 'l', id, JSON.stringify(patch))
  }

  #run(script: 'store' | 'append', key: string, id: string, text: string): Promise<unknown> {
    return this.#redis.evalsha(this.#scripts[script], 3, `${id}:${key}`, `${id}:c`, `${id}:v`, text)
  }
}
