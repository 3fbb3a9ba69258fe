import { copyList, copyObject } from './copy.ts'
import { areAlike, equal } from './equal.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { defaultItemKey, findById, idOf } from './keyed-list.ts'
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
  const old = Object.keys(previous)
  const alike = areAlike(old, keys)
  let same = keys.length === old.length
  let copy: JsonObject | null = null
  for (const key of keys) {
    const value = next[key]!
    const before = alike || Object.hasOwn(previous, key) ? previous[key] : undefined
    const shared = typeof value === 'object' ? share(before, value, itemKey) : value
    if (shared !== before) same = false
    if (shared === value) continue
    copy ??= copyObject(next)
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
    const shared = value === previous[index] ? value : share(find(value, index), value, itemKey)
    if (shared !== previous[index]) same = false
    if (shared === value) continue
    copy ??= copyList(next)
    copy[index] = shared
  }
  if (same) return previous
  const result = copy ?? next
  // Equal items that have changed places with each other are no change.
  return result.length === previous.length && equal(previous, result) ? previous : result
}

/** So many items are sought one by one before all of them are collected by id. */
const fewSearches = 4

/** Finds the item of the previous list that a new one was: the one with its id, or an equal one, beside where it was; else the one with its id. */
function itemFinder(previous: readonly JsonValue[], itemKey: string): (value: JsonValue, index: number) => JsonValue | undefined {
  let byId: Map<string | undefined, JsonValue> | null = null
  let shift = 0
  let searches = 0
  return (value, index) => {
    if (typeof value !== 'object' || value === null) return previous[index]
    const near = [index + shift, index + shift + 1, index + shift - 1]
    // The very same is found without a look into it.
    let found = near.find((position) => previous[position] === value)
    const id = found === undefined ? idOf(value, itemKey) : undefined
    found ??= near.find((position) => {
      const candidate = previous[position]
      return candidate !== undefined && (id === undefined ? equal(candidate, value) : idOf(candidate, itemKey) === id)
    })
    if (found !== undefined) {
      shift = found - index
      return previous[found]
    }
    if (id === undefined) return previous[index + shift]
    searches += 1
    if (searches <= fewSearches) return previous[findById(previous, id, itemKey)]
    byId ??= new Map(previous.map((item) => [idOf(item, itemKey), item]))
    return byId.get(id)
  }
}
