import { setTimeout as delay } from 'node:timers/promises'
import { ContextdError, isContextdError, randomToken } from '@contextd/protocol'
import type { Head, Limits, Snapshot } from '@contextd/protocol'
import { sameHead } from '../backends/backend.ts'
import type { ContextBackend, ContextDump, RestoreBatch, RestoreResult } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import { headFrame } from '../commits/commit-attempt.ts'
import { snapshotOf } from '../reads/history.ts'
import { frozen } from '../json-copy.ts'
import { fromStored } from '../commits/known-context.ts'
import type { Logger } from '../logger.ts'
import { OneAtATime } from '../one-at-a-time.ts'
import { inTime } from '../patience.ts'
import type { ArchivedContext, ExportedContext, OpenArchive } from './archive.ts'
import { checkArchived } from './archived-context.ts'
import { encodeStreams } from './streams.ts'

/** What an archivist works with. */
export interface ArchivistOptions {
  readonly archive: OpenArchive
  readonly backend: ContextBackend
  readonly clock: Clock
  readonly logger: Logger
  readonly limits: Limits
  readonly sessionTtlMs: number
  /** Longest that an archive may take, ms. */
  readonly patienceMs: number
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
  /** Told of each context that was put in place, with the frame that says so. */
  readonly restored: (contextId: string, message: string) => void
}

const tokenLength = 12
/** How often a store is asked whose answer was lost, and the pause before the second time: doubled each time, ms. */
const mostTries = 5
const firstPauseMs = 20

/** Takes contexts to the archive, and brings them back (P13). */
export class Archivist {
  readonly #options: ArchivistOptions
  /** By context: what was read first must not come last, in place of something newer. */
  readonly #exports = new OneAtATime()

  constructor(options: ArchivistOptions) {
    this.#options = options
  }

  /**
   * Hands the context to the archive as it is stored; it stays.
   * @throws {ContextdError} `not_found` · `backend_unavailable`, `timeout` – also of the archive · `internal` – what is stored does not fit together
   */
  export(contextId: string): Promise<Snapshot> {
    return this.#exports.run(contextId, () => this.#export(contextId))
  }

  async #export(contextId: string): Promise<Snapshot> {
    const { archive, backend, open } = this.#options
    await open()
    const dump = await backend.dump(contextId)
    if (dump === null) throw new ContextdError('not_found', `There is no context ${contextId}.`, { contextId })
    const exported = exportedOf(contextId, dump)
    const { streams: _, ...snapshot } = exported
    await this.#asked(contextId, () => archive.export(exported))
    return snapshot
  }

  /**
   * Puts what the archive has in place of what is there.
   * @param base the head that must be there; null: any
   * @returns null – the archive has nothing; `'overtaken'` – the head is another
   * @throws {ContextdError} `invalid_state`, `too_large` – the archive is damaged · `backend_unavailable`, `timeout` – also of the archive
   */
  async restore(contextId: string, base: Head | null): Promise<Snapshot | null | 'overtaken'> {
    const { archive, open } = this.#options
    await open()
    const archived = await this.#asked(contextId, () => archive.restore(contextId))
    if (archived === null || archived === undefined) return null
    const batch = this.#batch(contextId, base, archived)
    const result = await this.#put(batch)
    // Else it was put in place by an attempt of which nothing was heard.
    if (result.type === 'conflict' && !sameHead(result.head, batch.head)) return 'overtaken'
    this.#options.restored(contextId, batch.message!)
    const { head, snapshot, createdAt, updatedAt, updatedBy } = batch
    return frozen({ contextId, ...head, state: JSON.parse(snapshot) as Snapshot['state'], createdAt, updatedAt, updatedBy })
  }

  /** A restore on a head that was named is done once however often it is asked for: so it is, until it is known what came of it. */
  async #put(batch: RestoreBatch): Promise<RestoreResult> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#options.backend.restore(batch)
      } catch (error) {
        if (batch.base === null || tries === mostTries || !isContextdError(error, 'timeout')) throw error
      }
      await delay(firstPauseMs * 2 ** (tries - 1))
    }
  }

  close(): Promise<void> {
    return this.#options.archive.close()
  }

  #batch(contextId: string, base: Head | null, archived: ArchivedContext): RestoreBatch {
    const { clock, limits, sessionTtlMs } = this.#options
    const now = clock.now()
    const { version, incarnation, ...rest } = checkArchived(contextId, archived, limits, now)
    // The revision is new: those who have seen the archived version may have seen others after it.
    const head = { incarnation: incarnation ?? randomToken(tokenLength), version, revision: randomToken(tokenLength) }
    const { snapshot, streams, schema, createdAt, updatedAt, updatedBy } = rest
    const message = headFrame(contextId, head)
    return { contextId, base, head, now, sessionTtlMs, createdAt, updatedAt, updatedBy, schema, snapshot, streams, message }
  }

  /** Asks the archive, which may do anything. @throws {ContextdError} */
  async #asked<T>(contextId: string, ask: () => T | Promise<T>): Promise<T> {
    const { patienceMs, logger } = this.#options
    try {
      // A function that is not asynchronous may throw too.
      return await inTime(Promise.resolve().then(ask), patienceMs, () => late(contextId, patienceMs))
    } catch (error) {
      if (isContextdError(error)) throw error
      logger.error({ contextId, error }, 'the archive failed')
      throw new ContextdError('backend_unavailable', `The archive failed for ${contextId}. Its error is the cause.`, {
        contextId,
        cause: error,
      })
    }
  }
}

const late = (contextId: string, ms: number): ContextdError =>
  new ContextdError('timeout', `The archive did not answer for ${contextId} within ${ms} ms.`, { contextId })

/** What an archive is given of a context. @throws {ContextdError} `internal` – what is stored does not fit together */
export function exportedOf(contextId: string, { stored, streams }: ContextDump): ExportedContext {
  try {
    const known = fromStored(stored)
    return { ...snapshotOf(contextId, known), streams: frozen(encodeStreams({ schema: known.schema, records: streams })) }
  } catch (error) {
    throw new ContextdError('internal', `What is stored of ${contextId} does not fit together.`, { contextId, cause: error })
  }
}
