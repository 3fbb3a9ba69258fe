import { ContextdError } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import { operationsOf } from './recipe.ts'

/** A function that reads and changes a draft: run on each state that its commit is tried on, and bounded in that. */
export class Transaction<R> {
  readonly #fn: (draft: JsonObject) => R
  readonly #initial: JsonObject | null | (() => JsonObject | null)
  readonly #itemKey: string
  readonly #retries: number
  #over = false
  #created: { readonly state: JsonObject | null } | null = null
  /** What it returned, by the state that it was run on. */
  readonly #results = new Map<JsonObject | null, R>()

  /** Told when it is given up: the commit is refused from then on, though the store may not say so soon. */
  givenUp: (error: ContextdError) => void = () => {}

  constructor(fn: (draft: JsonObject) => R, initial: JsonObject | null | (() => JsonObject | null), itemKey: string, retries: number) {
    this.#fn = fn
    this.#initial = initial
    this.#itemKey = itemKey
    this.#retries = retries
  }

  /** What an absent context is created from; asked for once. */
  readonly initial = (): JsonObject | null => {
    this.#created ??= { state: typeof this.#initial === 'function' ? this.#initial() : this.#initial }
    return this.#created.state
  }

  /**
   * Runs it on a state (null: absent).
   * @throws {ContextdError} `conflict` – the state was another one too often
   * @throws what the function throws
   */
  run(state: JsonObject | null): readonly Operation[] {
    if (this.#over || (!this.#results.has(state) && this.#results.size > this.#retries)) {
      const error = new ContextdError(
        'conflict',
        `Others wrote meanwhile, ${this.#results.size} times. Try again later, or allow more retries.`,
      )
      this.#over = true
      this.givenUp(error)
      throw error
    }
    const { operations, result } = operationsOf(state ?? this.initial() ?? {}, this.#fn, { itemKey: this.#itemKey })
    this.#results.set(state, result)
    return operations
  }

  /** What it returned on the state that its commit was stored on. */
  resultOn(state: JsonObject | null): R {
    return this.#results.get(state) as R
  }
}
