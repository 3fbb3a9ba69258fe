import { equal } from './equal.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { isObject } from './json-shape.ts'
import { defaultItemKey, idOf } from './keyed-list.ts'
import type { ListOptions } from './operation.ts'

/**
 * Gives a value that equals `next` and reuses every part of `previous` that did not change, `previous` itself when nothing did. List items
 * are found by position, and by id where they have moved. Neither argument is changed. Parts that are the same reference cost nothing.
 */
export function shareIdentity<T>(previous: unknown, next: T, options: ListOptions = {}): T {
  return share(previous as JsonValue, next as JsonValue, options.itemKey ?? defaultItemKey) as T
}

function share(previous: JsonValue | undefined, next: JsonValue, itemKey: string): JsonValue {
  if (previous === next || previous === undefined || previous === null || typeof previous !== 'object') return next
  if (typeof next !== 'object' || next === null) return next
  if (Array.isArray(next)) return Array.isArray(previous) ? shareList(previous, next, itemKey) : next
  return Array.isArray(previous) ? next : shareObject(previous, next, itemKey)
}

function shareObject(previous: JsonObject, next: JsonObject, itemKey: string): JsonObject {
  const keys = Object.keys(next)
  let same = keys.length === Object.keys(previous).length
  let copy: JsonObject | null = null
  for (const key of keys) {
    const value = next[key]!
    const old = Object.hasOwn(previous, key) ? previous[key] : undefined
    const shared = share(old, value, itemKey)
    if (shared !== old) same = false
    if (shared === value) continue
    copy ??= { ...next }
    copy[key] = shared
  }
  return same ? previous : (copy ?? next)
}

function shareList(previous: JsonValue[], next: JsonValue[], itemKey: string): JsonValue[] {
  const find = itemFinder(previous, itemKey)
  let same = next.length === previous.length
  let copy: JsonValue[] | null = null
  for (let index = 0; index < next.length; index += 1) {
    const value = next[index]!
    const shared = share(find(value, index), value, itemKey)
    if (shared !== previous[index]) same = false
    if (shared === value) continue
    copy ??= next.slice()
    copy[index] = shared
  }
  return same ? previous : (copy ?? next)
}

/** Finds the item of the previous list that a new one was: the one with its id, else the one at its position, or an equal one beside it. */
function itemFinder(previous: readonly JsonValue[], itemKey: string): (value: JsonValue, index: number) => JsonValue | undefined {
  let byId: Map<string, JsonValue> | null = null
  let shift = 0
  return (value, index) => {
    const here = previous[index + shift]
    if (here === value || typeof value !== 'object' || value === null) return previous[index] === value ? value : here
    const id = isObject(value) ? idOf(value, itemKey) : undefined
    if (id !== undefined) {
      if (idOf(here, itemKey) === id) return here
      byId ??= new Map(previous.map((item) => [idOf(item, itemKey) ?? '', item]))
      return byId.get(id)
    }
    for (const step of [0, 1, -1]) {
      const candidate = previous[index + shift + step]
      if (candidate === undefined || !equal(candidate, value)) continue
      shift += step
      return candidate
    }
    return here
  }
}
