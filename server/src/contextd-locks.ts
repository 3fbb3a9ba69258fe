import { isContextId } from '@contextd/protocol'
import type { LockDemand } from './backends/backend.ts'
import type { LockHandle } from './lock-handle.ts'

/** Why a commit of these demands was refused: another holds the lock, ours was lost, or it was given back meanwhile. */
export type Refused = 'others' | 'lost' | 'released'

/** Holds of one key: the newest, and how many before it were lost and not given back yet. */
interface Holds {
  readonly handle: LockHandle
  readonly owed: number
}

/** What one instance of `Contextd` holds of each key: it is one holder, whichever of its callers took the lock. */
export class OwnLocks {
  readonly #holds = new Map<string, Holds>()

  /** Takes note of a new hold; one that is there still was lost. */
  add(handle: LockHandle): void {
    const before = this.#holds.get(handle.key)
    before?.handle.lose()
    this.#holds.set(handle.key, { handle, owed: before === undefined ? 0 : before.owed + 1 })
  }

  /**
   * The hold that is to be given back; null: none. Each hold is given back once: what comes late for one that was lost does not free the
   * next one.
   */
  remove(key: string): LockHandle | null {
    const holds = this.#holds.get(key)
    if (holds === undefined) return null
    if (holds.owed > 0) {
      this.#holds.set(key, { ...holds, owed: holds.owed - 1 })
      return null
    }
    this.#holds.delete(key)
    return holds.handle
  }

  /**
   * What a commit that writes keys demands. A hold that was lost and not given back is demanded too: what was computed under it is
   * refused, also when the lock is free again.
   */
  demands(keys: readonly string[]): LockDemand[] {
    return keys.flatMap((key) => {
      const token = this.#holds.get(key)?.handle.token ?? null
      // Nobody can hold what is no key of a lock.
      return token !== null || isContextId(key) ? { key, token } : []
    })
  }

  /** Why a commit was refused that made these demands. */
  refused(demands: readonly LockDemand[], key: unknown): Refused {
    const demand = demands.find((each) => each.key === key)
    if (demand === undefined || demand.token === null) return 'others'
    const handle = this.#holds.get(demand.key)?.handle
    if (handle?.token !== demand.token) return 'released'
    handle.lose()
    return 'lost'
  }
}
