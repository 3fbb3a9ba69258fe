import type { JsonValue } from './json.ts'
import { deepestNesting, isForbiddenKey, isPlainObject, isWellFormed, pathText } from './json-shape.ts'
import type { Position } from './json-shape.ts'

/** Why a value is not JSON that may be stored, and where in it. */
export interface Fault {
  /** Steps from the value down to what is wrong; outermost last while it is being built. */
  readonly reversed: Position[]
  readonly what: string
}

/**
 * Looks for what is not JSON, or is nested too deep: `undefined`, functions, symbols, bigints, NaN and infinities, objects with a class,
 * holes of lists, lone surrogates, keys that reach a prototype. A value that contains itself is too deep. −0 passes: it equals 0.
 *
 * @param depth how many containers may lie within each other; `[]` is one
 * @returns null when the value is fine
 */
export function findFault(value: unknown, depth: number): Fault | null {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value) ? null : fault('has a lone surrogate; encode binary data, for example as base64')
    case 'number':
      return Number.isFinite(value) ? null : fault(`is ${value}; store null or a finite number`)
    case 'boolean':
      return null
    case 'undefined':
      return fault('is undefined; leave the key out, or store null')
    case 'object':
      if (value === null) return null
      if (depth <= 0) return fault('is nested too deep (or contains itself); store flatter values')
      return Array.isArray(value) ? findInList(value, depth - 1) : findInObject(value, depth - 1)
    default:
      return fault(`is a ${typeof value}; store JSON`)
  }
}

const fault = (what: string): Fault => ({ reversed: [], what })

function within(position: Position, found: Fault): Fault {
  found.reversed.push(position)
  return found
}

function findInList(list: readonly unknown[], depth: number): Fault | null {
  for (let index = 0; index < list.length; index += 1) {
    const found = findFault(list[index], depth)
    if (found) return within(index, found)
  }
  return null
}

function findInObject(object: object, depth: number): Fault | null {
  if (!isPlainObject(object)) return fault(`is a ${object.constructor?.name || 'class instance'}, not a plain object; convert it first`)
  for (const key of Object.keys(object)) {
    const found = keyFault(key) ?? findFault(object[key], depth)
    if (found) return within(key, found)
  }
  return null
}

/** Why a key may not be used. */
export function keyFault(key: string): Fault | null {
  if (isForbiddenKey(key)) return fault('is a key that is never allowed; rename it')
  return isWellFormed(key) ? null : fault('is a key with a lone surrogate; rename it')
}

/** Says what is wrong: `value.items[2].at is a Date, not a plain object; convert it first`. */
export function faultText(found: Fault, root: readonly unknown[]): string {
  return `${pathText([...root, ...found.reversed.toReversed()])} ${found.what}`
}

/** For values that the program itself made. @throws {TypeError} the value is not JSON. */
export function assertJson(value: unknown, root: readonly unknown[], depth: number): void {
  const found = findFault(value, depth)
  if (found) throw new TypeError(`not JSON: ${faultText(found, root)}`)
}

/** How many containers lie within each other in a JSON value, itself among them; no more than `deepestNesting` are counted. */
export function nestingOf(value: JsonValue, most: number = deepestNesting): number {
  if (typeof value !== 'object' || value === null || most <= 0) return 0
  let deepest = 0
  for (const child of Array.isArray(value) ? value : Object.values(value)) deepest = Math.max(deepest, nestingOf(child, most - 1))
  return deepest + 1
}
