import { equal } from './equal.ts'
import type { JsonValue } from './json.ts'
import { isForbiddenKey, isObject } from './json-shape.ts'
import type { ListOptions } from './operation.ts'
import type { Anchor, ItemAddress, ItemRef } from './path.ts'

/** Key that identifies the items of a list, where nothing else is said. */
export const defaultItemKey = 'id'

/** The key that identifies list items, as the options say. @throws {TypeError} it is not a key. */
export function itemKeyOf({ itemKey = defaultItemKey }: ListOptions): string {
  if (typeof itemKey !== 'string' || itemKey === '' || isForbiddenKey(itemKey))
    throw new TypeError('itemKey must be the name of a key, such as id')
  return itemKey
}

/** The id of a list item: its own string at `itemKey`; undefined: it has none. */
export function idOf(item: JsonValue | undefined, itemKey: string): string | undefined {
  if (!isObject(item) || !Object.hasOwn(item, itemKey)) return undefined
  const id = item[itemKey]
  return typeof id === 'string' ? id : undefined
}

/** Positions by id; null: the list has no keys, since an item has no id or two have the same. An empty list has keys. */
export function positionsById(list: readonly JsonValue[], itemKey: string): Map<string, number> | null {
  const positions = new Map<string, number>()
  for (let index = 0; index < list.length; index += 1) {
    const id = idOf(list[index], itemKey)
    if (id === undefined || positions.has(id)) return null
    positions.set(id, index)
  }
  return positions
}

/** Position of the first item with this id, or −1. */
export function findById(list: readonly JsonValue[], id: string, itemKey: string, start: number = 0): number {
  for (let index = start; index < list.length; index += 1) {
    const item = list[index]
    if (typeof item === 'object' && item !== null && (item as { [key: string]: JsonValue })[itemKey] === id && idOf(item, itemKey) === id)
      return index
  }
  return -1
}

/** Position of the item that equals `value`: at `index`, else the nearest one, the lower of two; −1: there is none. */
export function findNearest(list: readonly JsonValue[], index: number, value: JsonValue): number {
  const last = list.length - 1
  // An index beyond the end may be as large as it likes: the search starts at the end.
  const start = Math.min(index, last)
  for (let distance = 0; distance <= Math.max(start, last - start); distance += 1) {
    const below = start - distance
    if (below >= 0 && equal(list[below], value)) return below
    const above = start + distance
    if (distance > 0 && above <= last && equal(list[above], value)) return above
  }
  return -1
}

/** Tells a reference by id from one by position and value. */
export const isAddress = (ref: ItemRef): ref is ItemAddress => Object.hasOwn(ref, 'id')

/** Position of the item that is meant, or −1. */
export function findItem(list: readonly JsonValue[], ref: ItemRef, itemKey: string): number {
  return isAddress(ref) ? findById(list, ref.id, itemKey) : findNearest(list, ref.index, ref.value)
}

/** The reference to the item at a position: by id if it has one that no other item has, else by position and value. */
export function itemRefAt(list: readonly JsonValue[], index: number, itemKey: string = defaultItemKey): ItemRef {
  const id = idOf(list[index], itemKey)
  if (id !== undefined && findById(list, id, itemKey) === index && findById(list, id, itemKey, index + 1) < 0) return { id }
  return { index, value: list[index]! }
}

/** The anchor of what is to be inserted at a position of a list: its ends as such, else the item before. */
export function anchorAt(list: readonly JsonValue[], index: number, itemKey: string = defaultItemKey): Anchor {
  if (index >= list.length) return 'end'
  return index <= 0 ? 'start' : { after: itemRefAt(list, index - 1, itemKey) }
}

/** Position at which an anchor puts things: clamped by index in lists without keys, the end when the anchor's item is gone. */
export function findAnchor(list: readonly JsonValue[], at: Anchor, itemKey: string): number {
  if (at === 'start') return 0
  if (at === 'end') return list.length
  const after = 'after' in at
  const ref = after ? at.after : at.before
  const found = findItem(list, ref, itemKey)
  if (found >= 0) return after ? found + 1 : found
  return isAddress(ref) ? list.length : Math.min(after ? ref.index + 1 : ref.index, list.length)
}
