import type { RejectedWrite } from './client-types.ts'
import { createCell } from './source.ts'
import type { Refusal } from './writer.ts'

/** Refused writes, kept until they are offered again or dropped. */
export class Rejected {
  readonly list = createCell<readonly RejectedWrite[]>(Object.freeze([]))

  add(contextId: string, { id, operations, error }: Refusal): void {
    const rejected: RejectedWrite = Object.freeze({ id, contextId, operations, error, at: Date.now() })
    this.list.set(Object.freeze([...this.list.get(), rejected]))
  }

  /** Takes one out; undefined: there is none with this id. */
  take(id: string): RejectedWrite | undefined {
    const all = this.list.get()
    const found = all.find((rejected) => rejected.id === id)
    if (found) this.list.set(Object.freeze(all.filter((rejected) => rejected !== found)))
    return found
  }
}
