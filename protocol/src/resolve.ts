import { conflict, invalid } from './fail.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { excerpt, pathText } from './json-shape.ts'
import type { Container, Position } from './json-shape.ts'
import { findItem } from './keyed-list.ts'
import type { Path, Segment } from './path.ts'

/** A place in a state, without searches, and what lies there. */
export interface Place {
  readonly positions: Position[]
  readonly value: JsonValue
}

/**
 * Follows a path through a state.
 *
 * @throws {ContextdError} `conflict` – something on the path is gone · `invalid_operation` – a step does not fit what it leads into
 */
export function resolve(state: JsonObject, path: Path, itemKey: string, length: number = path.length): Place {
  const positions: Position[] = []
  let value: JsonValue = state
  for (let step = 0; step < length; step += 1) {
    const container = containerAt(value, path, step)
    const position = positionIn(container, path, step, itemKey)
    if (position === null) throw gone(path, step + 1)
    positions.push(position)
    value = (container as { [position: Position]: JsonValue })[position]!
  }
  return { positions, value }
}

/** The list at a path. @throws {ContextdError} as {@link resolve}, and when there is no list. */
export function resolveList(state: JsonObject, path: Path, itemKey: string): { positions: Position[]; list: JsonValue[] } {
  const { positions, value } = resolve(state, path, itemKey)
  const list = containerAt(value, path, path.length)
  if (!Array.isArray(list)) throw invalid(`${pathText(path)} is an object, not a list; set its keys instead.`)
  return { positions, list }
}

/** What the first `length` steps of a path have led to, if anything can lie in it. */
export function containerAt(value: JsonValue, path: Path, length: number): Container {
  if (typeof value === 'object' && value !== null) return value
  throw conflict(`${pathText(path.slice(0, length))} is ${excerpt(value)}, and holds nothing. Read the state again, then repeat the write.`)
}

/** Where a step leads in a container; null: nothing is there. */
export function positionIn(container: Container, path: Path, step: number, itemKey: string): Position | null {
  const segment: Segment = path[step]!
  if (typeof segment === 'string') {
    if (Array.isArray(container)) throw misfit(path, step, 'a list; name an item by position or by id')
    return Object.hasOwn(container, segment) ? segment : null
  }
  if (!Array.isArray(container)) throw misfit(path, step, 'an object; name one of its keys')
  if (typeof segment === 'number') return segment < container.length ? segment : null
  const found = findItem(container, segment, itemKey)
  return found < 0 ? null : found
}

const misfit = (path: Path, step: number, what: string): Error =>
  invalid(`${excerpt(path[step])} does not lead anywhere: ${pathText(path.slice(0, step))} is ${what}.`)

/** The error for what the first `length` steps of a path do not find. */
export const gone = (path: Path, length: number): Error =>
  conflict(`${pathText(path.slice(0, length))} is gone. Read the state again, and repeat the write if it still makes sense.`)
