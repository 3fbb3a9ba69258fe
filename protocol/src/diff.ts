import { alignKeyed, alignPlain } from './align-lists.ts'
import type { Gap, KeyedAlignment } from './align-lists.ts'
import { copyObject } from './copy.ts'
import type { Change } from './delta.ts'
import { areAlike, equal } from './equal.ts'
import { assertJson, faultText, keyFault } from './json-fault.ts'
import { jsonLength } from './json-length.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting, isObject, isPlainObject } from './json-shape.ts'
import type { Position } from './json-shape.ts'
import { itemKeyOf } from './keyed-list.ts'
import type { ListOptions } from './operation.ts'
import { shareIdentity } from './share-identity.ts'

/**
 * Computes the changes that lead from one state to another; equal states give `[]`. Objects are compared key by key, items of keyed lists by
 * id, other lists by what they have in common; a list is replaced as a whole where that is shorter. Parts that are the same reference are
 * not looked into.
 *
 * @throws {TypeError} a value is not JSON.
 */
export function diff(before: object, after: object, options: ListOptions = {}): Change[] {
  assertRoot(before, 'before')
  assertRoot(after, 'after')
  const comparison = new Comparison([], itemKeyOf(options), false)
  comparison.compare(before, after)
  return comparison.changes
}

/** For the two states of a comparison. @throws {TypeError} it is not a plain object. */
export function assertRoot(state: unknown, name: string): asserts state is JsonObject {
  if (!isObject(state) || !isPlainObject(state)) throw new TypeError(`${name} must be a state: a plain object`)
}

/**
 * As {@link diff}, for two values at a place of a state that were looked through before: all in them is JSON. `value` is the later one, with all
 * that did not change as in the earlier one, itself when nothing did (see `shareIdentity`).
 */
export function diffAt(
  positions: readonly Position[],
  before: JsonValue,
  after: JsonValue,
  itemKey: string,
): { changes: Change[]; value: JsonValue } {
  const comparison = new Comparison(positions, itemKey, true)
  const value = comparison.compare(before, after)
  return { changes: comparison.changes, value }
}

class Comparison {
  changes: Change[] = []
  readonly #path: Position[]
  readonly #itemKey: string
  /** True: all that is compared is known to be JSON. */
  readonly #trusted: boolean

  constructor(positions: readonly Position[], itemKey: string, trusted: boolean) {
    this.#path = [...positions]
    this.#itemKey = itemKey
    this.#trusted = trusted
  }

  /** @returns what comes after, with all that did not change as it was before */
  compare(before: JsonValue, after: JsonValue): JsonValue {
    if (before === after) return before
    if (isObject(before) && isObject(after)) return this.#compareObjects(before, after)
    if (Array.isArray(before) && Array.isArray(after)) return this.#compareLists(before, after)
    this.#note('modified', after, before)
    return after
  }

  #compareObjects(before: JsonObject, after: JsonObject): JsonObject {
    if (!this.#trusted) assertComparable(before, after, this.#path)
    const path = this.#path
    const old = Object.keys(before)
    const keys = Object.keys(after)
    const alike = areAlike(old, keys)
    for (const key of alike ? [] : old) {
      if (!Object.hasOwn(after, key)) this.#at(key, () => this.#note('removed', undefined, before[key]))
    }
    let same = keys.length === old.length
    let copy: JsonObject | null = null
    for (const key of keys) {
      const value = after[key]!
      const has = alike || Object.hasOwn(before, key)
      const was = has ? before[key] : undefined
      if (has && was === value) continue
      path.push(key)
      const shared = has ? this.compare(was!, value) : this.#note('added', value, undefined)
      path.pop()
      if (shared !== was) same = false
      if (shared === value || !this.#trusted) continue
      copy ??= copyObject(after)
      copy[key] = shared!
    }
    return same ? before : (copy ?? after)
  }

  #compareLists(before: JsonValue[], after: JsonValue[]): JsonValue[] {
    if (!this.#trusted) assertComparable(before, after, this.#path)
    else if (equal(before, after)) return before
    const outer = this.changes
    this.changes = []
    const { start, beforeEnd, afterEnd } = commonEnds(before, after)
    const old = stretch(before, start, beforeEnd)
    const items = stretch(after, start, afterEnd)
    const keyed = alignKeyed(old, items, this.#itemKey)
    if (keyed) this.#compareKeyed(start, old, items, keyed)
    else {
      if (!this.#trusted) this.#assertItems(start, items)
      for (const gap of alignPlain(old, items)) this.#compareGap(start, old, items, gap)
    }
    const changes = this.changes
    this.changes = outer
    if (isShorter(changes, this.#path, before, after)) for (const change of changes) outer.push(change)
    else this.#note('modified', after, before)
    return this.#trusted ? shareIdentity(before, after, { itemKey: this.#itemKey }) : after
  }

  #assertItems(start: number, items: readonly JsonValue[]): void {
    items.forEach((item, index) => assertJson(item, [...this.#path, start + index], deepestNesting - this.#path.length - 1))
  }

  /** What goes or moves is taken out from the end on, then what comes is put in from the start on, so that no position shifts twice. */
  #compareKeyed(start: number, before: readonly JsonValue[], after: readonly JsonValue[], { from, stays, removed }: KeyedAlignment): void {
    const moved = from.filter((position, index) => position >= 0 && !stays[index])
    for (const position of [...removed, ...moved].toSorted((a, b) => b - a)) {
      this.#at(start + position, () => this.#note('removed', undefined, before[position]))
    }
    after.forEach((item, index) => {
      if (!stays[index]) this.#at(start + index, () => this.#note('added', item, undefined))
    })
    after.forEach((item, index) => {
      const old = stays[index] ? before[from[index]!]! : item
      if (old !== item) this.#at(start + index, () => this.compare(old, item))
    })
  }

  /** Items that stand in each other's place are compared, the rest goes or comes. All before the gap is as it will be. */
  #compareGap(
    start: number,
    before: readonly JsonValue[],
    after: readonly JsonValue[],
    { beforeStart, beforeEnd, afterStart, afterEnd }: Gap,
  ): void {
    const gone = beforeEnd - beforeStart
    const come = afterEnd - afterStart
    for (let offset = gone - 1; offset >= come; offset -= 1) {
      this.#at(start + afterStart + offset, () => this.#note('removed', undefined, before[beforeStart + offset]))
    }
    for (let offset = 0; offset < come; offset += 1) {
      this.#at(start + afterStart + offset, () => {
        if (offset < gone) this.compare(before[beforeStart + offset]!, after[afterStart + offset]!)
        else this.#note('added', after[afterStart + offset], undefined)
      })
    }
  }

  #at(position: Position, work: () => void): void {
    this.#path.push(position)
    work()
    this.#path.pop()
  }

  /** @returns the value */
  #note(action: Change['action'], value: JsonValue | undefined, oldValue: JsonValue | undefined): JsonValue | undefined {
    const path = this.#path.slice()
    const change: Change = { path, action }
    if (action !== 'removed') change.value = value!
    if (action !== 'added') change.oldValue = oldValue!
    if (!this.#trusted) assertChange(change)
    this.changes.push(change)
    return value
  }
}

function assertChange({ path, action, value, oldValue }: Change): void {
  const last = path.at(-1)
  const fault = typeof last === 'string' ? keyFault(last) : null
  if (fault) throw new TypeError(`not JSON: ${faultText(fault, path)}`)
  if (action !== 'removed') assertJson(value, path, deepestNesting - path.length)
  if (action !== 'added') assertJson(oldValue, path, deepestNesting - path.length)
}

/** For two containers that are about to be compared. @throws {TypeError} one is a class instance, or lies too deep. */
export function assertComparable(before: object, after: object, path: readonly unknown[]): void {
  if (path.length < deepestNesting && mayBeJson(before) && mayBeJson(after)) return
  assertJson(before, path, deepestNesting - path.length)
  assertJson(after, path, deepestNesting - path.length)
}

const mayBeJson = (side: object): boolean => Array.isArray(side) || isPlainObject(side)

/** What two lists do not have in common at their ends, where that is the very same: the rest begins at `start` in both. */
export function commonEnds(
  before: readonly JsonValue[],
  after: readonly JsonValue[],
): { start: number; beforeEnd: number; afterEnd: number } {
  let start = 0
  let beforeEnd = before.length
  let afterEnd = after.length
  while (start < beforeEnd && start < afterEnd && before[start] === after[start]) start += 1
  while (beforeEnd > start && afterEnd > start && before[beforeEnd - 1] === after[afterEnd - 1]) {
    beforeEnd -= 1
    afterEnd -= 1
  }
  return { start, beforeEnd, afterEnd }
}

/** A stretch of a list that is only read. */
const stretch = (list: readonly JsonValue[], start: number, end: number): readonly JsonValue[] =>
  start === 0 && end === list.length ? list : list.slice(start, end)

/** Tells whether the changes to a list are no longer than the list in their place: as JSON with old values, and as they travel. */
function isShorter(changes: readonly Change[], path: readonly Position[], before: JsonValue[], after: JsonValue[]): boolean {
  const { packed, full } = lengthsOf(changes)
  // The list in their place is one change itself, of which its place is the part that is known.
  const place = lengthsOf([{ path, action: 'modified', value: 0, oldValue: 0 }])
  const rest = full - (place.full - 2)
  const most = packed - (place.packed - 1)
  const length = jsonLength(after, Math.max(rest, most))
  if (length < most) return false
  return length >= rest || length + jsonLength(before, rest - length) >= rest
}

/** Lengths of changes as JSON: as they travel (see `packChanges`), and as they are, with old values. */
function lengthsOf(changes: readonly Change[]): { packed: number; full: number } {
  const between = 2 + Math.max(0, changes.length - 1)
  let packed = between
  let full = between
  for (const { path, action, value, oldValue } of changes) {
    const steps = jsonLength(path as JsonValue[])
    packed += '[0,]'.length + steps
    full += '{"path":,"action":""}'.length + steps + action.length
    if (value !== undefined) {
      const length = jsonLength(value)
      packed += ','.length + length
      full += ',"value":'.length + length
    }
    if (oldValue !== undefined) full += ',"oldValue":'.length + jsonLength(oldValue)
  }
  return { packed, full }
}
