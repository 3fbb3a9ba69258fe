import type { Change } from './delta.ts'
import { ContextdError } from './errors.ts'
import { findFault, keyFault } from './json-fault.ts'
import type { JsonValue } from './json.ts'
import { deepestNesting, isIndex } from './json-shape.ts'
import type { Position } from './json-shape.ts'

const actions = ['added', 'modified', 'removed'] as const

/** Writes changes as they travel: each `[0 added | 1 modified | 2 removed, path, value]`, without old values; a removed one has no value. */
export function packChanges(changes: readonly Change[]): JsonValue[] {
  return changes.map(({ path, action, value }) => {
    const steps = path as JsonValue[]
    return action === 'removed' ? [2, steps] : [actions.indexOf(action), steps, value!]
  })
}

/** Writes changes as the log keeps them: as {@link packChanges}, and the old value last where there is one. */
export function packLoggedChanges(changes: readonly Change[]): JsonValue[] {
  return changes.map(({ path, action, value, oldValue }) => {
    const packed: JsonValue[] = [actions.indexOf(action), path as JsonValue[]]
    if (action !== 'removed') packed.push(value!)
    if (action !== 'added') packed.push(oldValue!)
    return packed
  })
}

/** Changes that were unpacked here: all in them has been looked through. */
const unpacked = new WeakSet<Change>()
/** Tells changes that need no further look. */
export const isUnpacked = (change: Change): boolean => unpacked.has(change)

/** Reads what {@link packChanges} or {@link packLoggedChanges} wrote. @throws {ContextdError} `invalid_message` – it is something else. */
export function unpackChanges(packed: readonly JsonValue[]): Change[] {
  if (!Array.isArray(packed)) throw malformed('is not a list')
  return packed.map(unpackChange)
}

const malformed = (what: string): ContextdError =>
  new ContextdError('invalid_message', `A change ${what}. Is the other side of another version?`)

function unpackChange(packed: JsonValue): Change {
  if (!Array.isArray(packed)) throw malformed('is not a list')
  const [code, steps, first, second] = packed
  const action = typeof code === 'number' ? actions[code] : undefined
  if (action === undefined) throw malformed('has an unknown action')
  const path = readPath(steps)
  const least = action === 'removed' ? 2 : 3
  const most = action === 'added' ? 3 : least + 1
  if (packed.length < least || packed.length > most) throw malformed(`has ${packed.length} entries`)
  for (let entry = 2; entry < packed.length; entry += 1) {
    const fault = findFault(packed[entry], deepestNesting - path.length)
    if (fault) throw malformed(`carries a value that ${fault.what}`)
  }
  const change: Change = action === 'removed' ? { path, action } : { path, action, value: first! }
  const old = action === 'removed' ? first : second
  if (old !== undefined) change.oldValue = old
  unpacked.add(change)
  return change
}

function readPath(steps: JsonValue | undefined): Position[] {
  if (!Array.isArray(steps) || steps.length > deepestNesting) throw malformed('has no path')
  for (const step of steps) {
    if (typeof step === 'string') {
      const fault = keyFault(step)
      if (fault) throw malformed(`has a path through what ${fault.what}`)
    } else if (!isIndex(step)) throw malformed('has a path that does not lead anywhere')
  }
  return steps as Position[]
}
