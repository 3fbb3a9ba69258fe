import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { DatabaseSyncInstance } from '@photostructure/sqlite'
import { concernsAll, isBusy, isUnwritten, unavailable, unknownOutcome } from './errors.ts'
import type { OpenFiles } from './open-files.ts'

/** A call that waits for the next transaction. */
interface Call {
  /** Does the work; returns what to do once it is stored. */
  readonly run: () => () => void
  readonly reject: (error: unknown) => void
}

/**
 * The transactions of one connection. All writing calls that arrive in one turn of the event loop are one transaction, whatever their
 * contexts: one `fsync` for all of them. Nobody is told anything before it is stored. None is open when this returns to the event loop.
 */
export class GroupCommit {
  readonly #database: DatabaseSyncInstance
  readonly #files: OpenFiles
  readonly #patienceMs: number
  #calls: Call[] = []
  #flushing: Promise<void> | null = null

  /** `patienceMs`: how long a call waits for another process that holds the file. */
  constructor(database: DatabaseSyncInstance, files: OpenFiles, patienceMs: number) {
    this.#database = database
    this.#files = files
    this.#patienceMs = patienceMs
  }

  /**
   * Runs a call in the next transaction that writes.
   * @throws {ContextdError} `backend_unavailable` – nothing was stored · `timeout` with `outcome: 'unknown'` – it may have been
   */
  write<T>(run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const attempt = (): (() => void) => {
        const result = run()
        return () => resolve(result)
      }
      this.#calls.push({ run: attempt, reject })
      this.#flushing ??= this.#flush()
    })
  }

  /** Reads as of one moment, at once; does not wait for writes. @throws {ContextdError} `backend_unavailable` */
  async read<T>(run: () => T): Promise<T> {
    const deadline = performance.now() + this.#patienceMs
    for (;;) {
      try {
        this.#files.checkForRead()
        return this.#transaction('BEGIN', run)
      } catch (error) {
        if (!isBusy(error) || performance.now() >= deadline) throw error instanceof ContextdError ? error : unavailable(error)
      }
      await delay(pause())
    }
  }

  /** Resolves when no call is waiting. */
  async drain(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing
  }

  async #flush(): Promise<void> {
    while (this.#calls.length > 0) {
      await turn()
      const calls = this.#calls
      this.#calls = []
      await this.#settle(calls, performance.now() + this.#patienceMs)
    }
    this.#flushing = null
  }

  async #settle(calls: readonly Call[], deadline: number): Promise<void> {
    for (;;) {
      try {
        for (const tell of this.#writing(() => calls.map(({ run }) => run()))) tell()
        return
      } catch (error) {
        if (!isBusy(error) || performance.now() >= deadline) return await this.#failed(calls, error, deadline)
      }
      await delay(pause())
    }
  }

  /** Nothing of `calls` is stored, or nobody knows. What fails for itself does not take others with it: what is too large for the disk, say. */
  async #failed(calls: readonly Call[], error: unknown, deadline: number): Promise<void> {
    if (calls.length > 1 && !(error instanceof ContextdError) && !concernsAll(error)) {
      for (const call of calls) await this.#settle([call], deadline)
      return
    }
    for (const call of calls) call.reject(error instanceof ContextdError ? error : unavailable(error))
  }

  /** A file that is another by now may have been that before what was written to it. */
  #writing<T>(run: () => T): T {
    this.#files.check()
    const result = this.#transaction('BEGIN IMMEDIATE', run)
    try {
      this.#files.check()
    } catch (error) {
      throw unknownOutcome(error)
    }
    return result
  }

  #transaction<T>(begin: 'BEGIN' | 'BEGIN IMMEDIATE', run: () => T): T {
    // Left over only when a rollback failed.
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
    this.#database.exec(begin)
    let result: T
    try {
      result = run()
    } catch (error) {
      this.#rollBack()
      throw error
    }
    try {
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#rollBack()
      if (begin === 'BEGIN' || isBusy(error) || isUnwritten(error)) throw error
      throw unknownOutcome(error)
    }
    return result
  }

  /** SQLite has rolled back by itself after some errors. A rollback that fails is made up for before the next transaction. */
  #rollBack(): void {
    try {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
    } catch {
      // The error that led here says more.
    }
  }
}

/** Short and random, so that processes that wait for each other do not keep step, ms. */
const pause = (): number => 1 + Math.random() * 19
