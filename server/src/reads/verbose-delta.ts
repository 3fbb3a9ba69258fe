import { equal, formats } from '@contextd/protocol'
import type { Change, JsonObject, JsonValue, VerboseChange, VerboseDelta } from '@contextd/protocol'
import { fieldOf } from '../json-copy.ts'

/** A step from a state to a later one. */
interface States {
  readonly before: JsonObject
  readonly after: JsonObject
}

/**
 * As `formats.verbose`, from the changes of one commit: what it did not touch is not looked at. Where one change comes on top of another, the
 * states are compared after all.
 */
export function verboseDelta(changes: readonly Change[], states: States): VerboseDelta {
  const tree: VerboseDelta = {}
  const leaves = new Set<object>()
  for (const change of changes) {
    if (!put(tree, leaves, change, states)) return formats.verbose(undefined as never, states)
  }
  return tree
}

/** Puts a change into the tree; false: it does not stand for itself. */
function put(tree: VerboseDelta, leaves: Set<object>, change: Change, { before, after }: States): boolean {
  const { path } = change
  if (path.length === 0) return false
  let node = tree
  let old: JsonValue | undefined = before
  let now: JsonValue | undefined = after
  for (let step = 0; ; step += 1) {
    const key = path[step]
    if (typeof key !== 'string') return false
    old = fieldOf(old, key)
    now = fieldOf(now, key)
    const there = Object.hasOwn(node, key) ? node[key] : undefined
    if (Array.isArray(old) && Array.isArray(now)) {
      // A list is one leaf, however much of it has changed.
      if (there !== undefined) return leaves.has(there)
      if (!differAt(old, now, path[step + 1]) && equal(old, now)) return false
      node[key] = leaf({ action: 'modified', value: now, oldValue: old }, leaves)
      return true
    }
    if (step === path.length - 1) {
      if (there !== undefined || !fits(change, old, now)) return false
      if (change.action === 'added') node[key] = added(now!, leaves)
      else if (change.action === 'removed') node[key] = leaf({ action: 'removed', oldValue: old! }, leaves)
      else node[key] = leaf({ action: 'modified', value: now!, oldValue: old! }, leaves)
      return true
    }
    if (there === undefined) {
      const inner: VerboseDelta = {}
      node[key] = inner
      node = inner
    } else if (leaves.has(there)) return false
    else node = there as VerboseDelta
  }
}

/** Whether two lists differ where a step leads: mostly they do where something was changed, and need not be compared as a whole. */
const differAt = (old: readonly JsonValue[], now: readonly JsonValue[], step: Change['path'][number] | undefined): boolean =>
  typeof step === 'number' && !equal(old[step], now[step])

const isObject = (value: JsonValue | undefined): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Whether a change says what became of its place; two objects have changes of their own within. */
function fits({ action }: Change, old: JsonValue | undefined, now: JsonValue | undefined): boolean {
  if ((old === undefined) !== (action === 'added') || (now === undefined) !== (action === 'removed')) return false
  return action !== 'modified' || (old !== now && !(isObject(old) && isObject(now)))
}

function leaf(change: VerboseChange, leaves: Set<object>): VerboseChange {
  leaves.add(change)
  return change
}

function added(value: JsonValue, leaves: Set<object>): VerboseChange | VerboseDelta {
  const keys = isObject(value) ? Object.keys(value as JsonObject) : []
  if (keys.length === 0) return leaf({ action: 'added', value }, leaves)
  const inner: VerboseDelta = {}
  for (const key of keys) inner[key] = added((value as JsonObject)[key]!, leaves)
  return inner
}
