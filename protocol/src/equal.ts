import type { JsonValue } from './json.ts'

/**
 * Tells whether two JSON values are equal: by content, whatever the order of keys. Subtrees that are the same reference are not looked into.
 * −0 equals 0, as JSON text has them alike.
 */
export function equal(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index] && !equal(a[index], b[index])) return false
    return true
  }
  if (Array.isArray(b)) return false
  let count = 0
  // Without a list of the keys: most objects that differ do so in one of their first.
  for (const key in a) {
    if (!Object.hasOwn(a, key)) continue
    if (!Object.hasOwn(b, key) || (a[key] !== b[key] && !equal(a[key], b[key]))) return false
    count += 1
  }
  return count === Object.keys(b).length
}

/** Whether two lists of keys are the same, in the same order, as those of two versions of an object mostly are. */
export function areAlike(keys: readonly string[], others: readonly string[]): boolean {
  if (keys.length !== others.length) return false
  for (let index = 0; index < keys.length; index += 1) if (keys[index] !== others[index]) return false
  return true
}
