import { assertJson, checkOperations, checkState, deepestNesting, isObject, isPlainObject, takeJson } from '@contextd/protocol'
import type { Change, JsonObject, JsonValue, Limits } from '@contextd/protocol'

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
  if (!isPlainObject(value)) return value
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
  if (!isObject(copy) || !isPlainObject(copy)) throw new TypeError('The values must be an object: { key: value, … }')
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

/** Freezes a value and all in it; parts that are frozen already are not looked into. */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const child of Array.isArray(value) ? value : Object.values(value)) frozen(child)
  return Object.freeze(value)
}

/**
 * Freezes a state that changes led to from an earlier one, if that is frozen: only what lies on the way to the changes is looked at, since all else is
 * shared by the two.
 */
export function frozenAs(before: JsonObject, after: JsonObject, changes: readonly Change[]): JsonObject {
  if (!Object.isFrozen(before) || Object.isFrozen(after)) return after
  const passed: object[] = []
  let previous: Change['path'] = []
  for (const { path } of changes) {
    freezeEnd(before, after, path, commonSteps(previous, path), changes.length === 1, passed)
    previous = path
  }
  // Only now: what is frozen is not looked into, and a change may lead through what another one has put there.
  for (const container of passed) Object.freeze(container)
  return after
}

/**
 * Freezes what lies at the end of a path, and notes what lies on the way; what the first `done` steps lead from is noted, and all of `before` is
 * frozen.
 * @param only no other change: then nothing but the path leads to what is new
 */
function freezeEnd(before: JsonObject, after: JsonObject, path: Change['path'], done: number, only: boolean, passed: object[]): void {
  let old: JsonValue | undefined = before
  let node: JsonValue | undefined = after
  for (let step = 0; step < path.length; step += 1) {
    if (typeof node !== 'object' || node === null) return
    // In lists, positions shift with each change: all of what is new in one is looked for.
    if (Array.isArray(node) && !only) return freezeNew(old, node)
    if (step >= done) passed.push(node)
    node = stepInto(node, path[step]!)
    old = stepInto(old, path[step]!)
  }
  frozen(node)
}

/** As {@link frozen}: of a list, items that lie where they lay are not looked at, since `old` is frozen. */
function freezeNew(old: JsonValue | undefined, value: JsonValue | undefined): void {
  if (!Array.isArray(value) || !Array.isArray(old) || Object.isFrozen(value)) return void frozen(value)
  for (let index = 0; index < value.length; index += 1) if (value[index] !== old[index]) freezeNew(old[index], value[index])
  Object.freeze(value)
}

const stepInto = (value: JsonValue | undefined, step: Change['path'][number]): JsonValue | undefined =>
  typeof step === 'string' ? fieldOf(value, step) : Array.isArray(value) ? value[step as number] : undefined

/** What an object holds under a key of its own; undefined: nothing, or it is none. */
export const fieldOf = (value: JsonValue | undefined, key: string): JsonValue | undefined =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as JsonObject)[key] : undefined

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
  if (!isPlainObject(next)) return next
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
