import { bounded, markChecked } from './check.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting, isForbiddenKey, isObject, isPlainObject, isWellFormed } from './json-shape.ts'
import type { Limits } from './limits.ts'

/** An operation that sets the whole state, or merges a patch into it. */
export interface WholeOperation<T extends 'set' | 'merge'> {
  readonly type: T
  readonly path: []
  readonly value: JsonObject
}

/**
 * The operation that sets, or merges, what the program itself made: a copy of it, looked through while it is made. Keys that are undefined are not
 * mentioned in a patch. Null: it is no object, or something in it is not JSON or too deep; `checkOperations` says what.
 */
export function takeJson<T extends 'set' | 'merge'>(type: T, value: unknown, limits: Pick<Limits, 'depth'>): WholeOperation<T> | null {
  const copy = copied(value, bounded(limits.depth, deepestNesting), type === 'merge')
  if (!isObject(copy)) return null
  const operation: WholeOperation<T> = { type, path: [], value: copy }
  markChecked([operation as { type: 'set'; path: []; value: JsonObject }])
  return operation
}

/** A copy of a value; undefined: it is not JSON. */
function copied(value: unknown, depth: number, omitsUndefined: boolean): JsonValue | undefined {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? value : undefined
    case 'number':
      return Number.isFinite(value) ? value : undefined
    case 'boolean':
      return value
    case 'object':
      if (value === null) return null
      if (depth <= 0) return undefined
      return Array.isArray(value) ? copiedList(value, depth - 1, omitsUndefined) : copiedObject(value, depth - 1, omitsUndefined)
    default:
      return undefined
  }
}

function copiedList(list: readonly unknown[], depth: number, omitsUndefined: boolean): JsonValue[] | undefined {
  const copy: JsonValue[] = []
  for (let index = 0; index < list.length; index += 1) {
    const item = copied(list[index], depth, omitsUndefined)
    if (item === undefined) return undefined
    copy.push(item)
  }
  return copy
}

function copiedObject(object: object, depth: number, omitsUndefined: boolean): JsonObject | undefined {
  if (!isPlainObject(object)) return undefined
  const copy: JsonObject = {}
  for (const key of Object.keys(object)) {
    if (isForbiddenKey(key) || !isWellFormed(key)) return undefined
    const value = object[key]
    if (value === undefined && omitsUndefined) continue
    const child = copied(value, depth, omitsUndefined)
    if (child === undefined) return undefined
    copy[key] = child
  }
  return copy
}
