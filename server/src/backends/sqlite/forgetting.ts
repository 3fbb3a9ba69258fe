import { setTimeout as delay } from 'node:timers/promises'
import { recordCutoff } from '../store-model.ts'
import type { GroupCommit } from './group-commit.ts'
import type { RecordPlace, Upkeep } from './upkeep.ts'

/** After each step as many times its duration is left to others. */
const restFactor = 4

/** Removes what is past its time, in steps that others' commits go between: records first, then absent contexts without any (P14). */
export class Forgetting {
  readonly #transactions: GroupCommit
  readonly #upkeep: Upkeep
  readonly #stopping = new AbortController()
  #pass: Promise<unknown> | null = null

  constructor(transactions: GroupCommit, upkeep: Upkeep) {
    this.#transactions = transactions
    this.#upkeep = upkeep
  }

  /** Begins to look through the whole file, unless that is under way. */
  begin(now: number, sessionTtlMs: number): void {
    // What stays is forgotten by the next one.
    this.#pass ??= this.run(now, sessionTtlMs)
      .catch(() => {})
      .finally(() => {
        this.#pass = null
      })
  }

  /** Looks through the whole file. Returns how many contexts were forgotten. */
  async run(now: number, sessionTtlMs: number): Promise<number> {
    const upkeep = this.#upkeep
    const cutoff = recordCutoff(now, sessionTtlMs)
    let place: RecordPlace | null = { context: 0, key: '' }
    while (place !== null) {
      const after: RecordPlace = place
      place = await this.#step(() => upkeep.expireRecords(after, cutoff))
    }
    await this.#step(() => upkeep.expireLocks(now))
    let forgotten = 0
    for (let more = true; more;) {
      const step = await this.#step(() => upkeep.forget(cutoff))
      forgotten += step.forgotten
      more = step.more
    }
    return forgotten
  }

  /** Ends after the step that is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#pass
  }

  async #step<T>(work: () => T): Promise<T> {
    const { signal } = this.#stopping
    signal.throwIfAborted()
    let took = 0
    const result = await this.#transactions.write(() => {
      const start = performance.now()
      const found = work()
      took = performance.now() - start
      return found
    })
    await delay(restFactor * took, undefined, { signal, ref: false })
    return result
  }
}
