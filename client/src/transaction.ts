import { ContextdError, applyOperations, itemRefAt } from '@contextd/protocol'
import type { JsonObject, JsonValue, Operation, Path, Segment } from '@contextd/protocol'
import { mergeAt, recipeAt, setAt, valueAt } from './edits.ts'
import type { Edit } from './edits.ts'
import type { Transaction } from './handle-types.ts'
import { checkSynchronous } from './recipe.ts'
import { createRef } from './refs.ts'
import type { RefHost } from './refs.ts'
import { takeValue } from './values.ts'
import type { View } from './writer.ts'

/** What a transaction came to on one state. */
export interface TransactionRun<R> {
  /** What was read, as tests, and what was written, in order; none: nothing was written. */
  readonly operations: readonly Operation[]
  readonly result: R
}

/**
 * Runs the function of a transaction on a state.
 * @throws {ContextdError} `conflict` – a write does not apply · `aborted` – the function threw (`cause`)
 * @throws {TypeError} the function is asynchronous
 */
export function runTransaction<R>(
  fn: (tx: Transaction<JsonObject>) => R,
  { state, version }: View,
  itemKey: string,
  scope: Pick<RefHost<void>, 'owner' | 'contextId'>,
): TransactionRun<R> {
  const run = new Run(state, itemKey, scope)
  let result: R
  try {
    result = fn(run.transaction(version))
  } catch (cause) {
    if (cause instanceof ContextdError) throw cause
    throw new ContextdError('aborted', 'The function of a transaction threw; nothing was written.', { cause })
  } finally {
    run.end()
  }
  checkSynchronous(result, 'the function of a transaction must be synchronous: await first, then start it')
  return { operations: run.written ? run.operations : [], result }
}

class Run implements RefHost<void> {
  readonly owner: object
  readonly contextId: string
  readonly operations: Operation[] = []
  written = false
  #state: JsonObject
  readonly #itemKey: string
  /** Places that were read since the last write; they need no second test. */
  readonly #read = new Set<string>()
  #ended = false

  constructor(state: JsonObject, itemKey: string, { owner, contextId }: Pick<RefHost<void>, 'owner' | 'contextId'>) {
    this.#state = state
    this.#itemKey = itemKey
    this.owner = owner
    this.contextId = contextId
  }

  transaction(version: number): Transaction<JsonObject> {
    const at = (...path: Segment[]): unknown => createRef(path, this)
    return {
      version,
      at: at as Transaction<JsonObject>['at'],
      get: () => this.read([]) as JsonObject,
      set: (state) => this.apply(setAt([], takeValue(state, { name: 'state' }))),
      update: (change: unknown) =>
        this.apply(
          typeof change === 'function'
            ? recipeAt([], change as (draft: never) => unknown)
            : mergeAt([], takeValue(change, { name: 'patch', dropUndefined: true })),
        ),
    }
  }

  end(): void {
    this.#ended = true
  }

  read(path: Path): JsonValue | undefined {
    this.#check()
    const value = valueAt(this.#state, path, this.#itemKey)
    if (value !== undefined) this.#test(path, value)
    // That nothing is there is tested by what could hold it.
    else this.#testHolder(path)
    return value
  }

  apply(edit: Edit): void {
    this.#check()
    const operations = edit(this.#state, this.#itemKey)
    if (operations.length === 0) return
    this.#state = applyOperations(this.#state, operations, { itemKey: this.#itemKey }).state
    this.operations.push(...operations)
    this.written = true
    this.#read.clear()
  }

  #test(path: Path, value: JsonValue): void {
    const place = this.#exact(path)
    const name = JSON.stringify(place)
    if (this.#read.has(name)) return
    this.#read.add(name)
    this.operations.push({ type: 'test', path: place, value })
  }

  #testHolder(path: Path): void {
    for (let length = path.length - 1; length >= 0; length -= 1) {
      const place = path.slice(0, length)
      const holder = valueAt(this.#state, place, this.#itemKey)
      if (holder !== undefined) return this.#test(place, holder)
    }
  }

  /** A path by which exactly what was read is found again: items by id where they have one, else by position. */
  #exact(path: Path): Segment[] {
    let value: JsonValue | undefined = this.#state
    return path.map((segment) => {
      const list = value
      value = valueAt(value, [segment], this.#itemKey)
      if (typeof segment !== 'number' || !Array.isArray(list) || segment >= list.length) return segment
      const ref = itemRefAt(list, segment, this.#itemKey)
      return 'id' in ref ? ref : segment
    })
  }

  #check(): void {
    if (this.#ended) throw new TypeError('the transaction is used after its function has ended; it must be synchronous')
  }
}
