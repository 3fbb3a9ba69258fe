import { ContextdError, isContextdError, jsonLength } from '@contextd/protocol'
import type { JsonObject, JsonValue } from '@contextd/protocol'
import type { Answer } from '../commit-queue.ts'
import type { EngineNode } from '../engine-node.ts'
import { takeState } from '../json-copy.ts'
import { serverAuthor } from '../known-context.ts'
import { Hold } from '../lock-hold.ts'
import { inTime } from '../patience.ts'
import { materializedKeys } from './materialize.ts'
import type { Fetched } from './materialize.ts'
import type { SourceSettings } from './source-options.ts'
import type { SourceStatus } from './source-types.ts'

/** Lock on the context of a source: whoever holds it writes. No key of a user's begins so. */
const writerKey = '~source'
/** Longest pause after failures, ms; longer only when the interval is. */
const longestPauseMs = 300_000
/** Longest pause until a node that has begun to lead asks again whether the one before is gone, ms. */
const takeOverMs = 500
/** A fetch that takes longer than so many intervals, and than so long, ms, is given up. */
const patienceIntervals = 10
const patienceMs = 60_000

/** The time until the next fetch, after so many failures (from 1) in a row, ms. Jitter keeps many sources from failing in step. */
export function pauseAfter(failures: number, refreshIntervalMs: number, random: number): number {
  const longest = Math.max(longestPauseMs, refreshIntervalMs)
  return Math.min(longest, refreshIntervalMs * 2 ** Math.min(failures, 40)) * (0.75 + random / 4)
}

/** One source on this node: while the node leads, it fetches at the interval; the lock of its context fences what it writes. */
export class Source {
  readonly settings: SourceSettings
  readonly #node: EngineNode
  readonly #changed: () => void
  #hold: Hold | null = null
  #renewal: NodeJS.Timeout | null = null
  #timer: NodeJS.Timeout | null = null
  #running: Promise<void> | null = null
  /** What was committed is not in the materialized keys yet, or may not be. */
  #unmaterialized = true
  #leads = false
  #status: Omit<SourceStatus, 'leader' | 'running'> = {
    failures: 0,
    lastSuccessAt: null,
    lastError: null,
    nextRunAt: null,
    version: 0,
  }

  constructor(node: EngineNode, settings: SourceSettings, changed: () => void) {
    this.#node = node
    this.settings = settings
    this.#changed = changed
  }

  get status(): SourceStatus {
    return { leader: this.#leads, running: this.#running !== null, ...this.#status }
  }

  /** Begins to fetch: at once. */
  lead(): void {
    if (this.#leads) return
    this.#leads = true
    this.#unmaterialized = true
    this.run().catch(() => {})
  }

  /** Fetches no more; what is under way is not written. */
  async rest(): Promise<void> {
    this.#leads = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#renewal !== null) clearInterval(this.#renewal)
    this.#timer = null
    this.#renewal = null
    const hold = this.#hold
    this.#hold = null
    this.#set({ nextRunAt: null })
    // Its lease ends it where the store does not answer.
    await hold?.end().catch(() => {})
  }

  /** Notes a version of the context that was seen. */
  seen(version: number): void {
    this.#set({ version })
  }

  /** Fetches now; joins the fetch that is under way. @throws what keeps it from being done */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null
      this.#changed()
    })
    return this.#running
  }

  async #run(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    const began = performance.now()
    this.#changed()
    try {
      const token = await this.#writer()
      const fetched = await this.#fetch()
      await this.#store(fetched, token)
      this.#set({ failures: 0, lastError: null, lastSuccessAt: this.#node.clock.now() })
      // From the beginning of one to the beginning of the next, but for what is slower than its interval.
      this.#next(Math.max(1, this.settings.refreshIntervalMs - (performance.now() - began)))
    } catch (error) {
      this.#failed(error)
      throw error
    }
  }

  #failed(error: unknown): void {
    const { refreshIntervalMs, contextId } = this.settings
    // The one before has not given up yet: that is no failure of the source.
    if (isContextdError(error, 'locked')) return this.#next(Math.min(takeOverMs, this.#node.leaseMs / 10))
    const failures = this.#status.failures + 1
    this.#set({ failures, lastError: error instanceof Error ? error : new Error(String(error)) })
    if (this.#leads) this.#node.logger.warn({ contextId, failures, error }, 'a source failed; its last state stays')
    this.#next(pauseAfter(failures, refreshIntervalMs, Math.random()))
  }

  #next(inMs: number): void {
    if (!this.#leads) return
    this.#set({ nextRunAt: Math.round(this.#node.clock.now() + inMs) })
    this.#timer = setTimeout(() => this.run().catch(() => {}), inMs).unref()
  }

  /** The token under which this node writes: of a hold that lasts from one fetch to the next, so that no other node's comes between. */
  async #writer(): Promise<number> {
    await this.#node.open()
    const hold = this.#hold !== null && this.#hold.remainingMs > 0 ? this.#hold : this.#newHold()
    const result = await hold.ask(this.#node.leaseMs, hold === this.#hold)
    if (result.type === 'locked') {
      this.#hold = null
      throw new ContextdError('locked', 'Another node still writes this source.', { contextId: this.settings.contextId })
    }
    if (!this.#leads) {
      await hold.end()
      throw ended()
    }
    this.#hold = hold
    this.#renewal ??= setInterval(() => void this.#renew(), Math.ceil(this.#node.leaseMs / 3)).unref()
    return hold.token
  }

  /** After a long fetch: a lease of full length, and certainty that nobody else has taken over. */
  async #stillWriter(): Promise<void> {
    if (!this.#leads || this.#hold === null) throw ended()
    const { type } = await this.#hold.ask(this.#node.leaseMs, true)
    if (type === 'locked') this.#hold = null
    if (type === 'locked' || !this.#leads) throw ended()
  }

  #newHold(): Hold {
    const { backend, clock } = this.#node
    this.#unmaterialized = true
    return new Hold({ backend, clock, contextId: this.settings.contextId, key: writerKey, holder: serverAuthor })
  }

  async #renew(): Promise<void> {
    const hold = this.#hold
    if (hold === null || hold.remainingMs === 0) return
    // What it comes to shows when something is written.
    await hold.ask(this.#node.leaseMs, true).catch(() => {})
  }

  async #fetch(): Promise<Fetched> {
    const { fetch, params, refreshIntervalMs } = this.settings
    const longestMs = Math.max(patienceMs, refreshIntervalMs * patienceIntervals)
    const fetching = Promise.resolve(params).then(fetch)
    // What comes too late is not looked at, whatever it is.
    fetching.catch(() => {})
    const data = await inTime(fetching, longestMs, () => new ContextdError('timeout', `fetch gave no answer within ${longestMs} ms.`))
    return this.#taken(data)
  }

  #taken(data: unknown): Fetched {
    const { limits } = this.#node
    const list = Array.isArray(data)
    if (typeof data !== 'object' || data === null)
      throw new ContextdError('invalid_state', `fetch gave ${data === null ? 'null' : typeof data}; an object or a list is needed.`)
    if (limits.stateBytes > 0 && jsonLength(data as JsonValue, limits.stateBytes) > limits.stateBytes) {
      throw new ContextdError('too_large', `fetch gave more than ${limits.stateBytes} bytes (stateBytes). Fetch less, or raise the limit.`)
    }
    const [{ value }] = takeState(list ? { items: data } : data, limits)
    return { state: value, items: list ? (value['items'] as readonly JsonValue[]) : null }
  }

  async #store(fetched: Fetched, token: number): Promise<void> {
    const { contextId, materialize } = this.settings
    // Before anything is written: what cannot be materialized is not committed either.
    const keys = materializedKeys(materialize, fetched)
    await this.#stillWriter()
    if (await this.#commit(fetched.state, token)) this.#unmaterialized = true
    if (keys.length === 0 || !this.#unmaterialized) return
    await this.#node.backend.materialized!.swap(keys, { contextId, key: writerKey, token })
    this.#unmaterialized = false
  }

  /** @returns whether there is a new version */
  async #commit(state: JsonObject, token: number): Promise<boolean> {
    const { contextId } = this.settings
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
    if (error !== undefined) throw error
    this.seen(after.head.version)
    return revision !== null
  }

  #set(change: Partial<Omit<SourceStatus, 'leader' | 'running'>>): void {
    this.#status = { ...this.#status, ...change }
    this.#changed()
  }
}

const ended = (): ContextdError => new ContextdError('closed', 'The source was removed, or another node has taken over.')
