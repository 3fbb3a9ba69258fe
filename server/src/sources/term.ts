import { ContextdError, isContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import type { Answer } from '../commits/commit-queue.ts'
import type { EngineNode } from '../engine/engine-node.ts'
import { serverAuthor } from '../commits/known-context.ts'
import { inTime } from '../patience.ts'
import { takeFetched } from './fetched.ts'
import { materializedKeys } from './materialize.ts'
import type { SourceSettings } from './source-options.ts'
import { Writer, isLockRefusal, isLost, writerKey } from './writer.ts'

/** Who is told of what becomes of a term. */
export interface TermListener {
  /** A fetch begins. */
  began(): void
  /** What was fetched is stored, and in its keys. */
  stored(version: number): void
  /** @returns the pause until it is tried again, ms */
  failed(error: unknown): number
  /** The next fetch begins in so many ms. */
  next(inMs: number): void
}

/** The time in which this node leads, for one source: it fetches at the interval, and writes under a lock that fences what it writes. */
export class Term {
  readonly #node: EngineNode
  readonly #settings: SourceSettings
  readonly #listener: TermListener
  /** Aborted at its end. */
  readonly #ending = new AbortController()
  readonly #writer: Writer
  #timer: NodeJS.Timeout | null = null
  #running: Promise<void> | null = null
  /** What is in the materialized keys, by its mark, and under which token; null: nothing that is sure to be there. */
  #placed: { readonly mark: string; readonly token: number } | null = null

  constructor(node: EngineNode, settings: SourceSettings, listener: TermListener) {
    this.#node = node
    this.#settings = settings
    this.#listener = listener
    this.#writer = new Writer(node, settings.contextId)
  }

  /** Whether a fetch is under way. */
  get running(): boolean {
    return this.#running !== null
  }
  /** Whether it has ended. */
  get over(): boolean {
    return this.#ending.signal.aborted
  }

  /** Fetches now; joins the fetch that is under way. @throws {ContextdError} `closed` – the term is over · what keeps it from being done */
  run(): Promise<void> {
    if (this.#running !== null) return this.#running
    const running = unless(this.#ending.signal, this.#run()).finally(() => {
      if (this.#running === running) this.#running = null
    })
    this.#running = running
    this.#listener.began()
    return running
  }

  /** Ends it; what is under way is not written. */
  async end(): Promise<void> {
    this.#ending.abort(over())
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#writer.end()
  }

  async #run(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    const began = performance.now()
    try {
      const version = await this.#refreshed()
      this.#check()
      this.#running = null
      this.#listener.stored(version)
      // From the beginning of one to the beginning of the next, but for what is slower than its interval.
      this.#next(Math.max(1, this.#settings.refreshIntervalMs - (performance.now() - began)))
    } catch (error) {
      if (this.over) throw over()
      this.#running = null
      this.#next(this.#listener.failed(error))
      throw error
    }
  }

  #next(inMs: number): void {
    // Who was told may have begun the next one, or have ended it.
    if (this.over || this.#running !== null) return
    this.#timer = setTimeout(() => this.run().catch(() => {}), inMs).unref()
    this.#listener.next(inMs)
  }

  /** @returns the version of the context after it */
  async #refreshed(): Promise<number> {
    try {
      return await this.#refresh()
    } catch (error) {
      if (!isLost(error)) throw error
    }
    // The lease had ended, with this node leading still: it was held up for long, or the store has lost it.
    return this.#refresh()
  }

  async #refresh(): Promise<number> {
    const { contextId, materialize } = this.#settings
    const token = await this.#writer.acquire(this.#ending.signal)
    const data = await this.#fetch(token)
    this.#check()
    const { state: previous } = await this.#node.using(contextId, (live) => live.fresh())
    const { itemKey } = this.#node.declared(contextId)
    const fetched = await takeFetched(data, { previous, limits: this.#node.limits, itemKey })
    // Before anything is written: what cannot be materialized is not committed either.
    const keys = await materializedKeys(materialize, fetched)
    // After a long fetch: a lease of full length, and certainty that nobody else has taken over.
    this.#check()
    await this.#writer.confirm()
    this.#check()
    const { version, isNew } = await this.#commit(fetched.state, token)
    if (keys.length > 0) await this.#place(keys, token, isNew)
    return version
  }

  async #fetch(token: number): Promise<unknown> {
    const { fetch, params, timeoutMs } = this.#settings
    const given = new AbortController()
    const giveUp = (): void => given.abort(over())
    this.#ending.signal.addEventListener('abort', giveUp)
    try {
      const fetching = unless(given.signal, (async () => fetch(params, { signal: given.signal, token }))())
      // What comes too late is not looked at, whatever it is.
      fetching.catch(() => {})
      return await inTime(fetching, timeoutMs, () => {
        const late = new ContextdError('timeout', `fetch gave no answer within ${timeoutMs} ms (timeoutMs).`)
        given.abort(late)
        return late
      })
    } finally {
      this.#ending.signal.removeEventListener('abort', giveUp)
    }
  }

  async #commit(state: JsonObject, token: number): Promise<{ version: number; isNew: boolean }> {
    const { contextId } = this.#settings
    const answer = await new Promise<Answer>((resolve) =>
      this.#node.submit(contextId, {
        source: '',
        stream: null,
        author: serverAuthor,
        incarnation: null,
        operations: [{ type: 'set', path: [], value: state }],
        remove: false,
        initial: {},
        locks: [{ key: writerKey, token }],
        size: 0,
        user: null,
        reply: resolve,
      }),
    )
    if (answer.type === 'held') throw answer.error
    if (answer.type !== 'verdict' || answer.decided === null)
      throw new ContextdError('timeout', 'It is not known whether what was fetched is stored.', { contextId })
    const { error, revision, after } = answer.decided
    if (isLockRefusal(error)) throw this.#writer.lost()
    if (error !== undefined) throw error
    return { version: after.head.version, isNew: revision !== null }
  }

  /** Brings the materialized keys to what was committed, where they are not. */
  async #place(keys: Awaited<ReturnType<typeof materializedKeys>>, token: number, isNew: boolean): Promise<void> {
    const materialized = this.#node.backend.materialized!
    const names = keys.map(({ key }) => key)
    if (!isNew && this.#placed?.token === token && (await materialized.stand(names, this.#placed.mark))) return
    this.#placed = null
    try {
      const mark = await materialized.swap(keys, { contextId: this.#settings.contextId, key: writerKey, token })
      this.#placed = { mark, token }
    } catch (error) {
      throw isContextdError(error, 'locked') ? this.#writer.lost() : error
    }
  }

  #check(): void {
    if (this.over) throw over()
  }
}

/** Waits for work, unless it is given up before. */
function unless<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', giveUp)
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}

const over = (): ContextdError => new ContextdError('closed', 'The source was removed, or another node has taken over.')
