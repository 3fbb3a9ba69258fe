import type { JsonObject, JsonValue } from './json.ts'
import type { Container } from './json-shape.ts'

/** Most keys of an object that is copied as V8 copies objects by itself. */
const fewKeys = 128

/** A copy of a list. Spread, since V8 copies by `slice` item by item where a list is frozen: twenty times slower. */
export const copyList = (list: readonly JsonValue[]): JsonValue[] => [...list]

/** A copy of an object, which shares what lies in it. */
export function copyObject(object: JsonObject): JsonObject {
  const keys = Object.keys(object)
  // By assignment a key of this name would become the prototype.
  if (keys.length <= fewKeys || Object.hasOwn(object, '__proto__')) return { ...object }
  const copy = hashTable()
  for (const key of keys) copy[key] = object[key]!
  return copy
}

/** A copy of an object or a list, which shares what lies in it. */
export const copyOf = (container: Container): Container => (Array.isArray(container) ? copyList(container) : copyObject(container))

/** An empty object that V8 keeps as a hash table: to any other it adds a key the slower the more it has. */
function hashTable(): JsonObject {
  const object: JsonObject = { first: null, last: null }
  delete object['first']
  delete object['last']
  return object
}
