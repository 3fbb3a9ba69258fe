import { defaultLimits, equal } from '@contextd/protocol'
import type { JsonValue, Operation } from '@contextd/protocol'

/**
 * The operations of two commits as those of one: where the second sets again what the first has set last, its value takes the place.
 * @returns null: they would be too many for one commit
 */
export function absorb(first: readonly Operation[], second: readonly Operation[]): readonly Operation[] | null {
  const both = [...first]
  for (const operation of second) {
    const last = operation.type === 'set' ? both.findLastIndex((earlier) => !isOtherPlace(earlier, operation)) : -1
    const earlier = both[last]
    if (earlier?.type === 'set' && operation.type === 'set' && samePath(earlier, operation)) both[last] = operation
    else both.push(operation)
  }
  return both.length <= defaultLimits.operations ? both : null
}

type SetOperation = Extract<Operation, { type: 'set' }>
const samePath = (a: SetOperation, b: SetOperation): boolean => equal(a.path as unknown as JsonValue, b.path as unknown as JsonValue)

/** Whether two operations touch places of which neither lies in the other, so that their order does not matter. */
function isOtherPlace(a: Operation, b: SetOperation): boolean {
  if (a.type !== 'set') return false
  const length = Math.min(a.path.length, b.path.length)
  return !equal(a.path.slice(0, length) as unknown as JsonValue, b.path.slice(0, length) as unknown as JsonValue)
}
