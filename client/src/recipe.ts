import type { JsonObject, JsonValue } from '@contextd/protocol'
import { takeValue } from './values.ts'

type Container = { [key: string | number]: unknown }

const isContainer = (value: unknown): value is Container => typeof value === 'object' && value !== null
/** Takes what a function returned that must be synchronous. @throws {TypeError} it is a promise */
export function checkSynchronous(returned: unknown, message: string): void {
  if (!isContainer(returned) || typeof returned['then'] !== 'function') return
  // The function goes on, and fails at a draft that has ended: that must not end the process.
  Promise.resolve(returned).catch(() => {})
  throw new TypeError(message)
}

/**
 * Runs a recipe on a draft of an object, and gives the object that it made; what it did not change is the very same as before. A key that is
 * set to undefined is removed. A draft is a proxy around a shallow copy, made when the recipe comes by, so that lists behave as lists.
 *
 * @throws {TypeError} the recipe is asynchronous, or stores what is not JSON
 */
export function produce(base: JsonObject, recipe: (draft: never) => unknown): JsonObject {
  const drafts = new Drafts()
  const draft = drafts.of(base)
  try {
    checkSynchronous(recipe(draft as never), 'a recipe must be synchronous: await first, then update')
    return drafts.finish(draft) as JsonObject
  } finally {
    drafts.close()
  }
}

/** Keys that reach a prototype. */
const reserved: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

class Drafts {
  /** What each copy is a copy of, and what the recipe sees of it. */
  readonly #bases = new Map<unknown, Container>()
  readonly #proxies = new Map<unknown, Container>()
  readonly #copies = new Map<unknown, Container>()
  readonly #finished = new Map<unknown, JsonValue>()
  #open = true

  /** A draft of a part of the state. */
  of(base: Container): Container {
    const copy = (Array.isArray(base) ? base.slice() : { ...base }) as Container
    const proxy = new Proxy(copy, this.#handler)
    this.#bases.set(copy, base)
    this.#proxies.set(copy, proxy)
    this.#copies.set(proxy, copy)
    return proxy
  }

  close(): void {
    this.#open = false
  }

  /** What a draft has become. */
  finish(draft: Container): JsonValue {
    return this.#finish(this.#copies.get(draft)!, 'draft', 0)
  }

  readonly #handler: ProxyHandler<Container> = {
    get: (copy, key) => this.#read(copy, key),
    getOwnPropertyDescriptor: (copy, key) => {
      const descriptor = Reflect.getOwnPropertyDescriptor(copy, key)
      return descriptor && { ...descriptor, value: this.#read(copy, key) }
    },
    set: (copy, key, value) => this.#write(copy, key, value),
    defineProperty: (copy, key, descriptor) => {
      if (!('value' in descriptor)) throw new TypeError(`a draft holds values only, and ${String(key)} would be computed`)
      return this.#write(copy, key, descriptor.value)
    },
    deleteProperty: (copy, key) => {
      this.#check()
      return Reflect.deleteProperty(copy, key)
    },
  }

  #check(): void {
    if (!this.#open) throw new TypeError('the draft is used after its recipe has ended; take what is needed out of it before')
  }

  #read(copy: Container, key: string | symbol): unknown {
    this.#check()
    const value: unknown = Reflect.get(copy, key)
    if (!isContainer(value) || typeof key === 'symbol' || !Object.hasOwn(copy, key)) return value
    const known = this.#proxies.get(value)
    // What the recipe itself has put there is its own.
    if (known !== undefined || value !== this.#bases.get(copy)![key]) return known ?? value
    const draft = this.of(value)
    copy[key] = this.#copies.get(draft)
    return draft
  }

  #write(copy: Container, key: string | symbol, value: unknown): boolean {
    this.#check()
    if (typeof key === 'symbol') throw new TypeError('a symbol is no key of JSON')
    if (Array.isArray(copy)) {
      if (key !== 'length' && !/^\d+$/.test(key)) throw new TypeError(`a list has no key ${JSON.stringify(key)}`)
    } else if (reserved.has(key)) throw new TypeError(`not JSON: draft.${key} is a key that is never allowed; rename it`)
    return Reflect.set(copy, key, this.#copies.get(value) ?? value)
  }

  #finish(copy: Container, name: string, above: number): JsonValue {
    const known = this.#finished.get(copy)
    if (known !== undefined) return known
    const base = this.#bases.get(copy)!
    // One that contains itself is deeper than anything may be.
    if (above > 64) return takeValue(copy, { name, above: 64 })
    const list = Array.isArray(copy)
    const keys: (string | number)[] = list ? [...copy.keys()] : Object.keys(copy)
    let changed = false
    for (const key of keys) {
      const finished = this.#finishAt(copy[key], base[key], list ? `${name}[${key}]` : `${name}.${key}`, above + 1, list)
      if (finished === undefined) delete copy[key]
      else copy[key] = finished
      changed ||= finished !== base[key] || !Object.hasOwn(base, key)
    }
    changed ||= (list ? copy.length : Object.keys(copy).length) !== (list ? base['length'] : Object.keys(base).length)
    const result = (changed ? copy : base) as JsonValue
    this.#finished.set(copy, result)
    return result
  }

  /** What a value is in the end; undefined: nothing, so the key goes. */
  #finishAt(value: unknown, was: unknown, name: string, above: number, list: boolean): JsonValue | undefined {
    if (this.#bases.has(value)) return this.#finish(value as Container, name, above)
    if (value === was && value !== undefined) return value as JsonValue
    if (value === undefined && !list) return undefined
    const standIn = (part: object): JsonValue | undefined => {
      const copy = this.#copies.get(part)
      return copy && this.#finish(copy, name, above)
    }
    return takeValue(value, { name, above, dropUndefined: true, standIn })
  }
}
