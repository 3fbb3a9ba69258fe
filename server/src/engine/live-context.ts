import { ContextdError, isContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import { noHead, sameHead } from '../backends/backend.ts'
import type { FirstAccess } from '../archives/first-access.ts'
import type { ContextBackend, SyncQuery } from '../backends/backend.ts'
import { Committer } from '../commits/committer.ts'
import type { CommitterOptions } from '../commits/committer.ts'
import type { ClientSync, Watcher } from './engine.ts'
import { fastForward, fromStored } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import type { Logger } from '../logger.ts'
import { Past } from '../reads/past.ts'
import { syncReply } from '../reads/sync-reply.ts'
import type { SyncAnswered } from '../reads/sync-reply.ts'

/** What a live context works with. */
export interface LiveContextOptions {
  readonly backend: ContextBackend
  readonly logger: Logger
  readonly open: () => Promise<void>
  /** Brings it back from the archive; null: there is none. */
  readonly firstAccess: FirstAccess | null
  readonly committer: Omit<CommitterOptions, 'firstAccess'>
  /** What every sync asks with. */
  readonly query: () => Pick<SyncQuery, 'now' | 'sessionTtlMs' | 'maxVersions'>
}

/** A context as this node has it in memory: its committer, who has it open, and reads that share what they find. */
export class LiveContext {
  readonly contextId: string
  readonly committer: Committer
  readonly watchers = new Set<Watcher>()
  readonly past = new Past()
  /** Calls under way that need it. */
  uses = 0
  readonly #options: LiveContextOptions
  #reading: Promise<KnownContext> | null = null
  #nextReading: Promise<KnownContext> | null = null
  #loading: Promise<unknown> | null = null

  constructor(contextId: string, options: LiveContextOptions) {
    this.contextId = contextId
    this.#options = options
    const { committer, firstAccess } = options
    const committed: CommitterOptions['committed'] = (batch, answered) => {
      this.past.committed(batch)
      committer.committed(batch, answered)
    }
    this.committer = new Committer(contextId, { ...committer, firstAccess, committed })
  }

  /** Nobody has it open, and nothing is under way. */
  get idle(): boolean {
    return this.uses === 0 && this.watchers.size === 0 && this.committer.idle
  }

  /**
   * The context as the store holds it now, or later.
   * @throws {ContextdError} `backend_unavailable` · `internal` – what is stored does not fit together
   */
  async fresh(): Promise<KnownContext> {
    const found = await this.#fresh()
    if (!this.committer.isOutdated(found)) return found
    await this.committer.migrate()
    return this.#fresh()
  }

  /** As {@link fresh}; a context that is not there is brought back from the archive. @throws {ContextdError} … the archive failed, or is damaged */
  async found(): Promise<KnownContext> {
    const { firstAccess } = this.#options
    const now = await this.fresh()
    if (!firstAccess?.isDue(now.head)) return now
    await firstAccess.restore(now.head)
    return this.fresh()
  }

  /** Brings it back before the record of who asks is looked at: the archive may have that record. */
  async #bringBack(): Promise<void> {
    const { firstAccess, backend } = this.#options
    const { known } = this.committer.queue
    if (firstAccess === null || (known !== null && !firstAccess.isDue(known.head))) return
    const [head = noHead] = await backend.heads([this.contextId])
    if (firstAccess.isDue(head)) await firstAccess.restore(head)
  }

  #fresh(): Promise<KnownContext> {
    if (this.#reading === null) return this.#startReading()
    // A read that has begun may miss what was committed since: those who come meanwhile share the next one.
    this.#nextReading ??= this.#readAfter(this.#reading)
    return this.#nextReading
  }

  /** Reads for a client. @throws {ContextdError} `backend_unavailable` · `internal` */
  async sync(client: ClientSync): Promise<SyncAnswered> {
    await this.#options.open()
    await this.#bringBack()
    const { queue } = this.committer
    // Of many who have nothing and come at once, where this node has nothing either, one brings the whole from the store.
    while (client.head === null && queue.known === null && this.#loading !== null) await this.#loading
    const answer = this.#sync(client)
    if (client.head !== null || queue.known !== null) return answer
    const loading = settled(answer)
    this.#loading = loading
    await loading
    if (this.#loading === loading) this.#loading = null
    return answer
  }

  async #sync({ contextId, head, stream }: ClientSync): Promise<SyncAnswered> {
    const { backend, query } = this.#options
    const { known } = this.committer.queue
    const result = await backend.sync({ contextId, head, stream, known: known?.head ?? null, ...query() })
    if (result.type === 'found' && result.row !== null && this.committer.isOutdated(result.row)) {
      await this.committer.migrate()
      return this.#sync({ contextId, head, stream })
    }
    // It expired since it was looked at.
    if (result.type === 'found' && this.#options.firstAccess?.isDue(result.row?.head ?? noHead)) {
      await this.#options.firstAccess.restore(result.row?.head ?? noHead)
      return this.#sync({ contextId, head, stream })
    }
    const answered = this.#guarded(() => syncReply(result, known, head))
    if (answered.known !== null) this.#adopt(answered.known, known)
    return answered
  }

  async #readAfter(reading: Promise<unknown>): Promise<KnownContext> {
    await settled(reading)
    this.#nextReading = null
    return this.#startReading()
  }

  #startReading(): Promise<KnownContext> {
    const reading = this.#read().finally(() => {
      if (this.#reading === reading) this.#reading = null
    })
    this.#reading = reading
    return reading
  }

  async #read(): Promise<KnownContext> {
    const { backend, open } = this.#options
    const { contextId } = this
    await open()
    const { queue } = this.committer
    const before = queue.known
    if (before !== null) {
      const [head = noHead] = await backend.heads([contextId])
      const known = queue.known ?? before
      // What was stored through this node while the read was under way may be newer than it.
      if (sameHead(known.head, head) || (known !== before && isLater(known.head, head))) return known
      const entries = isLater(head, known.head) ? await backend.log(contextId, known.head.version) : []
      const last = entries.at(-1)
      const now = last && this.#guarded(() => fastForward(known, { ...last, incarnation: head.incarnation }, entries))
      if (now) {
        queue.advance(now)
        return now
      }
    }
    const stored = await backend.load(contextId)
    const loaded = this.#guarded(() => fromStored(stored))
    this.#adopt(loaded, before)
    return loaded
  }

  /** Takes over what was read, when `before` was known. */
  #adopt(now: KnownContext, before: KnownContext | null): void {
    const { queue } = this.committer
    // The history of the store went back: what is known is of another one.
    const wentBack = before !== null && !isLater(now.head, before.head) && !sameHead(now.head, before.head)
    if (wentBack && queue.known === before && !queue.doubtful) queue.forget()
    queue.advance(now)
  }

  #guarded<R>(work: () => R): R {
    try {
      return work()
    } catch (error) {
      if (isContextdError(error) && error.retryable) throw error
      const { contextId } = this
      this.#options.logger.error({ contextId, error }, 'what is stored does not fit together')
      throw new ContextdError('internal', `What is stored of ${contextId} does not fit together. The log of the server says more.`, {
        contextId,
        cause: error,
      })
    }
  }
}

/** Resolves when a promise has settled, in whatever way. */
async function settled(promise: Promise<unknown>): Promise<void> {
  try {
    await promise
  } catch {
    // Whoever made the call is told.
  }
}

/** Whether a head is a later version of the same life. */
const isLater = (head: Head, than: Head): boolean => head.incarnation === than.incarnation && head.version > than.version
