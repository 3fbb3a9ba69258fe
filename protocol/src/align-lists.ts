import { equal } from './equal.ts'
import type { JsonValue } from './json.ts'
import { idOf, positionsById } from './keyed-list.ts'

/** Stretches of two lists that stand in each other's place: items `[beforeStart, beforeEnd)` became `[afterStart, afterEnd)`. */
export interface Gap {
  readonly beforeStart: number
  readonly beforeEnd: number
  readonly afterStart: number
  readonly afterEnd: number
}

/** Where the items of a keyed list came from. */
export interface KeyedAlignment {
  /** For each item of the later list, its position in the earlier one; −1: it is new. */
  readonly from: readonly number[]
  /** For each item of the later list: it was there and need not move, while those that do are moved round it. */
  readonly stays: readonly boolean[]
  /** Positions in the earlier list of items that are gone, in order. */
  readonly removed: readonly number[]
}

/** `keyed`: every item has an id of its own · `plain`: none has an id · `mixed`: anything else. An empty list is both of the first. */
export function kindOf(list: readonly JsonValue[], itemKey: string): 'empty' | 'keyed' | 'plain' | 'mixed' {
  if (list.length === 0) return 'empty'
  if (positionsById(list, itemKey) !== null) return 'keyed'
  return list.some((item) => idOf(item, itemKey) !== undefined) ? 'mixed' : 'plain'
}

/** Matches the items of two lists by id; null: one of them has no keys. */
export function alignKeyed(before: readonly JsonValue[], after: readonly JsonValue[], itemKey: string): KeyedAlignment | null {
  const positions = positionsById(before, itemKey)
  const wanted = positions && positionsById(after, itemKey)
  if (positions === null || wanted === null) return null
  const from = after.map((item) => positions.get(idOf(item, itemKey)!) ?? -1)
  const removed: number[] = []
  for (const [id, position] of positions) if (!wanted.has(id)) removed.push(position)
  return { from, stays: longestAscent(from), removed }
}

/** Marks a longest ascending part of a list of distinct numbers; those below 0 are left out (patience sorting). */
function longestAscent(numbers: readonly number[]): boolean[] {
  const ends: number[] = []
  const previous = numbers.map(() => -1)
  numbers.forEach((number, index) => {
    if (number < 0) return
    let low = 0
    let high = ends.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (numbers[ends[middle]!]! < number) low = middle + 1
      else high = middle
    }
    previous[index] = low > 0 ? ends[low - 1]! : -1
    ends[low] = index
  })
  const marks = numbers.map(() => false)
  for (let index = ends.at(-1) ?? -1; index >= 0; index = previous[index]!) marks[index] = true
  return marks
}

/** Largest table that is filled to find what two lists have in common; beyond it items are compared position by position. */
const largestTable = 65_536

/** Finds where two lists differ, items compared as a whole: the gaps between what they have in common, in order. */
export function alignPlain(before: readonly JsonValue[], after: readonly JsonValue[]): Gap[] {
  const shortest = Math.min(before.length, after.length)
  let start = 0
  while (start < shortest && equal(before[start], after[start])) start += 1
  let tail = 0
  while (tail < shortest - start && equal(before[before.length - 1 - tail], after[after.length - 1 - tail])) tail += 1
  const whole: Gap = { beforeStart: start, beforeEnd: before.length - tail, afterStart: start, afterEnd: after.length - tail }
  const rows = whole.beforeEnd - start
  const columns = whole.afterEnd - start
  if (rows === 0 && columns === 0) return []
  return rows === 0 || columns === 0 || (rows + 1) * (columns + 1) > largestTable ? [whole] : gapsWithin(before, after, whole)
}

/** A number that equal values have in common, whatever the order of their keys; most others have another. */
function fingerprint(value: JsonValue): number {
  if (typeof value === 'string') {
    const { length } = value
    if (length === 0) return 1
    const end = value.charCodeAt(length - 1) * 65_599 + value.charCodeAt(Math.max(0, length - 3)) * 8_191
    return (length * 31 + end + value.charCodeAt(length >> 1) * 257 + value.charCodeAt(0)) | 0
  }
  if (typeof value === 'number') return Math.trunc(value * 1_024) | 0
  if (typeof value !== 'object' || value === null) return value === null ? 2 : Number(value) + 3
  let sum = Array.isArray(value) ? 5 : 7
  // Of what lies deeper its number is enough.
  for (const child of Object.values(value)) sum = (sum + (typeof child === 'object' && child !== null ? 11 : fingerprint(child))) | 0
  return sum
}

/** The gaps that a longest common subsequence leaves. */
function gapsWithin(
  before: readonly JsonValue[],
  after: readonly JsonValue[],
  { beforeStart, beforeEnd, afterStart, afterEnd }: Gap,
): Gap[] {
  const rows = beforeEnd - beforeStart
  const columns = afterEnd - afterStart
  const width = columns + 1
  const prints = before.slice(beforeStart, beforeEnd).map(fingerprint)
  const wanted = after.slice(afterStart, afterEnd).map(fingerprint)
  const known = new Set(prints)
  if (!wanted.some((print) => known.has(print))) return [{ beforeStart, beforeEnd, afterStart, afterEnd }]
  const table = new Uint16Array((rows + 1) * width)
  const alike = new Uint8Array(rows * columns)
  for (let row = rows - 1; row >= 0; row -= 1) {
    for (let column = columns - 1; column >= 0; column -= 1) {
      const same = prints[row] === wanted[column] && equal(before[beforeStart + row], after[afterStart + column])
      if (same) alike[row * columns + column] = 1
      const below = table[(row + 1) * width + column]!
      const beside = table[row * width + column + 1]!
      table[row * width + column] = same ? table[(row + 1) * width + column + 1]! + 1 : Math.max(below, beside)
    }
  }
  const gaps: Gap[] = []
  let row = 0
  let column = 0
  while (row < rows || column < columns) {
    const gapRow = row
    const gapColumn = column
    while ((row < rows || column < columns) && !(row < rows && column < columns && alike[row * columns + column] === 1)) {
      if (column === columns || (row < rows && table[(row + 1) * width + column]! >= table[row * width + column + 1]!)) row += 1
      else column += 1
    }
    if (row > gapRow || column > gapColumn) {
      gaps.push({
        beforeStart: beforeStart + gapRow,
        beforeEnd: beforeStart + row,
        afterStart: afterStart + gapColumn,
        afterEnd: afterStart + column,
      })
    }
    row += 1
    column += 1
  }
  return gaps
}
