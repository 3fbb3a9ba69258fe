import type { RejectedWrite } from './client-types.ts'
import { createCell } from './source.ts'
import type { Plan, Refusal } from './writer.ts'

/** Refused writes, kept until they are offered again or dropped. */
export class Rejected {
  readonly list = createCell<readonly RejectedWrite[]>(Object.freeze([]))
  readonly #plans = new WeakMap<RejectedWrite, Plan<unknown>>()

  add(contextId: string, { id, operations, error, again }: Refusal): void {
    const rejected: RejectedWrite = Object.freeze({ id, contextId, operations, error, at: Date.now() })
    this.#plans.set(rejected, again)
    this.list.set(Object.freeze([...this.list.get(), rejected]))
  }

  /** Takes one out, with what offers it again; undefined: there is none with this id. */
  take(id: string): { readonly contextId: string; readonly plan: Plan<unknown> } | undefined {
    const all = this.list.get()
    const found = all.find((rejected) => rejected.id === id)
    if (found === undefined) return undefined
    this.list.set(Object.freeze(all.filter((rejected) => rejected !== found)))
    return { contextId: found.contextId, plan: this.#plans.get(found)! }
  }
}
