import type { JsonValue } from './json.ts'

/** Address of an item of a keyed list, by the value of its key (key name: `itemKey`, default `id`). */
export interface ItemAddress {
  readonly id: string
}
/** An item of a list: by key, or, in a list without keys, by its index and the value that was seen there. */
export type ItemRef = ItemAddress | { readonly index: number; readonly value: JsonValue }
/** One step of a path: key of an object, position in a list (as the list is when applied), or a reference to a list item. */
export type Segment = string | number | ItemRef
/** A place in a state, from its root; at most 64 deep (`limits.depth`). */
export type Path = readonly Segment[]
/** Where an insert or a move goes; an anchor that is gone counts as `'end'`. */
export type Anchor = 'start' | 'end' | { readonly after: ItemRef } | { readonly before: ItemRef }
