import { alignKeyed, alignPlain, kindOf } from './align-lists.ts'
import type { Gap } from './align-lists.ts'
import { markChecked } from './check.ts'
import { assertComparable, commonEnds, assertRoot } from './diff.ts'
import { equal } from './equal.ts'
import { assertJson, faultText, keyFault } from './json-fault.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting, isObject } from './json-shape.ts'
import { anchorAt, findById, idOf, isAddress, itemKeyOf, itemRefAt } from './keyed-list.ts'
import { defaultLimits } from './limits.ts'
import type { ListOptions, Operation } from './operation.ts'
import type { Anchor, Path, Segment } from './path.ts'

/** So many items are looked up one by one. */
const fewItems = 8

/** How many operations a subtree may bring, one try after the other, until all of them fit into a commit. */
const tries = [Number.POSITIVE_INFINITY, 256, 16, 1]

/**
 * Computes the leaf operations that lead from one state to another: keys that are set or removed, items of keyed lists that are inserted,
 * removed, moved, or changed inside, by id; items of lists without keys by position and value. What changed elsewhere stays as it is when
 * they are applied to another state. Subtrees are set as a whole where more than 1,000 operations or more than 64 steps would be needed,
 * and lists in which only some items have an id.
 *
 * @throws {TypeError} a value is not JSON.
 */
export function diffToOperations(before: object, after: object, options: ListOptions = {}): Operation[] {
  assertRoot(before, 'before')
  assertRoot(after, 'after')
  const itemKey = itemKeyOf(options)
  for (const most of tries) {
    const comparison = new Comparison(itemKey, most)
    comparison.compareObjects(before, after)
    if (comparison.operations.length > defaultLimits.operations) continue
    markChecked(comparison.operations)
    return comparison.operations
  }
  return [{ type: 'set', path: [], value: after }]
}

class Comparison {
  operations: Operation[] = []
  readonly #path: Segment[] = []
  readonly #itemKey: string
  readonly #most: number

  constructor(itemKey: string, most: number) {
    this.#itemKey = itemKey
    this.#most = most
  }

  compareObjects(before: JsonObject, after: JsonObject): void {
    assertComparable(before, after, this.#path)
    for (const key of Object.keys(before)) {
      if (!Object.hasOwn(after, key)) this.#at(key, () => this.#push({ type: 'remove', path: this.#here() }))
    }
    for (const key of Object.keys(after)) {
      this.#at(key, () => {
        if (Object.hasOwn(before, key)) this.#compare(before[key]!, after[key]!)
        else this.#set(after[key]!)
      })
    }
  }

  #compare(before: JsonValue, after: JsonValue): void {
    if (before === after) return
    const lists = Array.isArray(before) && Array.isArray(after)
    if (!lists && !(isObject(before) && isObject(after))) return this.#set(after)
    // A path has no more steps than a value may be deep.
    if (this.#path.length >= defaultLimits.depth - 1) {
      this.#assert(after)
      return equal(before, after) ? undefined : this.#set(after)
    }
    const outer = this.operations
    this.operations = []
    if (lists) this.#compareLists(before, after)
    else this.compareObjects(before as JsonObject, after as JsonObject)
    const inner = this.operations
    this.operations = outer
    if (inner.length > this.#most) this.#set(after)
    else for (const operation of inner) outer.push(operation)
  }

  #compareLists(before: JsonValue[], after: JsonValue[]): void {
    assertComparable(before, after, this.#path)
    const ends = commonEnds(before, after)
    for (let index = ends.start; index < ends.afterEnd; index += 1) {
      assertJson(after[index], [...this.#path, index], deepestNesting - this.#path.length - 1)
    }
    if (this.#compareAtOnePlace(before, after, ends)) return
    const kinds = new Set([kindOf(before, this.#itemKey), kindOf(after, this.#itemKey)])
    kinds.delete('empty')
    if (kinds.size > 1 || kinds.has('mixed')) {
      if (!equal(before, after)) this.#set(after)
    } else if (kinds.has('keyed')) this.#compareKeyed(before, after)
    else for (const gap of alignPlain(before, after).toReversed()) this.#compareGap(before, after, gap)
  }

  /** What is done most: a few items of a long list are edited in place, inserted, or removed. @returns false: it is something else */
  #compareAtOnePlace(before: JsonValue[], after: JsonValue[], { start, beforeEnd, afterEnd }: ReturnType<typeof commonEnds>): boolean {
    const gone = before.slice(start, beforeEnd)
    const come = after.slice(start, afterEnd)
    if (gone.length === 0 && come.length === 0) return true
    const ids = (come.length > 0 ? come : gone).map((item) => idOf(item, this.#itemKey))
    if (ids.length > fewItems || ids.includes(undefined) || new Set(ids).size < ids.length) return false
    const path = this.#here()
    if (gone.length === 0) {
      if (ids.some((id) => findById(before, id!, this.#itemKey) >= 0)) return false
      this.#push({ type: 'insert', path, values: come, at: anchorAt(before, start, this.#itemKey) })
      return true
    }
    const refs = gone.map((_, offset) => itemRefAt(before, start + offset, this.#itemKey))
    if (!refs.every((ref, offset) => isAddress(ref) && ref.id === ids[offset])) return false
    if (come.length === 0) for (const ref of refs) this.#push({ type: 'remove', path: [...path, ref] })
    else if (come.length !== gone.length) return false
    else refs.forEach((ref, offset) => this.#at(ref, () => this.#compare(gone[offset]!, come[offset]!)))
    return true
  }

  #compareKeyed(before: JsonValue[], after: JsonValue[]): void {
    const { from, stays, removed } = alignKeyed(before, after, this.#itemKey)!
    const idAt = (list: JsonValue[], index: number): { id: string } => ({ id: idOf(list[index], this.#itemKey)! })
    const path = this.#here()
    for (const position of removed) this.#push({ type: 'remove', path: [...path, idAt(before, position)] })
    // From the start on: all that stands before an item is in place when its turn comes.
    for (let index = 0; index < after.length; index += 1) {
      if (stays[index]) continue
      let end = index + 1
      if (from[index]! < 0) while (end < after.length && from[end]! < 0) end += 1
      const at: Anchor = end === after.length ? 'end' : index === 0 ? 'start' : { after: idAt(after, index - 1) }
      if (from[index]! < 0) this.#push({ type: 'insert', path, values: after.slice(index, end), at })
      else this.#push({ type: 'move', from: { path, item: idAt(after, index) }, to: { path, at } })
      index = end - 1
    }
    after.forEach((item, index) => {
      const old = from[index]! < 0 ? item : before[from[index]!]!
      if (old !== item) this.#at(idAt(after, index), () => this.#compare(old, item))
    })
  }

  /** From the end on, gap by gap, and within one too: positions before what is done are as they were. */
  #compareGap(before: JsonValue[], after: JsonValue[], { beforeStart, beforeEnd, afterStart, afterEnd }: Gap): void {
    const path = this.#here()
    const gone = beforeEnd - beforeStart
    const come = afterEnd - afterStart
    const refAt = (index: number): { index: number; value: JsonValue } => ({ index, value: before[index]! })
    if (come > gone) {
      const at: Anchor = beforeEnd === before.length ? 'end' : beforeEnd === 0 ? 'start' : { after: refAt(beforeEnd - 1) }
      this.#push({ type: 'insert', path, values: after.slice(afterStart + gone, afterEnd), at })
    }
    for (let offset = gone - 1; offset >= come; offset -= 1) this.#push({ type: 'remove', path: [...path, refAt(beforeStart + offset)] })
    for (let offset = Math.min(gone, come) - 1; offset >= 0; offset -= 1) {
      this.#push({ type: 'set', path: [...path, refAt(beforeStart + offset)], value: after[afterStart + offset]! })
    }
  }

  #assert(value: JsonValue): void {
    assertJson(value, this.#path, deepestNesting - this.#path.length)
  }

  #set(value: JsonValue): void {
    this.#assert(value)
    this.#push({ type: 'set', path: this.#here(), value })
  }

  #push(operation: Operation): void {
    this.operations.push(operation)
  }

  #here(): Path {
    return this.#path.slice()
  }

  #at(segment: Segment, work: () => void): void {
    const fault = typeof segment === 'string' ? keyFault(segment) : null
    if (fault) throw new TypeError(`not JSON: ${faultText(fault, [...this.#path, segment])}`)
    this.#path.push(segment)
    work()
    this.#path.pop()
  }
}
