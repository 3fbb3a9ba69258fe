import { assertJson, defaultLimits } from '@contextd/protocol'
import type { JsonValue } from '@contextd/protocol'

/** How a value of the application is taken over. */
export interface TakeOptions {
  /** What the value is called in messages. Default `value`. */
  readonly name?: string
  /** Keys that hold undefined are left out, rather than refused. */
  readonly dropUndefined?: boolean
  /** How many containers lie around it. */
  readonly above?: number
  /** Gives what stands for a part; undefined: the part itself. */
  readonly standIn?: (part: object) => JsonValue | undefined
}

/** Takes a copy of a value that the application holds, so that it may go on changing its own. @throws {TypeError} it is not JSON */
export function takeValue(value: unknown, { name = 'value', dropUndefined = false, above = 0, standIn }: TakeOptions = {}): JsonValue {
  const depth = defaultLimits.depth - above
  const copy = (from: unknown, left: number): unknown => {
    if (typeof from !== 'object' || from === null || left < 0) return from
    const other = standIn?.(from)
    if (other !== undefined) return other
    if (Array.isArray(from)) return Array.from(from, (item) => copy(item, left - 1))
    const prototype: unknown = Object.getPrototypeOf(from)
    // What is no plain object stays what it is, so that the check names it.
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return from
    const to: { [key: string]: unknown } = {}
    for (const [key, item] of Object.entries(from)) {
      if (item === undefined && dropUndefined) continue
      if (key === '__proto__') return from
      to[key] = copy(item, left - 1)
    }
    return to
  }
  const taken = copy(value, depth)
  assertJson(taken, [name], depth)
  return taken as JsonValue
}
