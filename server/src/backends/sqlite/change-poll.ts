import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite'

/** How often other processes' writes are looked for, ms. */
const pollEveryMs = 250

/** Notices that another connection has written to the file. */
export class ChangePoll {
  readonly #listeners = new Set<() => void>()
  #dataVersion: StatementSyncInstance | null = null
  #timer: NodeJS.Timeout | null = null
  #seen: unknown

  /** Looks from now on, while anybody listens. */
  begin(database: DatabaseSyncInstance): void {
    this.#dataVersion = database.prepare('PRAGMA data_version')
    this.#start()
  }

  /** Calls when another connection may have written. Returns the end of it. */
  onChange(changed: () => void): () => void {
    // Of its own, so that one function may listen twice.
    const listener = (): void => changed()
    this.#listeners.add(listener)
    this.#start()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stop()
    }
  }

  /** Ends it for good. */
  close(): void {
    this.#stop()
    this.#dataVersion = null
  }

  #start(): void {
    if (this.#timer !== null || this.#dataVersion === null || this.#listeners.size === 0) return
    this.#seen = this.#read()
    this.#timer = setInterval(() => this.#look(), pollEveryMs).unref()
  }

  #stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #look(): void {
    const version = this.#read()
    if (version === this.#seen && version !== null) return
    this.#seen = version
    for (const listener of this.#listeners) listener()
  }

  /** Changes when another connection has written; null: it cannot be read, and whoever is told finds out why by reading. */
  #read(): unknown {
    try {
      const found = this.#dataVersion?.get() as { data_version: number } | undefined
      return found?.data_version ?? null
    } catch {
      return null
    }
  }
}
