import { ContextdError, randomToken } from '@contextd/protocol'
import type { ContextInfo, Head, Limits, SyncReply } from '@contextd/protocol'
import type { ContextBackend } from './backends/backend.ts'
import { Beacon } from './beacon.ts'
import type { Clock } from './clock.ts'
import type { Committer } from './committer.ts'
import type { Answered } from './commit-queue.ts'
import { NodeLocks } from './contexts-lock.ts'
import type { Decided } from './decide.ts'
import { Definitions } from './definitions.ts'
import type { Declared } from './definitions.ts'
import type { ClientSync, CommitRequest, Engine, Watcher } from './engine.ts'
import { Feed } from './feed.ts'
import type { FeedListener } from './feed.ts'
import { HookRunner } from './hooks.ts'
import type { KnownContext } from './known-context.ts'
import { Leader } from './leader.ts'
import { LiveContext } from './live-context.ts'
import type { Logger } from './logger.ts'
import type { Settings } from './options.ts'

/** A context that a listener follows. */
export interface Followed {
  /** As it was told; null: nothing was read yet. */
  readonly at: KnownContext | null
  /** Resolves once a stored head was told, or what came after it; null: any. False: it could not be read. */
  reach(head: Head | null): Promise<boolean>
  readonly end: () => void
}

/** What only tests set. */
export interface Timing {
  /** Time in which the head of every open context is read, ms. */
  readonly beaconMs: number
  /** How long a context that nobody has open stays in memory, ms. */
  readonly graceMs: number
  /** How long `close` waits for commits whose outcome is unknown, ms. */
  readonly drainMs: number
}
export const defaultTiming: Timing = { beaconMs: 5_000, graceMs: 2_000, drainMs: 5_000 }

const tokenLength = 12
/** Most contexts of a list, when nothing is said. */
export const defaultListLimit = 100

/** The engine of one process: the contexts that are live on it, and what they share. */
export class EngineNode implements Engine {
  readonly backend: ContextBackend
  readonly limits: Limits
  readonly clock: Clock
  readonly logger: Logger
  readonly sessionTtlMs: number
  readonly deltaThreshold: number
  readonly leader: Leader
  readonly locks: NodeLocks
  readonly #settings: Settings
  readonly #timing: Timing
  readonly #definitions: Definitions
  readonly #hooks: HookRunner | null
  readonly #beacon: Beacon
  readonly #contexts = new Map<string, LiveContext>()
  readonly #feeds = new Map<string, { readonly feed: Feed; readonly end: () => void }>()
  /** Live contexts that nobody needs, since when; the oldest first. */
  readonly #unused = new Map<string, number>()
  #sweep: NodeJS.Timeout | null = null
  #ready: Committer[] = []
  #opening: Promise<void> | null = null
  #opened = false
  #listening: (() => void) | null = null
  #closing: Promise<void> | null = null
  #drained: (() => void) | null = null

  constructor(settings: Settings, timing: Timing = defaultTiming) {
    const { backend, limits, clock, logger, leaseMs, sessionTtlMs, deltaThreshold } = settings
    this.backend = backend
    this.limits = limits
    this.clock = clock
    this.logger = logger
    this.sessionTtlMs = sessionTtlMs
    this.deltaThreshold = deltaThreshold
    const open = (): Promise<void> => this.open()
    this.leader = new Leader({ backend, clock, logger, leaseMs, open })
    this.locks = new NodeLocks({ backend, clock, idBytes: limits.idBytes, open })
    this.#settings = settings
    this.#timing = timing
    this.#definitions = new Definitions(settings.contexts, limits)
    this.#hooks = settings.hooks && new HookRunner(settings.hooks, logger)
    const { publishing } = backend
    const intervalMs = publishing.type === 'beacon' ? publishing.intervalMs : timing.beaconMs
    this.#beacon = new Beacon({ backend, logger, intervalMs, told: (contextId, head) => this.#tellHead(contextId, head) })
  }

  /** What is declared of a context. */
  declared(contextId: string): Declared {
    return this.#definitions.of(contextId)
  }

  get closing(): boolean {
    return this.#closing !== null
  }

  async open(): Promise<void> {
    if (this.#closing !== null) throw closed()
    await this.#openOnce()
  }

  /** As `open`, also while it closes: what was taken before still needs the store. */
  #openOnce(): Promise<void> {
    if (this.#opened) return done
    this.#opening ??= this.#open()
    return this.#opening
  }

  async #open(): Promise<void> {
    try {
      const { sessionTtlMs, deltaThreshold, logger } = this
      await this.backend.open({
        settings: { sessionTtlMs, deltaTtlMs: this.#settings.deltaTtlMs, deltaThreshold, stateBytes: this.limits.stateBytes },
        warn: (details, message) => logger.warn(details, message),
      })
      this.#opened = true
    } catch (error) {
      this.#opening = null
      throw error
    }
  }

  submit(contextId: string, request: CommitRequest): void {
    if (this.#closing === null) this.#live(contextId).committer.submit(request)
    else request.reply({ type: 'held', error: closed() })
  }

  async sync(query: ClientSync): Promise<Omit<SyncReply, 'access'>> {
    const { reply } = await this.using(query.contextId, (live) => live.sync(query))
    return reply
  }

  watch(contextId: string, watcher: Watcher): () => void {
    const live = this.#live(contextId)
    if (live.watchers.size === 0) this.#beacon.watch(contextId)
    // Of its own, so that one watcher may be given twice.
    const own: Watcher = { frame: (text) => watcher.frame(text), head: (head) => watcher.head(head) }
    live.watchers.add(own)
    this.#listen()
    return () => {
      if (!live.watchers.delete(own) || live.watchers.size > 0) return
      this.#beacon.unwatch(contextId)
      this.#settle(live)
    }
  }

  /** Calls a listener of this process for each commit. Returns the end of it. */
  subscribe(contextId: string, listener: FeedListener): () => void {
    return this.follow(contextId, listener).end
  }

  /** As `subscribe`, with what the listener was told. */
  follow(contextId: string, listener: FeedListener): Followed {
    if (this.#closing !== null) throw closed()
    const opened = this.#feeds.get(contextId) ?? this.#openFeed(contextId)
    // Of its own, so that one listener may be given twice.
    const own: FeedListener = { step: (step, now) => listener.step(step, now), gone: () => listener.gone() }
    const { feed } = opened
    feed.listeners.add(own)
    return {
      get at() {
        return feed.at
      },
      reach: (head) => feed.reach(head),
      end: () => {
        if (!feed.listeners.delete(own) || feed.listeners.size > 0) return
        this.#feeds.delete(contextId)
        opened.end()
      },
    }
  }

  #openFeed(contextId: string): { readonly feed: Feed; readonly end: () => void } {
    const { backend, logger } = this
    const { publishing } = backend
    const feed = new Feed({
      contextId,
      itemKey: this.declared(contextId).itemKey,
      logger,
      fresh: () => this.using(contextId, (live) => live.fresh()),
      log: (after) => backend.log(contextId, after),
    })
    const unwatch = this.watch(contextId, { frame: () => {}, head: (head) => feed.head(head) })
    let end = unwatch
    if (publishing.type === 'publish') {
      const unsubscribe = publishing.subscribe(contextId, (message) => feed.published(message))
      end = () => {
        unsubscribe()
        unwatch()
      }
      // What was published before the store knew of the subscription is read.
      void this.open()
        .then(() => publishing.sockets.confirm(contextId))
        .then(
          () => feed.catchUp(),
          (error: unknown) => logger.warn({ contextId, error }, 'a subscription is not confirmed yet'),
        )
    }
    const opened = { feed, end }
    this.#feeds.set(contextId, opened)
    return opened
  }

  async list({ prefix = '', limit = defaultListLimit }: { readonly prefix?: string; readonly limit?: number }): Promise<ContextInfo[]> {
    await this.open()
    const listed = await this.backend.list({ prefix, limit, offset: 0, order: 'asc', updatedSince: 0 })
    return [...listed]
  }

  /** Keeps a context live while `work` is under way. */
  async using<R>(contextId: string, work: (live: LiveContext) => Promise<R>): Promise<R> {
    if (this.#closing !== null) throw closed()
    const live = this.#live(contextId)
    live.uses += 1
    try {
      return await work(live)
    } finally {
      live.uses -= 1
      this.#settle(live)
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#beacon.stop()
    this.#listening?.()
    this.locks.stop()
    await this.#drain()
    await Promise.all([this.leader.close(), this.locks.releaseAll()])
    for (const { end } of this.#feeds.values()) end()
    for (const { committer } of this.#contexts.values()) committer.end(closed())
    if (this.#sweep !== null) clearTimeout(this.#sweep)
    await this.#opening?.catch(() => {})
    await this.backend.close()
    this.#contexts.clear()
  }

  /** Resolves when no commit is under way, or when there was time enough. */
  async #drain(): Promise<void> {
    if (!this.#isBusy()) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#drained = resolve
      timer = setTimeout(resolve, this.#timing.drainMs)
    })
    clearTimeout(timer)
  }

  #isBusy(): boolean {
    for (const { committer } of this.#contexts.values()) if (!committer.idle) return true
    return false
  }

  /** The context in memory; it is there from now on, as long as somebody needs it. */
  #live(contextId: string): LiveContext {
    this.#unused.delete(contextId)
    const found = this.#contexts.get(contextId)
    if (found) return found
    const live = this.#make(contextId)
    this.#contexts.set(contextId, live)
    return live
  }

  #make(contextId: string): LiveContext {
    const { backend, clock, logger } = this
    const { deltaTtlMs, deltaThreshold, sessionTtlMs, limits } = this.#settings
    const { itemKey, validate, schema, migrate, requireLock } = this.declared(contextId)
    const open = (): Promise<void> => this.#openOnce()
    const live = new LiveContext(contextId, {
      backend,
      logger,
      open,
      query: () => ({ now: clock.now(), sessionTtlMs, maxVersions: deltaThreshold }),
      committer: {
        backend,
        clock,
        logger,
        open,
        attempt: {
          mint: () => randomToken(tokenLength),
          sessionTtlMs,
          stateBytes: limits.stateBytes,
          itemKey,
          deltaTtlMs,
          deltaThreshold,
          byteLength: (text) => Buffer.byteLength(text),
          ...(validate && { validate }),
          ...(requireLock && { requireLock }),
          schema,
          leastSchema: migrate === undefined ? 0 : schema,
        },
        ...(migrate && { migrate }),
        hooks: this.#hooks,
        schedule: (committer) => this.#schedule(committer),
        committed: ({ message }, answered) => {
          if (message === null || backend.publishing.type === 'publish') return
          for (const watcher of live.watchers) watcher.frame(message)
          this.#feeds.get(contextId)?.feed.committed(decidedOf(answered))
        },
        overtaken: ({ head }) => {
          if (backend.publishing.type !== 'publish') this.#tellHead(contextId, head)
        },
        idle: () => this.#settle(live),
      },
    })
    return live
  }

  /** Committers that have something to send do so together, at the end of this turn: what arrives until then is in their batches. */
  #schedule(committer: Committer): void {
    if (this.#ready.push(committer) > 1) return
    setImmediate(() => {
      const ready = this.#ready
      this.#ready = []
      for (const each of ready) each.pump()
    })
  }

  #tellHead(contextId: string, head: Head): void {
    for (const watcher of this.#contexts.get(contextId)?.watchers ?? []) watcher.head(head)
  }

  /** Hears from the store when something may have been missed, once somebody has a context open. */
  #listen(): void {
    if (this.#listening !== null) return
    const { publishing } = this.backend
    const readAll = (): void => this.#beacon.readAll()
    if (publishing.type === 'publish') this.#listening = publishing.onRestored(readAll)
    else this.#listening = publishing.type === 'poll' ? publishing.onChange(readAll) : () => {}
  }

  /** Lets a context that nobody needs go, after a while. */
  #settle(live: LiveContext): void {
    if (!live.idle) return
    if (this.#closing !== null) {
      if (!this.#isBusy()) this.#drained?.()
      return
    }
    this.#unused.delete(live.contextId)
    this.#unused.set(live.contextId, performance.now())
    this.#sweep ??= setTimeout(() => this.#sweepUnused(), this.#timing.graceMs).unref()
  }

  #sweepUnused(): void {
    this.#sweep = null
    const now = performance.now()
    for (const [contextId, since] of this.#unused) {
      if (now - since < this.#timing.graceMs) break
      this.#unused.delete(contextId)
      if (this.#contexts.get(contextId)?.idle) this.#contexts.delete(contextId)
    }
    if (this.#unused.size > 0) this.#sweep = setTimeout(() => this.#sweepUnused(), this.#timing.graceMs).unref()
  }
}

/** How the commits of a stored batch were decided. */
const decidedOf = (answered: readonly Answered<unknown>[]): Decided<unknown>[] =>
  answered.flatMap(({ answer }) => (answer.type === 'verdict' && answer.decided !== null ? answer.decided : []))

const done = Promise.resolve()
const closed = (): ContextdError => new ContextdError('closed', 'The contexts are closed. Create new ones with createContexts().')
