import { realpathSync, statSync } from 'node:fs'
import { ContextdError } from '@contextd/protocol'

/** How long a look at the files counts for reads, ms. */
const lookCountsMs = 100

/**
 * The files that a connection has open, by their names. SQLite goes on with a file that was removed or replaced, and all that it writes to it
 * is lost with the process: so that is looked for before and after each write.
 */
export class OpenFiles {
  readonly #files: readonly { readonly name: string; readonly number: bigint | null }[]
  #lookedAt = Number.NEGATIVE_INFINITY

  /** Takes what lies there now for what the connection has open: right after it was opened. */
  constructor(file: string) {
    this.#files = [file, `${realpathSync(file)}-wal`].map((name) => ({ name, number: numberOf(name) }))
  }

  /** @throws {ContextdError} `backend_unavailable` – they were removed, moved or replaced */
  check(): void {
    if (this.#files.every(({ name, number }) => numberOf(name) === number)) {
      this.#lookedAt = performance.now()
      return
    }
    this.#lookedAt = Number.NEGATIVE_INFINITY
    throw new ContextdError(
      'backend_unavailable',
      "The store's file was removed or replaced while it was open. Nothing was written; put it back, or start again.",
    )
  }

  /** As {@link check}, if that is some time ago. */
  checkForRead(): void {
    if (performance.now() - this.#lookedAt >= lookCountsMs) this.check()
  }
}

/** What tells a file from another one of its name; null: there is none. */
const numberOf = (name: string): bigint | null => statSync(name, { bigint: true, throwIfNoEntry: false })?.ino ?? null
