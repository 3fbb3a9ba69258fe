import type { JsonObject } from '@contextd/protocol'
import type { LogEntry } from './backends/backend.ts'
import { backwards, composed } from './history.ts'
import type { Step } from './history.ts'
import type { KnownContext } from './known-context.ts'

/** Where the latest delta over several commits began. */
interface Origin {
  readonly incarnation: string
  readonly version: number
  readonly revision: string
  readonly state: JsonObject
}

/** What reads of a context's past share while it is live: the reading of its log, and the state at which the latest delta began. */
export class Past {
  /** Reads of the log under way, by the head that is known to be in it and the version after which it is read. */
  readonly #reads = new Map<string, Promise<readonly LogEntry[]>>()
  #origin: Origin | null = null
  #step: Step | null = null

  /** The log after a version, read when the head was already stored. */
  log({ head }: KnownContext, after: number, read: () => Promise<readonly LogEntry[]>): Promise<readonly LogEntry[]> {
    const name = `${after} ${head.revision}`
    const known = this.#reads.get(name)
    if (known) return known
    const reading = read().finally(() => this.#reads.delete(name))
    this.#reads.set(name, reading)
    return reading
  }

  /**
   * One delta that the entries come to, which lead to a context as it is now.
   * @param itemKey null: the changes one by one are not wanted
   */
  step(contextId: string, now: KnownContext, entries: readonly LogEntry[], itemKey: string | null): Step {
    const { version, baseRevision } = entries[0]!
    const { incarnation } = now.head
    const origin = this.#origin
    const known = origin?.revision === baseRevision && origin.version === version - 1 && origin.incarnation === incarnation
    if (known && this.#step?.delta.revision === now.head.revision) return this.#step
    const state = known ? origin.state : stateBefore(contextId, now, entries)
    this.#origin = { incarnation, version: version - 1, revision: baseRevision, state }
    this.#step = composed(contextId, version - 1, state, now, itemKey)
    return this.#step
  }
}

function stateBefore(contextId: string, now: KnownContext, entries: readonly LogEntry[]): JsonObject {
  let state = now.state!
  for (const { before } of backwards(contextId, state, entries)) state = before
  return state
}
