import { ContextdError, anchorAt, applyOperations, diffToOperations, itemRefAt } from '@contextd/protocol'
import type { Anchor, ItemAddress, ItemRef, JsonObject, JsonValue, Operation, Path, Segment } from '@contextd/protocol'
import { produce } from './recipe.ts'
import type { ListPosition } from './ref-types.ts'

/**
 * What a call does, as operations computed on the state that is shown (an absent context: on what it is created from). Positions in lists
 * become addresses of the items that are there now. @throws {ContextdError} `conflict` – what is to be changed is not there
 */
export type Edit = (state: JsonObject, itemKey: string) => readonly Operation[]

/** What lies at a path; undefined: nothing. */
export function valueAt(state: JsonValue | undefined, path: Path, itemKey: string): JsonValue | undefined {
  let value = state
  for (const segment of path) {
    if (typeof value !== 'object' || value === null) return undefined
    if (typeof segment === 'string') value = !Array.isArray(value) && Object.hasOwn(value, segment) ? value[segment] : undefined
    else value = Array.isArray(value) ? value[positionOf(value, segment, itemKey)] : undefined
  }
  return value
}

function positionOf(list: readonly JsonValue[], segment: number | ItemRef, itemKey: string): number {
  if (typeof segment === 'number') return segment
  if ('index' in segment) return segment.index
  return list.findIndex((item) => typeof item === 'object' && item !== null && !Array.isArray(item) && item[itemKey] === segment.id)
}

/** The path with positions in lists turned into addresses; one that is beyond its list stays, and will be a conflict. */
export function addressed(state: JsonObject, path: Path, itemKey: string): Segment[] {
  let value: JsonValue | undefined = state
  return path.map((segment) => {
    const list = value
    value = valueAt(value, [segment], itemKey)
    return typeof segment === 'number' && Array.isArray(list) && segment < list.length ? itemRefAt(list, segment, itemKey) : segment
  })
}

const listAt = (state: JsonObject, path: Path, itemKey: string): readonly JsonValue[] => {
  const value = valueAt(state, path, itemKey)
  return Array.isArray(value) ? value : []
}

/** The item that is meant. A position beyond the list is one of a state that is not shown. */
function itemOf(list: readonly JsonValue[], item: number | ItemAddress, itemKey: string): ItemRef {
  if (typeof item !== 'number') return item
  if (item < list.length) return itemRefAt(list, item, itemKey)
  throw new ContextdError('conflict', `The list has no item ${item}; it has ${list.length}. Read the state again, then repeat the write.`)
}

function anchorOf(list: readonly JsonValue[], at: ListPosition, itemKey: string): Anchor {
  if (typeof at === 'number') return anchorAt(list, at, itemKey)
  if (typeof at === 'string') return at
  return 'after' in at ? { after: itemOf(list, at.after, itemKey) } : { before: itemOf(list, at.before, itemKey) }
}

/** Puts a value at a path. */
export const setAt =
  (path: Path, value: JsonValue): Edit =>
  (state, itemKey) => [{ type: 'set', path: addressed(state, path, itemKey), value }]

/** Removes what is at a path. */
export const removeAt =
  (path: Path): Edit =>
  (state, itemKey) => [{ type: 'remove', path: addressed(state, path, itemKey) }]

export const incrementAt =
  (path: Path, by: number): Edit =>
  (state, itemKey) => [{ type: 'increment', path: addressed(state, path, itemKey), by }]

export const insertAt =
  (path: Path, at: ListPosition, values: readonly JsonValue[]): Edit =>
  (state, itemKey) => {
    if (values.length === 0) return []
    return [{ type: 'insert', path: addressed(state, path, itemKey), values, at: anchorOf(listAt(state, path, itemKey), at, itemKey) }]
  }

export const removeItemAt =
  (path: Path, item: number | ItemAddress): Edit =>
  (state, itemKey) => [{ type: 'remove', path: [...addressed(state, path, itemKey), itemOf(listAt(state, path, itemKey), item, itemKey)] }]

/** Moves an item; a position is the one that it has afterwards. */
export const moveAt =
  (path: Path, item: number | ItemAddress, to: ListPosition, target: Path): Edit =>
  (state, itemKey) => {
    const from = listAt(state, path, itemKey)
    const ref = itemOf(from, item, itemKey)
    const into = listAt(state, target, itemKey)
    const index = into === from ? positionOf(from, ref, itemKey) : -1
    const rest = index < 0 ? into : into.toSpliced(index, 1)
    return [
      {
        type: 'move',
        from: { path: addressed(state, path, itemKey), item: ref },
        to: {
          path: addressed(state, target, itemKey),
          at: typeof to === 'number' ? anchorAt(rest, to, itemKey) : withoutItem(anchorOf(into, to, itemKey), index),
        },
      },
    ]
  }

/** An anchor as it is once the item at a position was taken out; −1: it lies in another list. */
function withoutItem(at: Anchor, index: number): Anchor {
  if (typeof at === 'string' || index < 0) return at
  const shifted = (ref: ItemRef): ItemRef => ('index' in ref && ref.index > index ? { ...ref, index: ref.index - 1 } : ref)
  return 'after' in at ? { after: shifted(at.after) } : { before: shifted(at.before) }
}

/** Merges a patch (RFC 7396), as leaf operations: only what it changes, lists by item. */
export const mergeAt =
  (path: Path, patch: JsonValue): Edit =>
  (state, itemKey) => {
    const base = objectAt(state, path, itemKey)
    const { state: next } = applyOperations(base, [{ type: 'merge', path: [], value: patch }], { itemKey })
    return differences(state, path, base, next, itemKey)
  }

/** Runs a recipe on a draft, and takes what it changed as leaf operations. */
export const recipeAt =
  (path: Path, recipe: (draft: never) => unknown): Edit =>
  (state, itemKey) => {
    const base = objectAt(state, path, itemKey)
    return differences(state, path, base, produce(base, recipe), itemKey)
  }

function objectAt(state: JsonObject, path: Path, itemKey: string): JsonObject {
  const value = valueAt(state, path, itemKey)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new ContextdError(
    'conflict',
    'There is no object at the place that is to be updated. Read the state again, then repeat the write, or set it.',
  )
}

function differences(state: JsonObject, path: Path, before: JsonObject, after: JsonObject, itemKey: string): readonly Operation[] {
  if (before === after) return []
  const operations = diffToOperations(before, after, { itemKey })
  if (path.length === 0) return operations
  const place = addressed(state, path, itemKey)
  const keepsPlace = operations.length === 1 || !(place.some(isByValue) || operations.some((operation) => changesKey(operation, itemKey)))
  if (keepsPlace) return operations.map((operation) => below(place, operation))
  // An operation changes what the next one finds the item by: its value, or its id.
  const positions = positionsOf(state, path, itemKey)
  let now = state
  return operations.map((operation) => {
    const placed = below(addressed(now, positions, itemKey), operation)
    now = applyOperations(now, [placed], { itemKey }).state
    return placed
  })
}

const isByValue = (segment: Segment): boolean => typeof segment === 'object' && 'index' in segment
const changesKey = (operation: Operation, itemKey: string): boolean =>
  operation.type !== 'move' && operation.path.length === 1 && operation.path[0] === itemKey

/** The path with the positions at which its items are. */
function positionsOf(state: JsonObject, path: Path, itemKey: string): Segment[] {
  let value: JsonValue | undefined = state
  return path.map((segment) => {
    const list = value
    value = valueAt(value, [segment], itemKey)
    return typeof segment !== 'string' && Array.isArray(list) ? positionOf(list, segment, itemKey) : segment
  })
}

function below(place: Path, operation: Operation): Operation {
  if (operation.type !== 'move') return { ...operation, path: [...place, ...operation.path] }
  const { from, to } = operation
  return { type: 'move', from: { ...from, path: [...place, ...from.path] }, to: { ...to, path: [...place, ...to.path] } }
}
