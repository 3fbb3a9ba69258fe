import { invalid } from './fail.ts'
import type { JsonValue } from './json.ts'
import { excerpt, pathText } from './json-shape.ts'
import type { Position } from './json-shape.ts'
import { findById, idOf } from './keyed-list.ts'
import type { Path } from './path.ts'

/** The error for an id that would be twice in the list at a path. */
export const twice = (path: Path, id: string): Error =>
  invalid(`${pathText(path)} has an item with the id ${excerpt(id)} already; ids are used once in a list.`)

/** From so many new items on, the ids of a list are collected, so that it is not looked through for each of them. */
const many = 3

/** For items that are to come into a list. @throws {ContextdError} `invalid_operation` – an id is there already, or twice among them. */
export function assertNewIds(list: readonly JsonValue[], values: readonly JsonValue[], path: Path, itemKey: string): void {
  const collected = values.length >= many
  const taken = new Set<string | undefined>(collected ? list.map((item) => idOf(item, itemKey)) : [])
  for (const value of values) {
    const id = idOf(value, itemKey)
    if (id === undefined) continue
    if (taken.has(id) || (!collected && findById(list, id, itemKey) >= 0)) throw twice(path, id)
    taken.add(id)
  }
}

/** Puts values into a list in place. */
export function insertAll(list: JsonValue[], index: number, values: readonly JsonValue[]): void {
  const tail = list.splice(index)
  for (const value of values) list.push(value)
  for (const item of tail) list.push(item)
}

/** A place after an item of a list has been removed. @throws {ContextdError} `invalid_operation` – it lay in that item. */
export function afterRemoval(target: readonly Position[], list: readonly Position[], index: number): Position[] {
  const position = target[list.length]
  if (typeof position !== 'number' || !list.every((step, depth) => target[depth] === step)) return [...target]
  if (position === index) throw invalid('An item cannot be moved into itself.')
  return position > index ? target.with(list.length, position - 1) : [...target]
}
