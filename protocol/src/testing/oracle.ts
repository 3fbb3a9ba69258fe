/*
 * What changes and operations mean, written down a second time as plainly as possible: on a deep copy, one step after the other, without any
 * of the code that is tested.
 */
import type { Change } from '../delta.ts'
import type { JsonObject, JsonValue } from '../json.ts'
import type { Operation } from '../operation.ts'
import type { Anchor, ItemRef, Path, Segment } from '../path.ts'

type Node = { [key: string | number]: JsonValue }
export type OracleAnswer = JsonObject | 'conflict' | 'invalid_operation'

export const clone = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T

/** JSON text with sorted keys: equal values give equal texts. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join()}}`
}

/** Applies changes as RFC 6902 would: add, replace, remove. */
export function applyChangesPlainly(state: JsonObject, changes: readonly Change[]): JsonObject {
  const result = clone(state)
  for (const { path, action, value } of changes) {
    let parent: Node = result
    for (const key of path.slice(0, -1)) parent = parent[key as string] as Node
    const last = path.at(-1) as string | number
    const list = Array.isArray(parent)
    const has = list ? (last as number) < (parent as unknown as JsonValue[]).length : Object.hasOwn(parent, last)
    if (action === 'added' ? !list && has : !has) throw new Error(`a change does not fit at ${JSON.stringify(path)}`)
    if (action === 'added' && list) (parent as unknown as JsonValue[]).splice(last as number, 0, clone(value!))
    else if (action === 'removed' && list) (parent as unknown as JsonValue[]).splice(last as number, 1)
    else if (action === 'removed') delete parent[last]
    else parent[last] = clone(value!)
  }
  return result
}

class Stop extends Error {
  readonly code: 'conflict' | 'invalid_operation'
  constructor(code: 'conflict' | 'invalid_operation') {
    super(code)
    this.code = code
  }
}
const stop = (code: 'conflict' | 'invalid_operation'): never => {
  throw new Stop(code)
}

/** Applies operations one after the other, or says with which code they are refused. Items are known by `id`. */
export function applyOperationsPlainly(state: JsonObject, operations: readonly Operation[]): OracleAnswer {
  const holder = { state: clone(state) }
  try {
    for (const operation of operations) step(holder, clone(operation))
  } catch (error) {
    if (error instanceof Stop) return error.code
    throw error
  }
  return holder.state
}

function step(holder: { state: JsonObject }, operation: Operation): void {
  if (operation.type === 'insert') return insert(holder.state, operation.path, operation.values, operation.at)
  if (operation.type === 'move') return move(holder.state, operation)
  if (operation.type === 'test') {
    const found = walk(holder.state, operation.path)
    return canonical(found) === canonical(operation.value) ? undefined : stop('conflict')
  }
  if (operation.path.length === 0) return wholeState(holder, operation)
  const parent = walk(holder.state, operation.path.slice(0, -1))
  const grandparent = operation.path.length > 1 ? walk(holder.state, operation.path.slice(0, -2)) : null
  const key = keyIn(parent, operation.path.at(-1)!)
  if (Array.isArray(parent) && key === -1) return stop('conflict')
  const node = parent as Node
  const had = Object.hasOwn(node, key)
  const old = had ? node[key] : undefined
  if (operation.type === 'remove') {
    if (Array.isArray(parent)) parent.splice(key as number, 1)
    else delete node[key]
  } else if (operation.type === 'increment') {
    if (had && typeof old !== 'number') return stop('invalid_operation')
    node[key] = ((old as number | undefined) ?? 0) + operation.by
  } else node[key] = operation.type === 'merge' ? merge(old, operation.value) : operation.value
  // An item that has got another id must be the only one with it.
  if (operation.type === 'remove') return
  if (Array.isArray(parent)) {
    const item = node[key]!
    if (idOf(item) !== undefined && idOf(item) !== idOf(old) && twice(parent, item)) stop('invalid_operation')
  } else if (key === 'id' && typeof node[key] === 'string' && node[key] !== old) {
    if (Array.isArray(grandparent) && twice(grandparent, parent)) stop('invalid_operation')
  }
}

const twice = (list: JsonValue[], item: JsonValue): boolean => list.filter((other) => idOf(other) === idOf(item)).length > 1

function wholeState(holder: { state: JsonObject }, operation: Operation): void {
  if (operation.type !== 'set' && operation.type !== 'merge') return stop('invalid_operation')
  const value = operation.type === 'merge' ? merge(holder.state, operation.value) : operation.value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return stop('invalid_operation')
  holder.state = value
}

function merge(target: JsonValue | undefined, patch: JsonValue): JsonValue {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result: JsonObject = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = merge(result[key], value)
  }
  return result
}

function insert(state: JsonObject, path: Path, values: readonly JsonValue[], at: Anchor): void {
  if (values.length === 0) return
  const list = listAt(state, path)
  const ids = [...list, ...values].map(idOf).filter((id) => id !== undefined)
  const fresh = values.map(idOf).filter((id) => id !== undefined)
  if (fresh.some((id) => ids.filter((other) => other === id).length > 1)) return stop('invalid_operation')
  list.splice(indexOf(list, at), 0, ...values)
}

function move(state: JsonObject, { from, to }: Operation & { type: 'move' }): void {
  const source = listAt(state, from.path)
  const index = find(source, from.item)
  if (index < 0) return stop('conflict')
  const item = source[index]!
  const target = listAt(state, to.path)
  if (source === target && typeof to.at === 'object' && isNamedBy(source, index, 'after' in to.at ? to.at.after : to.at.before)) return
  const id = idOf(item)
  if (source !== target && id !== undefined && target.some((other) => idOf(other) === id)) return stop('invalid_operation')
  if (contains(item, target)) return stop('invalid_operation')
  source.splice(index, 1)
  target.splice(indexOf(target, to.at), 0, item)
}

/** Beside itself an item stays where it is; an equal item at another position is not itself. */
function isNamedBy(list: readonly JsonValue[], index: number, ref: ItemRef): boolean {
  if ('id' in ref) return find(list, ref) === index
  return ref.index === index && canonical(list[index]!) === canonical(ref.value)
}

const contains = (value: JsonValue, part: JsonValue): boolean =>
  value === part || (typeof value === 'object' && value !== null && Object.values(value).some((child) => contains(child, part)))

function indexOf(list: JsonValue[], at: Anchor): number {
  if (at === 'start') return 0
  if (at === 'end') return list.length
  const ref = 'after' in at ? at.after : at.before
  const found = find(list, ref)
  const shift = 'after' in at ? 1 : 0
  if (found >= 0) return found + shift
  return 'id' in ref ? list.length : Math.min(list.length, ref.index + shift)
}

const idOf = (item: JsonValue | undefined): string | undefined => {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return undefined
  return typeof item['id'] === 'string' ? item['id'] : undefined
}

function find(list: readonly JsonValue[], ref: ItemRef): number {
  if ('id' in ref) return list.findIndex((item) => idOf(item) === ref.id)
  const equals = list.flatMap((item, index) => (canonical(item) === canonical(ref.value) ? [index] : []))
  const distance = (index: number): number => Math.abs(index - Math.min(ref.index, list.length - 1))
  return equals.toSorted((a, b) => distance(a) - distance(b) || a - b)[0] ?? -1
}

function keyIn(parent: JsonValue, segment: Segment): string | number {
  if (typeof parent !== 'object' || parent === null) return stop('conflict')
  if (Array.isArray(parent)) {
    if (typeof segment === 'string') return stop('invalid_operation')
    if (typeof segment === 'number') return segment < parent.length ? segment : -1
    return find(parent, segment)
  }
  return typeof segment === 'string' ? segment : stop('invalid_operation')
}

function walk(state: JsonValue, path: Path): JsonValue {
  let node = state
  for (const segment of path) {
    const key = keyIn(node, segment)
    if (key === -1 || !Object.hasOwn(node as Node, key)) return stop('conflict')
    node = (node as Node)[key]!
  }
  return node
}

function listAt(state: JsonObject, path: Path): JsonValue[] {
  const found = walk(state, path)
  if (typeof found !== 'object' || found === null) return stop('conflict')
  return Array.isArray(found) ? found : stop('invalid_operation')
}
