import { equal } from './equal.ts'
import type { JsonValue } from './json.ts'
import { isObject } from './json-shape.ts'
import type { Anchor, ItemRef } from './path.ts'

/** Key that identifies the items of a list, where nothing else is said. */
export const defaultItemKey = 'id'

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

/** Position of the item with this id, or −1. */
export function findById(list: readonly JsonValue[], id: string, itemKey: string): number {
  for (let index = 0; index < list.length; index += 1) {
    const item = list[index]
    if (typeof item === 'object' && item !== null && (item as { [key: string]: JsonValue })[itemKey] === id && idOf(item, itemKey) === id) return index
  }
  return -1
}

/** Position of the item that equals `value`: at `index`, else the nearest one, the lower of two; −1: there is none. */
export function findNearest(list: readonly JsonValue[], index: number, value: JsonValue): number {
  const last = list.length - 1
  for (let distance = 0; distance <= Math.max(index, last - index); distance += 1) {
    const below = index - distance
    if (below >= 0 && below <= last && equal(list[below], value)) return below
    const above = index + distance
    if (distance > 0 && above <= last && equal(list[above], value)) return above
  }
  return -1
}

/** Position of the item that is meant, or −1. */
export function findItem(list: readonly JsonValue[], ref: ItemRef, itemKey: string): number {
  return 'id' in ref ? findById(list, ref.id, itemKey) : findNearest(list, ref.index, ref.value)
}

/** The reference to the item at a position: by id where the list has keys, else by position and value. */
export function itemRefAt(list: readonly JsonValue[], index: number, itemKey: string = defaultItemKey): ItemRef {
  const id = idOf(list[index], itemKey)
  if (id !== undefined && positionsById(list, itemKey) !== null) return { id }
  return { index, value: list[index]! }
}

/** The anchor of what is to be inserted at a position of a list: its ends as such, else the item before. */
export function anchorAt(list: readonly JsonValue[], index: number, itemKey: string = defaultItemKey): Anchor {
  if (index >= list.length) return 'end'
  return index <= 0 ? 'start' : { after: itemRefAt(list, index - 1, itemKey) }
}
