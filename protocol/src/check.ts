import { ContextdError } from './errors.ts'
import { invalid } from './fail.ts'
import { faultText, findFault, keyFault } from './json-fault.ts'
import type { JsonObject } from './json.ts'
import { deepestNesting, excerpt, isIndex, isObject, isPlainObject, pathText } from './json-shape.ts'
import { defaultLimits } from './limits.ts'
import type { Limits } from './limits.ts'
import type { Operation } from './operation.ts'

/** A limit of 0 means none; what recurses has one all the same. */
export const bounded = (limit: number, most: number): number => (limit > 0 ? Math.min(limit, most) : most)

/** What has been looked through already, so that an operation that is applied again and again is looked through once. */
const checked = new WeakSet<object>()

/**
 * Looks through operations that somebody sent: their form, their length, that all they carry is JSON, and nowhere too deep.
 *
 * @returns the same list
 * @throws {ContextdError} `invalid_operation` – with the place that is wrong
 */
export function checkOperations(input: unknown, limits: Pick<Limits, 'depth' | 'operations'>): Operation[] {
  if (!Array.isArray(input)) throw invalid('The operations must be a list.')
  if (input.length > bounded(limits.operations, Number.POSITIVE_INFINITY)) {
    throw invalid(
      `A commit has at most ${limits.operations} operations, not ${input.length}. Send several commits, or set a whole subtree.`,
    )
  }
  const depth = bounded(limits.depth, deepestNesting)
  for (let index = 0; index < input.length; index += 1) {
    const operation: unknown = input[index]
    checkOperation(operation, `operations[${index}]`, depth)
    checked.add(operation as object)
  }
  return input as Operation[]
}

/** As {@link checkOperations}, without limits of one's own, for callers who may have checked before. */
export function trustedOperations(operations: readonly Operation[]): readonly Operation[] {
  if (!Array.isArray(operations)) throw invalid('The operations must be a list.')
  for (let index = 0; index < operations.length; index += 1) {
    if (!checked.has(operations[index] as object)) return checkOperations(operations, { depth: 0, operations: 0 })
  }
  return operations
}

/** Marks operations as looked through: for those that this package made itself, of values that it looked through. */
export function markChecked(operations: readonly Operation[]): void {
  for (const operation of operations) checked.add(operation)
}

type Fields = { readonly [key: string]: unknown }

function checkOperation(operation: unknown, at: string, depth: number): void {
  const fields = record(operation, at)
  switch (fields['type']) {
    case 'set':
    case 'merge':
    case 'test':
      return checkValue(fields['value'], `${at}.value`, depth, checkPath(fields['path'], `${at}.path`, depth))
    case 'remove':
      return void checkPath(fields['path'], `${at}.path`, depth)
    case 'increment':
      checkPath(fields['path'], `${at}.path`, depth)
      if (!Number.isFinite(fields['by'])) throw wrong(`${at}.by`, 'a finite number', fields['by'])
      return
    case 'insert':
      if (!Array.isArray(fields['values'])) throw wrong(`${at}.values`, 'a list', fields['values'])
      checkValue(fields['values'], `${at}.values`, depth + 1, checkPath(fields['path'], `${at}.path`, depth))
      return checkAnchor(fields['at'], `${at}.at`, depth)
    case 'move': {
      const from = record(fields['from'], `${at}.from`)
      checkPath(from['path'], `${at}.from.path`, depth)
      checkItem(from['item'], `${at}.from.item`, depth)
      const to = record(fields['to'], `${at}.to`)
      checkPath(to['path'], `${at}.to.path`, depth)
      return checkAnchor(to['at'], `${at}.to.at`, depth)
    }
    default:
      throw wrong(`${at}.type`, 'set, merge, remove, increment, test, insert or move', fields['type'])
  }
}

const wrong = (at: string, expected: string, found: unknown): ContextdError => invalid(`${at} must be ${expected}, not ${excerpt(found)}.`)

function record(input: unknown, at: string): Fields {
  if (!isObject(input) || !isPlainObject(input)) throw wrong(at, 'an object', input)
  return input
}

/** @returns the number of steps */
function checkPath(path: unknown, at: string, depth: number): number {
  if (!Array.isArray(path)) throw wrong(at, 'a list of keys and items', path)
  if (path.length > depth) throw invalid(`${at} has ${path.length} steps; at most ${depth} are allowed. Store flatter values.`)
  for (let step = 0; step < path.length; step += 1) checkSegment(path[step], `${at}[${step}]`, depth)
  return path.length
}

function checkSegment(segment: unknown, at: string, depth: number): void {
  if (typeof segment === 'string') {
    const fault = keyFault(segment)
    if (fault) throw invalid(`${at} ${fault.what}.`)
  } else if (typeof segment === 'number') {
    if (!isIndex(segment)) throw wrong(at, 'a position from 0', segment)
  } else checkItem(segment, at, depth)
}

function checkItem(item: unknown, at: string, depth: number): void {
  const fields = record(item, at)
  if (Object.hasOwn(fields, 'id')) {
    if (typeof fields['id'] !== 'string') throw wrong(`${at}.id`, 'a string', fields['id'])
    return checkValue(fields['id'], `${at}.id`, depth, 0)
  }
  if (!isIndex(fields['index'])) throw wrong(at, 'an item: { id }, or { index, value }', item)
  checkValue(fields['value'], `${at}.value`, depth, 0)
}

function checkAnchor(anchor: unknown, at: string, depth: number): void {
  if (anchor === 'start' || anchor === 'end') return
  if (!isObject(anchor)) throw wrong(at, "'start', 'end', { after } or { before }", anchor)
  const fields = record(anchor, at)
  if (Object.hasOwn(fields, 'after')) return checkItem(fields['after'], `${at}.after`, depth)
  checkItem(fields['before'], `${at}.before`, depth)
}

function checkValue(value: unknown, at: string, depth: number, below: number): void {
  const fault = findFault(value, Math.min(depth, deepestNesting - below))
  if (fault) throw invalid(`${at}${placeIn(fault.reversed)} ${fault.what}.`)
}

const placeIn = (reversed: readonly unknown[]): string => {
  if (reversed.length === 0) return ''
  const text = pathText(reversed.toReversed())
  return text.startsWith('[') ? text : `.${text}`
}

/**
 * Looks through a whole state that somebody sent.
 *
 * @throws {ContextdError} `invalid_state` – it is no object · `invalid_operation` – something in it is not JSON, not allowed, or too deep
 */
export function checkState(input: unknown, limits: Pick<Limits, 'depth'>): JsonObject {
  if (!isObject(input) || !isPlainObject(input)) {
    throw new ContextdError('invalid_state', `A state must be an object, not ${input === undefined ? 'undefined' : excerpt(input)}.`)
  }
  const fault = findFault(input, bounded(limits.depth, deepestNesting))
  if (fault) throw invalid(`${faultText(fault, ['state'])}.`)
  return input
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:\-@+~]*$/

/** Tells a valid context id (or lock key): 1 to 128 of `A-Z a-z 0-9 . _ : - @ + ~`, the first one a letter or a digit. */
export function isContextId(id: unknown, idBytes: number = defaultLimits.idBytes): id is string {
  return typeof id === 'string' && id.length <= bounded(idBytes, Number.POSITIVE_INFINITY) && idPattern.test(id)
}

/** Gives a context id back if it is one. @throws {ContextdError} `invalid_operation` – it is not. */
export function checkContextId(id: unknown, idBytes: number = defaultLimits.idBytes): string {
  if (isContextId(id, idBytes)) return id
  const most = idBytes > 0 ? `1 to ${idBytes}` : 'one or more'
  throw invalid(`${excerpt(id)} is not a context id: ${most} of A-Z a-z 0-9 . _ : - @ + ~, the first a letter or a digit.`)
}
