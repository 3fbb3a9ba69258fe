import { assertJson, checkOperations, checkState, deepestNesting, takeJson } from '@contextd/protocol'
import type { Change, JsonObject, JsonValue, Limits } from '@contextd/protocol'

/** Tells an object that may be JSON: not a list, and of no class. */
function isPlain(value: object): value is { [key: string]: unknown } {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

/**
 * Copies what a caller handed in, so that nothing that it does to it later reaches a context. What is not JSON stays as it is, for the checks
 * to find.
 *
 * @param undefinedKeys what becomes of keys whose value is undefined
 */
export function copyJson(value: unknown, undefinedKeys: 'keep' | 'omit' = 'keep', depth: number = deepestNesting + 1): unknown {
  if (typeof value !== 'object' || value === null || depth === 0) return value
  // By `map`, the holes of a list would stay holes.
  if (Array.isArray(value)) return Array.from(value, (item) => copyJson(item, undefinedKeys, depth - 1))
  if (!isPlain(value)) return value
  const copy: { [key: string]: unknown } = {}
  for (const key of Object.keys(value)) {
    const child = copyJson(value[key], undefinedKeys, depth - 1)
    if (child === undefined && undefinedKeys === 'omit') continue
    if (key === '__proto__') Object.defineProperty(copy, key, { value: child, enumerable: true })
    else copy[key] = child
  }
  return copy
}

/**
 * Copies a whole state that the program itself made, as the operation that sets it.
 * @throws {ContextdError} `invalid_state` – it is no object · `invalid_operation` – it is nested too deep
 * @throws {TypeError} it holds what is not JSON
 */
export function takeState(state: unknown, limits: Pick<Limits, 'depth' | 'operations'>): [{ type: 'set'; path: []; value: JsonObject }] {
  const operation = takeJson('set', state, limits)
  if (operation !== null) return [operation]
  const value = copyJson(state) as JsonObject
  if (!isObject(value)) checkState(value, limits)
  return taken({ type: 'set', path: [], value }, 'state', limits)
}

/**
 * Copies a patch that the program itself made, as the operation that merges it; keys that are undefined are not mentioned.
 * @throws {ContextdError} `invalid_operation` – it is nested too deep
 * @throws {TypeError} it is no object, or holds what is not JSON
 */
export function takePatch(patch: unknown, limits: Pick<Limits, 'depth' | 'operations'>): [{ type: 'merge'; path: []; value: JsonObject }] {
  const operation = takeJson('merge', patch, limits)
  if (operation !== null) return [operation]
  const value = copyJson(patch, 'omit') as JsonObject
  if (!isObject(value)) throw new TypeError('update takes a patch: an object with the keys to change. To replace the whole state use set.')
  return taken({ type: 'merge', path: [], value }, 'patch', limits)
}

/**
 * Copies values that the program itself made, as the operations that put them at keys of the state.
 * @throws {ContextdError} `invalid_operation` – a key is never allowed, there are too many, or a value is nested too deep
 * @throws {TypeError} it is no object, or holds what is not JSON
 */
export function takeKeys(
  values: unknown,
  limits: Pick<Limits, 'depth' | 'operations'>,
): { type: 'set'; path: [key: string]; value: JsonValue }[] {
  const copy = copyJson(values) as JsonObject
  if (!isObject(copy) || !isPlain(copy)) throw new TypeError('The values must be an object: { key: value, … }')
  const operations = Object.keys(copy).map((key) => ({ type: 'set' as const, path: [key] as [string], value: copy[key]! }))
  try {
    checkOperations(operations, limits)
  } catch (error) {
    for (const { path, value } of operations) assertJson(value, path, deepestNesting)
    throw error
  }
  return operations
}

function taken<O extends { readonly type: 'set' | 'merge'; readonly value: JsonObject }>(
  operation: O,
  name: string,
  limits: Pick<Limits, 'depth' | 'operations'>,
): [O] {
  try {
    checkOperations([operation], limits)
  } catch (error) {
    // What no JSON could hold is a mistake of the program; too deep is a limit.
    assertJson(operation.value, [name], deepestNesting)
    throw error
  }
  return [operation]
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Freezes a value and all in it; parts that are frozen already are not looked into. */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const child of Array.isArray(value) ? value : Object.values(value)) frozen(child)
  return Object.freeze(value)
}

/**
 * Freezes a state that changes led to from an earlier one, as {@link frozen} does: where that is frozen, only what lies on the way to the changes
 * is looked at. No changes: nobody has written down what they are.
 */
export function frozenAlong(before: JsonObject, after: JsonObject, changes: readonly Change[]): JsonObject {
  if (after === before || changes.length === 0 || !Object.isFrozen(before)) return frozen(after)
  let previous: Change['path'] = []
  for (const { path } of changes) {
    freezeAlong(after, path, commonSteps(previous, path))
    previous = path
  }
  return after
}

/** Freezes what lies on a path, and at its end; what the first `done` steps lead from is frozen. */
function freezeAlong(state: JsonObject, path: Change['path'], done: number): void {
  let node: JsonValue | undefined = state
  for (let step = 0; step < path.length; step += 1) {
    const key = path[step]
    // In lists, positions shift with each change: all of what is new in one is looked for.
    if (typeof node !== 'object' || node === null || Array.isArray(node) || typeof key !== 'string') break
    if (step >= done) Object.freeze(node)
    node = Object.hasOwn(node, key) ? node[key] : undefined
  }
  frozen(node)
}

function commonSteps(a: Change['path'], b: Change['path']): number {
  let count = 0
  while (count < a.length && count < b.length && a[count] === b[count]) count += 1
  return count
}

/**
 * Copies what is new in `next`, and leaves out keys whose value is undefined; parts that are the very same at the same place as in
 * `previous` are kept.
 */
export function copyNew(previous: JsonValue | undefined, next: unknown, depth: number = deepestNesting + 1): unknown {
  if (next === previous || typeof next !== 'object' || next === null || depth === 0) return next
  if (Array.isArray(next)) {
    const old = Array.isArray(previous) ? previous : []
    return Array.from(next, (item, index) => copyNew(old[index], item, depth - 1))
  }
  if (!isPlain(next)) return next
  const old: JsonObject = typeof previous === 'object' && previous !== null && !Array.isArray(previous) ? previous : {}
  const copy: { [key: string]: unknown } = {}
  for (const key of Object.keys(next)) {
    const child = copyNew(Object.hasOwn(old, key) ? old[key] : undefined, next[key], depth - 1)
    if (child === undefined) continue
    if (key === '__proto__') Object.defineProperty(copy, key, { value: child, enumerable: true })
    else copy[key] = child
  }
  return copy
}
