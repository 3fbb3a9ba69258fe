import { ContextdError, assertJson, deepestNesting, equal, idOf, jsonLength } from '@contextd/protocol'
import type { JsonObject, JsonValue, Limits } from '@contextd/protocol'
import { copyJson } from '../json-copy.ts'
import { Breath } from './breath.ts'

/** What a source fetched: a list is the items of a state. */
export interface Fetched {
  readonly state: JsonObject
  /** Null: it was an object. */
  readonly items: readonly JsonValue[] | null
}

/** What is fetched is taken for. */
export interface TakeOptions {
  /** The state as it is; null: there is none. */
  readonly previous: JsonObject | null
  readonly limits: Pick<Limits, 'stateBytes' | 'depth'>
  readonly itemKey: string
}

/**
 * Copies what `fetch` gave, however large, without keeping other work of this process waiting; what equals the previous state is taken from
 * there, so that only what is new takes memory, and is looked through again later.
 * @throws {ContextdError} `invalid_state` – it is neither object nor list, or not JSON · `too_large`
 */
export async function takeFetched(data: unknown, options: TakeOptions): Promise<Fetched> {
  if (typeof data !== 'object' || data === null)
    throw new ContextdError('invalid_state', `fetch gave ${data === null ? 'null' : typeof data}; an object or a list is needed.`)
  if (!isContainer(data)) throw new ContextdError('invalid_state', `fetch gave a ${nameOf(data)}; a plain object or a list is needed.`)
  const list = Array.isArray(data)
  const state = (await new Taking(options).container(list ? { items: data } : data, options.previous ?? undefined, [])) as JsonObject
  return { state, items: list ? (state['items'] as readonly JsonValue[]) : null }
}

/** Containers that lie no deeper are taken child by child, with pauses in between. */
const deepestTaken = 2

type Place = readonly (string | number)[]

class Taking {
  readonly #options: TakeOptions
  readonly #breath = new Breath()
  #left: number

  constructor(options: TakeOptions) {
    this.#options = options
    this.#left = options.limits.stateBytes > 0 ? options.limits.stateBytes : Number.POSITIVE_INFINITY
  }

  async container(value: Container, previous: JsonValue | undefined, path: Place): Promise<JsonValue> {
    this.#check({}, path, Math.max(0, this.#depth - path.length))
    return Array.isArray(value) ? this.#list(value, previous, path) : this.#object(value, previous, path)
  }

  async #list(given: readonly unknown[], previous: JsonValue | undefined, path: Place): Promise<JsonValue> {
    // Items that come and go in the pauses are of the next fetch.
    const list = given.slice()
    const old = Array.isArray(previous) ? previous : []
    const find = finder(old, this.#options.itemKey)
    const taken: JsonValue[] = []
    let same = old === previous && old.length === list.length
    // By its length: the holes of a list are faults.
    for (let index = 0; index < list.length; index += 1) {
      const item = await this.#child(list[index], find(list[index], index), path, index)
      if (item !== old[index]) same = false
      taken.push(item)
    }
    return same ? old : taken
  }

  async #object(object: { readonly [key: string]: unknown }, previous: JsonValue | undefined, path: Place): Promise<JsonValue> {
    const old = isContainer(previous) && !Array.isArray(previous) ? previous : {}
    const entries = Object.entries(object)
    const taken: [string, JsonValue][] = []
    let same = old === previous && Object.keys(old).length === entries.length
    for (const [key, value] of entries) {
      this.#check({ [key]: null }, path, 1)
      this.#left -= key.length + '"":'.length
      const before = Object.hasOwn(old, key) ? old[key] : undefined
      const child = await this.#child(value, before, path, key)
      if (before === undefined || child !== before) same = false
      taken.push([key, child])
    }
    return same ? old : Object.fromEntries(taken)
  }

  /** Awaited only where there is a reason to. */
  #child(value: unknown, previous: JsonValue | undefined, path: Place, step: string | number): JsonValue | Promise<JsonValue> {
    const at = [...path, step]
    if (at.length < deepestTaken && isContainer(value)) return this.container(value, previous, at)
    return this.#breath.isDue() ? this.#breath.take().then(() => this.#whole(value, previous, at)) : this.#whole(value, previous, at)
  }

  #whole(value: unknown, previous: JsonValue | undefined, path: Place): JsonValue {
    this.#measure(value)
    this.#check(value, path, Math.max(0, this.#depth - path.length))
    return equal(previous, value as JsonValue) ? previous! : (copyJson(value) as JsonValue)
  }

  get #depth(): number {
    const { depth } = this.#options.limits
    return depth > 0 ? Math.min(depth, deepestNesting) : deepestNesting
  }

  /** @throws {ContextdError} `too_large` – it is, before all of it was looked at */
  #measure(value: unknown): void {
    const { stateBytes } = this.#options.limits
    if (stateBytes === 0) return
    try {
      this.#left -= 1 + jsonLength(value as JsonValue, Math.max(0, this.#left))
    } catch {
      // Of what is no JSON there is no length: what is wrong with it is found next.
      return
    }
    if (this.#left >= 0) return
    throw new ContextdError('too_large', `fetch gave more than ${stateBytes} bytes (stateBytes). Fetch less, or raise the limit.`)
  }

  #check(value: unknown, path: Place, depth: number): void {
    try {
      assertJson(value, path, depth)
    } catch (error) {
      throw new ContextdError('invalid_state', `What fetch gave is ${(error as Error).message}.`)
    }
  }
}

type Container = unknown[] | { readonly [key: string]: unknown }

/** A list, or an object that may be JSON; what has a class is a fault, wherever it lies. */
function isContainer(value: unknown): value is Container {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === null || Object.getPrototypeOf(prototype) === null
}

const nameOf = (value: object): string => value.constructor?.name || 'class instance'

/** Finds what an item was before: the one with its id; where it has none, the one at its place. */
function finder(old: readonly JsonValue[], itemKey: string): (item: unknown, index: number) => JsonValue | undefined {
  let shift = 0
  let positions: Map<string | undefined, number> | null = null
  return (item, index) => {
    const near = old[index + shift]
    const id = idOf(item as JsonValue, itemKey)
    if (id === undefined || idOf(near, itemKey) === id) return near
    positions ??= new Map(old.map((each, position) => [idOf(each, itemKey), position]))
    const found = positions.get(id)
    if (found === undefined) return undefined
    shift = found - index
    return old[found]
  }
}
