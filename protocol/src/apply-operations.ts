import { trustedOperations } from './check.ts'
import type { Change } from './delta.ts'
import { diffAt } from './diff.ts'
import { Draft } from './draft.ts'
import { equal } from './equal.ts'
import { ContextdError, isContextdError } from './errors.ts'
import { conflict, invalid } from './fail.ts'
import { nestingOf } from './json-fault.ts'
import { jsonLength } from './json-length.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting, excerpt, isObject, pathText } from './json-shape.ts'
import type { Position } from './json-shape.ts'
import { findAnchor, findById, findItem, idOf, isAddress, itemKeyOf } from './keyed-list.ts'
import { afterRemoval, assertNewIds, insertAll, twice } from './list-edits.ts'
import type { ListOptions, Operation } from './operation.ts'
import type { Anchor, ItemRef, Path } from './path.ts'
import { containerAt, gone, positionIn, resolve, resolveList } from './resolve.ts'
import { shareIdentity } from './share-identity.ts'

/** Longest operation that an error carries along, as JSON. */
const longestDetail = 4_096

/**
 * Applies operations, all or none. What did not change keeps its identity, and the same reference comes back, without changes, when nothing
 * did. The changes carry old values; the values of the operations are taken over as they are, not copied.
 *
 * A key that is missing: `set` and `merge` add it, `increment` starts from 0, `remove` does nothing. An item or a parent that is missing
 * (or a parent that is neither object nor list) is a conflict.
 *
 * @throws {ContextdError} `conflict` – a test failed or an item or parent is gone; `details.operations` holds the operation, unless it is
 * very long · `invalid_operation` – an operation does not fit: a key of a list, an item of an object, an increment of what is no number,
 * an id that the list has already, a move into itself
 */
export function applyOperations<S extends object>(
  state: S,
  operations: readonly Operation[],
  options: ListOptions = {},
): { state: S; changes: Change[] } {
  const run = new Run(new Draft(state as JsonObject), itemKeyOf(options))
  for (const operation of trustedOperations(operations)) {
    try {
      run.apply(operation)
    } catch (error) {
      throw withOperation(error, operation)
    }
  }
  const next = (operations.length === 1 ? run.draft.state : shareIdentity(state, run.draft.state, options)) as S
  // Several operations may undo each other, and among equal values a move may change nothing.
  const isSame = next === state || (operations[0]?.type === 'move' && equal(next as JsonObject, state as JsonObject))
  return isSame ? { state, changes: [] } : { state: next, changes: run.changes }
}

/**
 * A state that one commit after another changes: what lies on the way to their changes is copied once, not once for each of them. The changes are
 * those of {@link applyOperations}, and stay as they are whatever comes after them.
 */
export class StateDraft {
  readonly #options: ListOptions
  #draft: Draft
  #spoilt = false

  constructor(state: JsonObject, options: ListOptions = {}) {
    this.#draft = new Draft(state)
    this.#options = options
  }

  /** Whether an operation failed half way: the state is none then, and another draft is needed. */
  get isSpoilt(): boolean {
    return this.#spoilt
  }

  /** Applies operations. @returns what they changed @throws {ContextdError} as {@link applyOperations}; nothing is changed then, unless this is spoilt */
  apply(operations: readonly Operation[]): Change[] {
    const [only] = operations
    if (only === undefined || operations.length > 1 || only.type === 'move') {
      const { state, changes } = applyOperations(this.#draft.state, operations, this.#options)
      this.#draft = new Draft(state)
      return changes
    }
    const run = new Run(this.#draft, itemKeyOf(this.#options))
    try {
      for (const operation of trustedOperations(operations)) run.apply(operation)
    } catch (error) {
      this.#spoilt = run.changes.length > 0
      throw withOperation(error, only)
    }
    return run.changes
  }

  /** The state as it is now; it stays so. */
  release(): JsonObject {
    const { state } = this.#draft
    this.#draft = new Draft(state)
    return state
  }
}

function withOperation(error: unknown, operation: Operation): unknown {
  if (!isContextdError(error, 'conflict') || jsonLength(operation as unknown as JsonValue, longestDetail) > longestDetail) return error
  return new ContextdError('conflict', error.message, { details: { operations: [operation] } })
}

class Run {
  readonly draft: Draft
  readonly changes: Change[] = []
  readonly #itemKey: string

  constructor(draft: Draft, itemKey: string) {
    this.draft = draft
    this.#itemKey = itemKey
  }

  apply(operation: Operation): void {
    switch (operation.type) {
      case 'set':
        return this.#set(operation.path, operation.value)
      case 'merge':
        return this.#merge(operation.path, operation.value)
      case 'remove':
        return this.#remove(operation.path)
      case 'increment':
        return this.#increment(operation.path, operation.by)
      case 'test':
        return this.#test(operation.path, operation.value)
      case 'insert':
        return this.#insert(operation)
      default:
        return this.#move(operation)
    }
  }

  #set(path: Path, value: JsonValue): void {
    const { positions, old } = this.#target(path)
    this.#put(positions, value, old)
  }

  /** RFC 7396, as leaf changes. */
  #merge(path: Path, patch: JsonValue): void {
    const { positions, old } = this.#target(path)
    this.#mergeAt(positions, patch, old)
  }

  #mergeAt(positions: Position[], patch: JsonValue, old: JsonValue | undefined): void {
    if (!isObject(patch) || !isObject(old)) return this.#put(positions, isObject(patch) ? mergedNew(patch) : patch, old)
    for (const key of Object.keys(patch)) {
      const child = Object.hasOwn(old, key) ? old[key] : undefined
      if (patch[key] !== null) this.#mergeAt([...positions, key], patch[key]!, child)
      else if (child !== undefined) this.#take([...positions, key], child)
    }
  }

  #remove(path: Path): void {
    if (path.length === 0) throw invalid('The state as a whole cannot be removed; delete the context instead.')
    const { positions, old } = this.#target(path)
    if (old !== undefined) this.#take(positions, old)
  }

  #increment(path: Path, by: number): void {
    const { positions, old } = this.#target(path)
    if (old !== undefined && typeof old !== 'number') throw invalid(`${pathText(path)} is ${excerpt(old)}, not a number; set it first.`)
    const value = (old ?? 0) + by
    if (!Number.isFinite(value)) throw invalid(`${pathText(path)} would grow beyond every number.`)
    this.#put(positions, value, old)
  }

  #test(path: Path, value: JsonValue): void {
    const found = resolve(this.draft.state, path, this.#itemKey).value
    if (!equal(found, value))
      throw conflict(`${pathText(path)} is no longer ${excerpt(value)}. Read the state again, then repeat the write.`)
  }

  #insert({ path, values, at }: Operation & { type: 'insert' }): void {
    if (values.length === 0) return
    const { positions, list } = resolveList(this.draft.state, path, this.#itemKey)
    const index = findAnchor(list, at, this.#itemKey)
    assertNewIds(list, values, path, this.#itemKey)
    const copy = this.draft.writable(positions, positions.length) as JsonValue[]
    insertAll(copy, index, values)
    for (let offset = 0; offset < values.length; offset += 1) {
      this.changes.push({ path: [...positions, index + offset], action: 'added', value: values[offset]! })
    }
  }

  #move({ from, to }: Operation & { type: 'move' }): void {
    const source = resolveList(this.draft.state, from.path, this.#itemKey)
    const index = findItem(source.list, from.item, this.#itemKey)
    if (index < 0) throw gone([...from.path, from.item], from.path.length + 1)
    const target = resolveList(this.draft.state, to.path, this.#itemKey)
    const item = source.list[index]!
    if (source.list === target.list && this.#staysAt(source.list, index, to.at)) return
    const id = idOf(item, this.#itemKey)
    if (source.list !== target.list && id !== undefined && findById(target.list, id, this.#itemKey) >= 0) throw twice(to.path, id)
    const positions = afterRemoval(target.positions, source.positions, index)
    if (positions.length > source.positions.length && positions.length + 1 + nestingOf(item) > deepestNesting) {
      throw invalid(`${pathText(to.path)} lies too deep for this item. Store flatter values.`)
    }
    this.#take([...source.positions, index], item)
    const list = this.draft.writable(positions, positions.length) as JsonValue[]
    const place = findAnchor(list, to.at, this.#itemKey)
    list.splice(place, 0, item)
    this.changes.push({ path: [...positions, place], action: 'added', value: item })
  }

  /** Tells whether an item that moves within its list comes to lie where it is; beside itself is where it is. */
  #staysAt(list: readonly JsonValue[], index: number, at: Anchor): boolean {
    if (typeof at === 'object' && this.#isItem(list, index, 'after' in at ? at.after : at.before)) return true
    return findAnchor(list.toSpliced(index, 1), at, this.#itemKey) === index
  }

  /** Tells whether an anchor is the very item that moves. One by position counts without it, so an equal item nearby is another one. */
  #isItem(list: readonly JsonValue[], index: number, ref: ItemRef): boolean {
    return isAddress(ref) ? findItem(list, ref, this.#itemKey) === index : ref.index === index && equal(ref.value, list[index])
  }

  /** Where the last step of a path leads. An item must be there, a key need not. */
  #target(path: Path): { positions: Position[]; old: JsonValue | undefined } {
    if (path.length === 0) return { positions: [], old: this.draft.state }
    const last = path.length - 1
    const { positions, value } = resolve(this.draft.state, path, this.#itemKey, last)
    const container = containerAt(value, path, last)
    const position = positionIn(container, path, last, this.#itemKey)
    const segment = path[last]!
    if (position === null && typeof segment !== 'string') throw gone(path, path.length)
    positions.push(position ?? (segment as string))
    return { positions, old: position === null ? undefined : (container as { [position: Position]: JsonValue })[position]! }
  }

  #put(positions: Position[], value: JsonValue, old: JsonValue | undefined): void {
    const found = old !== undefined && isSameKind(old, value) ? diffAt(positions, old, value, this.#itemKey) : null
    if (found === null ? old === value : found.value === old) return
    if (positions.length === 0) {
      if (!isObject(value)) throw invalid('The state as a whole can only be set to an object.')
    } else this.#checkId(positions, value, old)
    if (old === undefined) this.#record({ path: positions, action: 'added', value })
    else if (found === null) this.#record({ path: positions, action: 'modified', value, oldValue: old })
    else for (const change of found.changes) this.#record(change)
    const next = found === null ? value : found.value
    this.draft.release(old)
    if (positions.length === 0) return this.draft.replaceRoot(next as JsonObject)
    const copy = this.draft.writable(positions, positions.length - 1) as { [position: Position]: JsonValue }
    copy[positions.at(-1)!] = next
  }

  /** An item may not take the id of another item of its list. */
  #checkId(positions: readonly Position[], value: JsonValue, old: JsonValue | undefined): void {
    const last = positions.length - 1
    const isKey = positions[last] === this.#itemKey
    if (!isKey && typeof positions[last] !== 'number') return
    const id = isKey ? value : idOf(value, this.#itemKey)
    if (typeof id !== 'string' || id === (isKey ? old : idOf(old, this.#itemKey))) return
    const path = positions.slice(0, isKey ? last - 1 : last)
    if (isKey && typeof positions[last - 1] !== 'number') return
    const list = resolve(this.draft.state, path, this.#itemKey).value as JsonValue[]
    if (findById(list, id, this.#itemKey) >= 0) throw twice(path, id)
  }

  #take(positions: Position[], old: JsonValue): void {
    this.draft.release(old)
    const copy = this.draft.writable(positions, positions.length - 1)
    const position = positions.at(-1)!
    if (Array.isArray(copy)) copy.splice(position as number, 1)
    else delete copy[position]
    this.changes.push({ path: positions, action: 'removed', oldValue: old })
  }

  /** Notes a change; one more of the value just changed becomes one with it. */
  #record(change: Change): void {
    const last = this.changes.at(-1)
    if (change.action === 'modified' && last !== undefined && last.action !== 'removed' && isSamePath(last.path, change.path)) {
      this.changes.pop()
      if (!equal(last.oldValue, change.value)) this.changes.push({ ...last, value: change.value! })
    } else this.changes.push(change)
  }
}

const isSameKind = (a: JsonValue, b: JsonValue): boolean =>
  typeof a === 'object' && typeof b === 'object' && a !== null && b !== null && Array.isArray(a) === Array.isArray(b)

const isSamePath = (a: Path, b: Path): boolean => a.length === b.length && a.every((segment, step) => segment === b[step])

/** A patch on nothing: what it sets, without what it removes. */
function mergedNew(patch: JsonObject): JsonObject {
  const result: JsonObject = {}
  for (const key of Object.keys(patch)) {
    const value = patch[key]!
    if (value !== null) result[key] = isObject(value) ? mergedNew(value) : value
  }
  return result
}
