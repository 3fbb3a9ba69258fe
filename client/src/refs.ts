import type { ItemAddress, JsonValue, Path, Segment } from '@contextd/protocol'
import { incrementAt, insertAt, mergeAt, moveAt, recipeAt, removeAt, removeItemAt, setAt } from './edits.ts'
import type { Edit } from './edits.ts'
import type { ListPosition, UpdateOptions } from './ref-types.ts'
import { takeValue } from './values.ts'

/** What places read and write through: a handle, or a transaction. */
export interface RefHost<W> {
  /** What the context is of; items move between places of one context. */
  readonly owner: object
  readonly contextId: string
  read(path: Path): JsonValue | undefined
  apply(edit: Edit, options?: UpdateOptions): W
  watch?(path: Path, listener: (value: JsonValue | undefined, previous: JsonValue | undefined) => void): () => void
}

/** A place with all that may be done at one; its type lets through what its value allows. */
interface AnyRef<W> {
  get(): JsonValue | undefined
  set(value: unknown, options?: UpdateOptions): W
  update(change: unknown, options?: UpdateOptions): W
  increment(by?: number): W
  append(...items: unknown[]): W
  prepend(...items: unknown[]): W
  insert(at: ListPosition, ...items: unknown[]): W
  remove(item?: number | ItemAddress): W
  move(item: number | ItemAddress, to: ListPosition, list?: object): W
  subscribe?(listener: (value: JsonValue | undefined, previous: JsonValue | undefined) => void): () => void
}

/** Where each place is, for moves from one to another. */
const places = new WeakMap<object, { readonly owner: object; readonly contextId: string; readonly path: Path }>()

/** Makes the place at a path. @throws {TypeError} the path is malformed */
export function createRef<W>(path: readonly unknown[], host: RefHost<W>): AnyRef<W> {
  const place = checkPath(path)
  const above = place.length
  const taken = (items: unknown[]): JsonValue[] =>
    items.map((item, index) => takeValue(item, { name: `items[${index}]`, above: above + 1 }))
  const insert = (at: ListPosition, items: unknown[]): W => host.apply(insertAt(place, checkPosition(at), taken(items)))
  const ref: AnyRef<W> = {
    get: () => host.read(place),
    set: (value, options) => host.apply(setAt(place, takeValue(value, { above })), options),
    update: (change, options) =>
      typeof change === 'function'
        ? host.apply(recipeAt(place, change as (draft: never) => unknown))
        : host.apply(mergeAt(place, takeValue(change, { name: 'patch', above, dropUndefined: true })), options),
    increment: (by = 1) => {
      if (typeof by !== 'number' || !Number.isFinite(by)) throw new TypeError(`increment takes a finite number, not ${String(by)}`)
      return host.apply(incrementAt(place, by))
    },
    append: (...items) => insert('end', items),
    prepend: (...items) => insert('start', items),
    insert: (at, ...items) => insert(at, items),
    remove: (...item: [(number | ItemAddress)?]) =>
      host.apply(item.length === 0 || item[0] === undefined ? removeAt(place) : removeItemAt(place, checkItem(item[0]))),
    move: (item, to, list) =>
      host.apply(moveAt(place, checkItem(item), checkPosition(to), list === undefined ? place : placeOf(list, host))),
  }
  if (host.watch) ref.subscribe = (listener) => host.watch!(place, listener)
  places.set(ref, { owner: host.owner, contextId: host.contextId, path: place })
  return ref
}

function placeOf(list: object, { owner, contextId }: RefHost<unknown>): Path {
  const place = places.get(list)
  if (place === undefined || place.owner !== owner || place.contextId !== contextId)
    throw new TypeError('an item moves to a list of the same context: give handle.at(…) of it')
  return place.path
}

function checkPath(path: readonly unknown[]): Path {
  for (const segment of path) if (typeof segment !== 'string' && !isFound(segment)) checkItem(segment)
  if (path.length === 0) throw new TypeError('at(…) takes at least one key')
  return path as readonly Segment[]
}

/** An item of a list without keys, as operations name it. */
const isFound = (segment: unknown): boolean => typeof segment === 'object' && segment !== null && 'index' in segment && 'value' in segment

function checkItem(item: unknown): number | ItemAddress {
  if (Number.isSafeInteger(item) && (item as number) >= 0) return item as number
  if (typeof item === 'object' && item !== null && 'id' in item && typeof item.id === 'string') return { id: item.id }
  throw new TypeError(`an item is named by its position or by { id }, not by ${describe(item)}`)
}

function checkPosition(at: unknown): ListPosition {
  if (at === 'start' || at === 'end') return at
  if (typeof at === 'object' && at !== null) {
    if ('after' in at) return { after: checkItem(at.after) }
    if ('before' in at) return { before: checkItem(at.before) }
  }
  if (Number.isSafeInteger(at) && (at as number) >= 0) return at as number
  throw new TypeError(`a position in a list is a number, 'start', 'end', { after } or { before }, not ${describe(at)}`)
}

const describe = (value: unknown): string => (typeof value === 'bigint' ? 'a bigint' : (JSON.stringify(value) ?? typeof value))
