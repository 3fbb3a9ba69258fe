import { ContextdError, randomToken } from '@contextd/protocol'
import type { ContextInfo, Head, Limits, Snapshot, SyncReply } from '@contextd/protocol'
import { Archivist } from '../archives/archivist.ts'
import type { ArchivistOptions } from '../archives/archivist.ts'
import { FirstAccess, comesBack } from '../archives/first-access.ts'
import { isInternal } from '../backends/backend.ts'
import type { ContextBackend } from '../backends/backend.ts'
import { Beacon } from './beacon.ts'
import { Cleaner } from '../cleanup/cleaner.ts'
import { Cleanup } from '../cleanup/cleanup.ts'
import { OpenContexts } from '../cleanup/open-contexts.ts'
import type { Clock } from '../clock.ts'
import type { Committer } from '../commits/committer.ts'
import type { Answered } from '../commits/commit-queue.ts'
import { NodeLocks } from '../locks/contexts-lock.ts'
import type { Decided } from '../commits/decide.ts'
import { Definitions } from '../definitions/definitions.ts'
import type { Declared } from '../definitions/definitions.ts'
import type { ClientSync, CommitRequest, Engine, Watcher } from './engine.ts'
import type { FeedListener } from './feed.ts'
import { Feeds } from './feeds.ts'
import type { Followed } from './feeds.ts'
import { snapshotOf } from '../reads/history.ts'
import { HookRunner } from '../definitions/hooks.ts'
import { Leader } from '../locks/leader.ts'
import { LiveContext } from './live-context.ts'
import type { Logger } from '../logger.ts'
import { EngineMeasures } from '../metrics/engine-measures.ts'
import { MeasuredBackend } from '../metrics/measured-backend.ts'
import type { Settings } from '../options.ts'
import { defaultTiming } from './timing.ts'
import type { Timing } from './timing.ts'

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
  readonly leaseMs: number
  readonly leader: Leader
  readonly locks: NodeLocks
  readonly cleanup: Cleanup
  readonly measures: EngineMeasures
  readonly #settings: Settings
  readonly #timing: Timing
  readonly #definitions: Definitions
  readonly #hooks: HookRunner | null
  readonly #beacon: Beacon
  readonly #contexts = new Map<string, LiveContext>()
  readonly #feeds: Feeds
  /** Null: contexts do not expire. */
  readonly #openContexts: OpenContexts | null
  /** Null: there is no archive. */
  readonly #archivist: Archivist | null
  /** What archivists of other archives work with. */
  readonly archiving: Omit<ArchivistOptions, 'archive'>
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
    const { limits, clock, logger, leaseMs, sessionTtlMs, deltaThreshold } = settings
    const backend = new MeasuredBackend(settings.backend, logger)
    this.backend = backend
    this.limits = limits
    this.clock = clock
    this.logger = logger
    this.sessionTtlMs = sessionTtlMs
    this.leaseMs = leaseMs
    this.deltaThreshold = deltaThreshold
    const open = (): Promise<void> => this.open()
    this.leader = new Leader({ backend, clock, logger, leaseMs, open })
    this.locks = new NodeLocks({ backend, clock, idBytes: limits.idBytes, open })
    this.#settings = settings
    this.#timing = timing
    this.#definitions = new Definitions(settings.contexts, limits)
    this.#hooks = settings.hooks && new HookRunner(settings.hooks, logger, timing.hookMs)
    const { publishing } = backend
    const intervalMs = publishing.type === 'beacon' ? publishing.intervalMs : timing.beaconMs
    this.#beacon = new Beacon({ backend, logger, intervalMs, told: (contextId, head) => this.#tellHead(contextId, head) })
    const told = (contextId: string, message: string): void => this.#tellFrame(contextId, message)
    const { contextTtlMs, deltaTtlMs, archive } = settings
    this.#feeds = new Feeds({
      backend,
      logger,
      open,
      itemKey: (contextId) => this.declared(contextId).itemKey,
      fresh: (contextId) => this.using(contextId, (live) => live.fresh()),
      watch: (contextId, watcher) => this.watch(contextId, watcher),
    })
    const isOpen = (contextId: string): boolean => (this.#contexts.get(contextId)?.watchers.size ?? 0) > 0
    const cleaner = { backend, clock, logger, open, contextTtlMs, deltaTtlMs, deltaThreshold, sessionTtlMs, isOpen, expired: told }
    this.cleanup = new Cleanup(new Cleaner(cleaner), this.leader, logger)
    this.#openContexts = contextTtlMs === 0 ? null : new OpenContexts({ backend, clock, logger, open, contextTtlMs })
    const restored = (contextId: string, message: string): void => {
      this.#openContexts?.note(contextId)
      told(contextId, message)
    }
    const patienceMs = timing.archiveMs
    this.archiving = { backend, clock, logger, limits, sessionTtlMs, patienceMs, open, restored }
    this.#archivist = archive && new Archivist({ archive, ...this.archiving })
    const { leader, locks, cleanup } = this
    this.measures = new EngineMeasures({ store: backend, beacon: this.#beacon, leader, locks, cleanup, live: this.#contexts })
  }

  /** What is declared of a context. */
  declared(contextId: string): Declared {
    return this.#definitions.of(contextId)
  }

  /** Time from which on deltas are surely kept, unless there are too many. */
  get oldestDelta(): number {
    return this.clock.now() - this.#settings.deltaTtlMs
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
      const { deltaTtlMs, contextTtlMs } = this.#settings
      await this.backend.open({
        settings: { sessionTtlMs, deltaTtlMs, contextTtlMs, deltaThreshold, stateBytes: this.limits.stateBytes },
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
    if (live.watchers.size === 0) {
      this.#beacon.watch(contextId)
      this.#openContexts?.watch(contextId)
    }
    // Of its own, so that one watcher may be given twice.
    const own: Watcher = { frame: (text) => watcher.frame(text), head: (head) => watcher.head(head) }
    live.watchers.add(own)
    this.#listen()
    return () => {
      if (!live.watchers.delete(own) || live.watchers.size > 0) return
      this.#beacon.unwatch(contextId)
      this.#openContexts?.unwatch(contextId)
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
    return this.#feeds.follow(contextId, listener)
  }

  /** Hands a context to the archive. @throws as `Contexts.export` */
  async export(contextId: string): Promise<Snapshot> {
    const archivist = this.#archive()
    // An archive is given what is of the newest definition.
    if (this.declared(contextId).migrate) await this.using(contextId, (live) => live.fresh())
    return archivist.export(contextId)
  }

  /** Puts what the archive has in place. @throws as `Contexts.restore` */
  async restore(contextId: string): Promise<Snapshot> {
    const restored = await this.#archive().restore(contextId, null)
    if (restored === null || restored === 'overtaken') {
      throw new ContextdError('not_found', `The archive has no context ${contextId}.`, { contextId })
    }
    if (!this.declared(contextId).migrate) return restored
    const now = await this.using(contextId, (live) => live.fresh())
    return now.state === null ? restored : snapshotOf(contextId, now)
  }

  #archive(): Archivist {
    if (this.#archivist !== null) return this.#archivist
    throw new ContextdError('invalid_operation', 'There is no archive. Name one: createContexts({ archive: … }).')
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
    this.#openContexts?.stop()
    const cleaned = this.cleanup.close()
    this.#listening?.()
    this.locks.stop()
    await this.#drain()
    await cleaned
    await Promise.all([this.leader.close(), this.locks.releaseAll()])
    this.#feeds.end()
    for (const { committer } of this.#contexts.values()) committer.end(closed())
    if (this.#sweep !== null) clearTimeout(this.#sweep)
    await this.#opening?.catch(() => {})
    await Promise.all([this.backend.close(), this.#archivist?.close()])
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
    const { itemKey, initial, validate, schema, migrate, requireLock } = this.declared(contextId)
    const open = (): Promise<void> => this.#openOnce()
    const live = new LiveContext(contextId, {
      firstAccess: this.#archivist && new FirstAccess(contextId, this.#archivist),
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
          ...(requireLock && { requireLock, initial }),
          schema,
          leastSchema: migrate === undefined ? 0 : schema,
          ...(this.#archivist && { comesBack }),
        },
        ...(migrate && { migrate }),
        hooks: isInternal(contextId) ? null : this.#hooks,
        schedule: (committer) => this.#schedule(committer),
        committed: ({ message }, answered) => {
          if (message === null || backend.publishing.type === 'publish') return
          for (const watcher of live.watchers) watcher.frame(message)
          this.#feeds.of(contextId)?.committed(decidedOf(answered))
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

  /** Tells who has a context open here; stores that publish tell them by themselves. */
  #tellFrame(contextId: string, message: string): void {
    if (this.backend.publishing.type === 'publish') return
    for (const watcher of this.#contexts.get(contextId)?.watchers ?? []) watcher.frame(message)
    this.#feeds.of(contextId)?.published(message)
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
