import { equal, formats, isObject } from '@contextd/protocol'
import type { Change, JsonObject, JsonValue, VerboseChange, VerboseDelta } from '@contextd/protocol'
import { fieldOf, frozen } from '../json-copy.ts'

/** A step from a state to a later one. */
interface States {
  readonly before: JsonObject
  readonly after: JsonObject
}

/**
 * As `formats.verbose`, from the changes of one commit; what it tells is frozen. The states are asked for only where a list has changed, which is
 * told as a whole, or one change comes on top of another.
 */
export function verboseDelta(changes: readonly Change[], states: () => States): VerboseDelta {
  const tree = new Tree(states)
  // No changes: nobody has written down what they are.
  return changes.length > 0 && changes.every((change) => tree.put(change)) ? tree.delta : formats.verbose(undefined as never, states())
}

class Tree {
  readonly delta: VerboseDelta = {}
  readonly #leaves = new Set<object>()
  /** Leaves that are lists as they are in the end. */
  readonly #lists = new Set<object>()
  readonly #states: () => States

  constructor(states: () => States) {
    this.#states = states
  }

  /** Puts a change into the tree; false: it does not stand for itself. */
  put(change: Change): boolean {
    const { path } = change
    let node = this.delta
    for (let step = 0; step < path.length; step += 1) {
      const key = path[step]
      if (typeof key !== 'string') return false
      const there = Object.hasOwn(node, key) ? node[key] : undefined
      const isLast = step === path.length - 1
      if (!isLast && typeof path[step + 1] !== 'string') return this.#putList(node, key, there, path, step)
      if (isLast) return there === undefined && this.#putLeaf(node, key, change)
      if (there === undefined) {
        const inner: VerboseDelta = {}
        node[key] = inner
        node = inner
      } else if (this.#leaves.has(there)) return false
      else node = there as VerboseDelta
    }
    return false
  }

  #putLeaf(node: VerboseDelta, key: string, { action, value, oldValue }: Change): boolean {
    if (action === 'added') node[key] = this.#added(frozen(value!))
    else if (action === 'removed') node[key] = this.#leaf({ action, oldValue: frozen(oldValue!) })
    // Two objects have changes of their own within.
    else if (isObject(value) && isObject(oldValue)) return false
    else node[key] = this.#leaf({ action, value: frozen(value!), oldValue: frozen(oldValue!) })
    return true
  }

  /** A list is one leaf, however much of it has changed. */
  #putList(node: VerboseDelta, key: string, there: VerboseChange | VerboseDelta | undefined, path: Change['path'], step: number): boolean {
    if (there !== undefined) return this.#lists.has(there)
    const { before, after } = this.#states()
    let [old, now]: (JsonValue | undefined)[] = [before, after]
    for (const each of path.slice(0, step + 1)) [old, now] = [fieldOf(old, each as string), fieldOf(now, each as string)]
    if (!Array.isArray(old) || !Array.isArray(now)) return false
    // Mostly they differ where something was changed, and need not be compared as a whole.
    const place = path[step + 1] as number
    if (equal(old[place], now[place]) && equal(old, now)) return false
    const list = this.#leaf({ action: 'modified', value: now, oldValue: old })
    this.#lists.add(list)
    node[key] = list
    return true
  }

  #leaf(change: VerboseChange): VerboseChange {
    this.#leaves.add(change)
    return change
  }

  #added(value: JsonValue): VerboseChange | VerboseDelta {
    const keys = isObject(value) ? Object.keys(value) : []
    if (keys.length === 0) return this.#leaf({ action: 'added', value })
    const inner: VerboseDelta = {}
    for (const key of keys) inner[key] = this.#added((value as JsonObject)[key]!)
    return inner
  }
}
