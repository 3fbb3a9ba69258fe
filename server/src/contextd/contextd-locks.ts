import { isContextId } from '@contextd/protocol'
import type { LockDemand } from '../backends/backend.ts'
import type { LockHandle } from '../locks/lock-handle.ts'

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

  /** What is held of keys, or was lost and not given back yet. */
  of(keys: readonly string[]): ReadonlyMap<string, LockHandle> {
    const held = new Map<string, LockHandle>()
    for (const key of keys) {
      const holds = this.#holds.get(key)
      if (holds !== undefined) held.set(key, holds.handle)
    }
    return held
  }

  /** Why a commit was refused that was made under these holds. One that was lost stays so, also when it was given back or followed by another. */
  refused(holds: ReadonlyMap<string, LockHandle>, key: unknown): Refused {
    const handle = typeof key === 'string' ? holds.get(key) : undefined
    if (handle === undefined) return 'others'
    if (!handle.signal.aborted && this.#holds.get(handle.key)?.handle !== handle) return 'released'
    handle.lose()
    return 'lost'
  }
}

/**
 * What a commit that writes keys demands. A hold that was lost and not given back is demanded too: what was computed under it is refused,
 * also when the lock is free again.
 */
export function demandsOf(keys: readonly string[], holds: ReadonlyMap<string, LockHandle>): LockDemand[] {
  return keys.flatMap((key) => {
    const token = holds.get(key)?.token ?? null
    // Nobody can hold what is no key of a lock.
    return token !== null || isContextId(key) ? { key, token } : []
  })
}
