import { equal } from '../equal.ts'
import type { JsonObject, JsonValue } from '../json.ts'
import { isForbiddenKey, isObject } from '../json-shape.ts'
import type { DeltaFormat } from './delta-format.ts'

/** A leaf of a verbose delta. */
export type VerboseChange =
  | { action: 'added'; value: JsonValue }
  | { action: 'modified'; value: JsonValue; oldValue: JsonValue }
  | { action: 'removed'; oldValue: JsonValue }
/** Changes as a tree by key; a list that changed in any way is one leaf with both whole lists. A node is a leaf iff its `action` is a string. */
export interface VerboseDelta {
  [key: string]: VerboseChange | VerboseDelta
}

/** Tells a leaf of a verbose delta from an inner node. */
export function isVerboseChange(node: VerboseChange | VerboseDelta): node is VerboseChange {
  return Object.hasOwn(node, 'action') && typeof node['action'] === 'string'
}

/** Tree by key: `{ metadata: { theme: { action: 'modified', value: 'dark', oldValue: 'light' } } }`. */
export const verbose: DeltaFormat<VerboseDelta> = (_delta, { before, after }) => compare(before, after)

function compare(before: JsonObject, after: JsonObject): VerboseDelta {
  const delta: VerboseDelta = {}
  const keys = Object.keys(after)
  const old = Object.keys(before)
  // Mostly the keys are the same, in the same order, and what is the same reference is no change.
  const sameKeys = keys.length === old.length && keys.every((key, index) => key === old[index])
  if (!sameKeys) {
    for (const key of old) {
      if (!Object.hasOwn(after, key) && !isForbiddenKey(key)) delta[key] = { action: 'removed', oldValue: before[key]! }
    }
  }
  for (const key of keys) {
    const value = after[key]!
    const has = sameKeys || Object.hasOwn(before, key)
    if ((has && before[key] === value) || isForbiddenKey(key)) continue
    if (!has) delta[key] = added(value)
    else if (!equal(before[key], value)) delta[key] = modified(before[key]!, value)
  }
  return delta
}

function modified(before: JsonValue, after: JsonValue): VerboseChange | VerboseDelta {
  if (isObject(before) && isObject(after)) return compare(before, after)
  return { action: 'modified', value: after, oldValue: before }
}

/** An added object as its leaves; an empty one is a leaf itself, so that it can be seen. */
function added(value: JsonValue): VerboseChange | VerboseDelta {
  const keys = isObject(value) ? Object.keys(value).filter((key) => !isForbiddenKey(key)) : []
  if (keys.length === 0) return { action: 'added', value }
  return Object.fromEntries(keys.map((key) => [key, added((value as JsonObject)[key]!)]))
}
