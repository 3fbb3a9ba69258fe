import type { JsonValue } from './json.ts'
import type { Anchor, ItemRef, Path } from './path.ts'

/** What a caller asks for. A commit is one or many of them (at most 1,000), applied whole or not at all. */
export type Operation =
  | { type: 'set'; path: Path; value: JsonValue }
  | { type: 'merge'; path: Path; value: JsonValue }
  | { type: 'remove'; path: Path }
  | { type: 'increment'; path: Path; by: number }
  | { type: 'test'; path: Path; value: JsonValue }
  | { type: 'insert'; path: Path; values: readonly JsonValue[]; at: Anchor }
  | { type: 'move'; from: { path: Path; item: ItemRef }; to: { path: Path; at: Anchor } }
/** One operation of a JSON Patch document (RFC 6902); pointers are RFC 6901 strings. */
export type JsonPatchOperation =
  | { op: 'add' | 'replace' | 'test'; path: string; value: JsonValue }
  | { op: 'remove'; path: string }
  | { op: 'move' | 'copy'; from: string; path: string }
/** Options of the functions that look into lists. */
export interface ListOptions {
  /** Key that identifies the items of a list. Default `id`. */
  itemKey?: string
}
