import type { JsonObject, JsonValue } from './json.ts'

/** A JSON value that holds others. */
export type Container = JsonObject | JsonValue[]
/** A step that needs no search: key of an object, position in a list. */
export type Position = string | number

/** Deepest nesting that this package handles, whatever the limits say: what recurses stays far from the end of the stack. */
export const deepestNesting = 512

/** Tells an object from a list and from what holds nothing. */
export const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Tells an object whose prototype is `Object.prototype` (of any realm) or null. */
export function isPlainObject(value: object): value is { [key: string]: unknown } {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Keys that no state and no path may contain: they reach an object's prototype. */
export const isForbiddenKey = (key: string): boolean => key === '__proto__' || key === 'constructor' || key === 'prototype'

/** A position in a list, or the number of its items. */
export const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const surrogate = /\p{Surrogate}/u
/** False for text with a lone surrogate, which no UTF-8 can carry. */
export const isWellFormed: (text: string) => boolean =
  'isWellFormed' in String.prototype
    ? (text) => (text as unknown as { isWellFormed(): boolean }).isWellFormed()
    : (text) => !surrogate.test(text)

/** What lies in a container at a position; undefined: nothing, or a position of the other kind. */
export function childOf(container: Container, position: Position): JsonValue | undefined {
  if (Array.isArray(container)) return typeof position === 'number' ? container[position] : undefined
  return typeof position === 'string' && Object.hasOwn(container, position) ? container[position] : undefined
}

/** A path as text, for messages: `items[3].title`; the empty path is `the state`. */
export function pathText(path: readonly unknown[]): string {
  // Messages have an end: of a long path, only its ends are told.
  if (path.length > 12) return `${pathText(path.slice(0, 6))} … ${pathText(path.slice(-4))}`
  const text = path.map((segment) => {
    if (typeof segment === 'string') return /^[\w$]{1,64}$/.test(segment) ? `.${segment}` : `[${excerpt(segment)}]`
    return typeof segment === 'number' ? `[${segment}]` : `[${excerpt(segment)}]`
  })
  return text.join('').replace(/^\./, '') || 'the state'
}

/** A short text of any value, for messages. */
export function excerpt(value: unknown): string {
  if (typeof value === 'string') return value.length > 40 ? `${JSON.stringify(value.slice(0, 40))}…` : JSON.stringify(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (!isObject(value)) return String(value).slice(0, 40)
  const { id, index } = value
  if (typeof id === 'string') return `{ id: ${excerpt(id)} }`
  return typeof index === 'number' ? `{ index: ${index} }` : 'an object'
}
