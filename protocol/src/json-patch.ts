import { applyOperations } from './apply-operations.ts'
import { assertRoot } from './diff.ts'
import { invalid } from './fail.ts'
import { findFault, keyFault } from './json-fault.ts'
import type { JsonObject, JsonValue } from './json.ts'
import { deepestNesting, excerpt, isObject } from './json-shape.ts'
import type { Container, Position } from './json-shape.ts'
import { anchorAt, itemKeyOf, itemRefAt } from './keyed-list.ts'
import type { JsonPatchOperation, ListOptions, Operation } from './operation.ts'
import type { Path, Segment } from './path.ts'

/**
 * Translates a JSON Patch (RFC 6902), whose positions refer to `state`. Its positions become item addresses, so that the operations keep
 * their meaning on another state; applied to `state` they give what the patch gives.
 *
 * @throws {ContextdError} `invalid_operation` – malformed, or it does not fit · `conflict` – a test fails.
 */
export function fromJsonPatch(state: object, patch: readonly JsonPatchOperation[], options: ListOptions = {}): Operation[] {
  if (!Array.isArray(patch)) throw invalid('A JSON Patch must be a list of operations.')
  assertRoot(state, 'state')
  const translation = new Translation(state, itemKeyOf(options))
  for (let index = 0; index < patch.length; index += 1) translation.take(patch[index], `patch[${index}]`)
  return translation.operations
}

/** Where a pointer leads: what it lies in, its last step, and its address. The root lies in nothing. */
interface Target {
  readonly container: Container | null
  readonly position: Position
  readonly parent: Path
  readonly value: JsonValue | undefined
}

class Translation {
  readonly operations: Operation[] = []
  #state: JsonObject
  readonly #itemKey: string

  constructor(state: JsonObject, itemKey: string) {
    this.#state = state
    this.#itemKey = itemKey
  }

  take(operation: JsonPatchOperation, at: string): void {
    if (!isObject(operation)) throw invalid(`${at} must be an object.`)
    switch (operation.op) {
      case 'add':
        return this.#add(operation.path, valueOf(operation, at), at)
      case 'replace': {
        const target = this.#existing(operation.path, at)
        return this.#emit({ type: 'set', path: this.#addressOf(target), value: valueOf(operation, at) })
      }
      case 'test': {
        const target = this.#existing(operation.path, at)
        return this.#emit({ type: 'test', path: this.#addressOf(target), value: valueOf(operation, at) })
      }
      case 'remove':
        return this.#emit({ type: 'remove', path: this.#addressOf(this.#existing(operation.path, at)) })
      case 'copy':
        return this.#add(operation.path, this.#existing(operation.from, at).value!, at)
      case 'move':
        return this.#move(operation, at)
      default:
        throw invalid(`${at}.op must be add, remove, replace, move, copy or test, not ${excerpt((operation as { op?: unknown }).op)}.`)
    }
  }

  #add(pointer: unknown, value: JsonValue, at: string): void {
    const target = this.#locate(pointer, at)
    if (Array.isArray(target.container)) {
      const index = target.position as number
      return this.#emit({ type: 'insert', path: target.parent, values: [value], at: anchorAt(target.container, index, this.#itemKey) })
    }
    this.#emit({ type: 'set', path: this.#addressOf(target), value })
  }

  #move({ from, path }: { readonly from: string; readonly path: string }, at: string): void {
    const source = this.#existing(from, at)
    if (typeof path !== 'string') throw invalid(`${at}.path must be a string.`)
    if (path === from) return
    if (path.startsWith(`${from}/`)) throw invalid(`${at} moves a value into itself.`)
    const { container, position } = source
    // A way through the list itself would be another one after the removal.
    if (Array.isArray(container) && !parentPointer(path).startsWith(`${parentPointer(from)}/`)) {
      const rest = applyOperations(this.#state, [{ type: 'remove', path: this.#addressOf(source) }], { itemKey: this.#itemKey }).state
      const target = this.#locate(path, at, rest)
      if (Array.isArray(target.container)) {
        const item = itemRefAt(container, position as number, this.#itemKey)
        const list = this.#addressOf(this.#existing(parentPointer(path), at))
        const anchor = anchorAt(target.container, target.position as number, this.#itemKey)
        return this.#emit({ type: 'move', from: { path: source.parent, item }, to: { path: list, at: anchor } })
      }
    }
    this.#emit({ type: 'remove', path: this.#addressOf(source) })
    this.#add(path, source.value!, at)
  }

  #emit(operation: Operation): void {
    this.#state = applyOperations(this.#state, [operation], { itemKey: this.#itemKey }).state
    this.operations.push(operation)
  }

  #existing(pointer: unknown, at: string): Target {
    const target = this.#locate(pointer, at)
    if (target.value === undefined) throw invalid(`${at}: nothing is at ${excerpt(pointer)}.`)
    return target
  }

  #addressOf({ container, position, parent }: Target): Path {
    if (container === null) return []
    return [...parent, Array.isArray(container) ? itemRefAt(container, position as number, this.#itemKey) : position]
  }

  #locate(pointer: unknown, at: string, state: JsonObject = this.#state): Target {
    const steps = stepsOf(pointer, at)
    const parent: Segment[] = []
    let target: Target = { container: null, position: '', parent, value: state }
    for (const [depth, step] of steps.entries()) {
      const container = target.value
      if (typeof container !== 'object' || container === null) throw invalid(`${at}: ${excerpt(pointer)} leads through what holds nothing.`)
      const address = this.#addressOf(target)
      const position = Array.isArray(container) ? indexOf(step, container.length, depth === steps.length - 1, at) : step
      const found = Array.isArray(container) || Object.hasOwn(container, step)
      target = {
        container,
        position,
        parent: address,
        value: found ? (container as { [position: Position]: JsonValue })[position] : undefined,
      }
    }
    return target
  }
}

/** The pointer to what a place lies in. */
const parentPointer = (pointer: string): string => pointer.slice(0, Math.max(0, pointer.lastIndexOf('/')))

/** The steps of a JSON pointer (RFC 6901). */
function stepsOf(pointer: unknown, at: string): string[] {
  if (pointer === '') return []
  if (typeof pointer !== 'string' || !pointer.startsWith('/'))
    throw invalid(`${at}: a path must be '' or begin with /, not ${excerpt(pointer)}.`)
  if (/~(?![01])/.test(pointer)) throw invalid(`${at}: ~ must be written as ~0 in the path ${excerpt(pointer)}.`)
  const steps = pointer.slice(1).split('/')
  if (steps.length > deepestNesting) throw invalid(`${at}: the path has too many steps.`)
  return steps.map((step) => {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~')
    const fault = keyFault(key)
    if (fault) throw invalid(`${at}: the step ${excerpt(key)} ${fault.what}.`)
    return key
  })
}

/** A position of a list; one beyond its items only as the last step. */
function indexOf(step: string, length: number, isLast: boolean, at: string): number {
  const index = step === '-' && isLast ? length : /^(0|[1-9]\d{0,14})$/.test(step) ? Number(step) : -1
  if (index < 0 || index > length || (index === length && !isLast))
    throw invalid(`${at}: ${excerpt(step)} is not a position of a list of ${length}.`)
  return index
}

function valueOf(operation: { readonly value?: JsonValue }, at: string): JsonValue {
  const value = Object.hasOwn(operation, 'value') ? operation.value : undefined
  const fault = findFault(value, deepestNesting)
  if (fault) throw invalid(`${at}.value ${fault.what}.`)
  return value!
}
