import { applyChanges, revisionOf, unpackChanges } from '@contextd/protocol'
import type { Change, DeltaFrame, Head, JsonObject } from '@contextd/protocol'
import { unawaited } from '../application-code.ts'
import { sameHead } from '../backends/backend.ts'
import type { LogEntry } from '../backends/backend.ts'
import { detached } from '../commits/batch-states.ts'
import type { Decided } from '../commits/decide.ts'
import { composed, deltaOf, forwards } from '../reads/history.ts'
import type { Step } from '../reads/history.ts'
import { absentAt, followsOn } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import { frozenAs } from '../json-copy.ts'
import type { Logger } from '../logger.ts'

/** Who listens to a context in this process. */
export interface FeedListener {
  /** `now` is the context right after the delta. What is returned is looked at for its failure alone, should it be a promise. */
  step(step: Step, now: KnownContext): unknown
  gone(): unknown
}

/** What a feed works with. */
export interface FeedOptions {
  readonly contextId: string
  readonly itemKey: string
  readonly logger: Logger
  readonly fresh: () => Promise<KnownContext>
  readonly log: (after: number) => Promise<readonly LogEntry[]>
}

/** How long a commit that is stored may take to be told, before it is read, ms. */
const patienceMs = 50
/** Changes of one commit up to which old values are looked up in the state rather than in the log. */
const fewChanges = 64
/** Most publications that are kept during a read. */
const mostEarly = 100

/**
 * Tells listeners of this process every commit of a context once and in order, whoever made it: as far as it is told, and from the log where
 * something was missed. Where the log does not reach back, or the history changed, one delta leads from what was told to what is.
 */
export class Feed {
  readonly listeners = new Set<FeedListener>()
  /** Called when something was told. */
  readonly #waiting = new Set<() => void>()
  readonly #options: FeedOptions
  /** What the listeners were told last; null: nothing was read yet. */
  #at: KnownContext | null = null
  /** The read under way, and the one after it. */
  #reading: Promise<boolean> | null = null
  #next: Promise<boolean> | null = null
  /** Publications that came during the read: most are what comes after it. */
  #early: DeltaFrame[] = []

  constructor(options: FeedOptions) {
    this.#options = options
    void this.catchUp()
  }

  /** The context as the listeners were told of it; null: nothing was read yet. */
  get at(): KnownContext | null {
    return this.#at
  }

  /**
   * Resolves once the listeners were told of a head that is stored, or of what came after it; null: of any. Should that take long, it is read.
   * False: it could not be.
   */
  async reach(head: Head | null): Promise<boolean> {
    if (head === null) return this.#at !== null || this.catchUp()
    const isThere = (): boolean => this.#at?.head.incarnation === head.incarnation && this.#at.head.version >= head.version
    if (isThere()) return true
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (isThere()) end()
      }
      const end = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve()
      }
      const timer = setTimeout(end, patienceMs)
      this.#waiting.add(look)
    })
    return isThere() || this.catchUp()
  }

  /** Commits of this node, as they were stored. */
  committed(decided: readonly Decided<unknown>[]): void {
    this.#tellDecided(decided)
    if (this.#at !== null) this.#at = detached(this.#at)
  }

  #tellDecided(decided: readonly Decided<unknown>[]): void {
    for (const { revision, before, after, changes, submission } of decided) {
      if (revision === null) continue
      // Nothing was read yet: what this commit was based on is where the listeners begin.
      this.#at ??= before
      if (this.#reading !== null || !sameHead(this.#at.head, before.head)) return void this.catchUp()
      this.#at = after
      if (after.state === null) this.#tell((listener) => listener.gone())
      else {
        const { version } = after.head
        const delta = deltaOf(this.#options.contextId, {
          version,
          revision,
          committedAt: after.updatedAt,
          author: submission.author,
          changes: [...changes],
        })
        this.#tellStep({ delta, before: before.state ?? {}, after: after.state }, after)
      }
    }
  }

  /** What the store publishes: a `d` or an `h` frame. */
  published(message: string): void {
    let told: ['d', DeltaFrame] | ['h', unknown] | null = null
    try {
      told = JSON.parse(message) as ['d', DeltaFrame] | ['h', unknown]
    } catch (error) {
      this.#unreadable(error)
    }
    const frame = told?.[0] === 'd' ? told[1] : null
    if (frame !== null && this.#reading !== null && this.#early.length < mostEarly) this.#early.push(frame)
    else if (frame === null || this.#reading !== null || !this.#follow(frame)) void this.catchUp()
  }

  /** The stored head. */
  head(head: Head): void {
    if (this.#at === null || !sameHead(this.#at.head, head)) void this.catchUp()
  }

  /** Reads what may have been missed up to now. False: it could not be read. */
  catchUp(): Promise<boolean> {
    if (this.#reading === null) return this.#begin()
    // A read that has begun may miss what was committed since: those who come meanwhile share the next one.
    this.#next ??= this.#reading.then(() => this.#begin())
    return this.#next
  }

  #begin(): Promise<boolean> {
    this.#next = null
    this.#early = []
    this.#reading = this.#readOnce()
    return this.#reading
  }

  async #readOnce(): Promise<boolean> {
    let read = true
    try {
      await this.#read()
    } catch (error) {
      read = false
      // The next beacon, commit or publication tries again.
      this.#options.logger.warn({ contextId: this.#options.contextId, error }, 'a subscription could not be brought to head')
    }
    if (this.#next !== null) return read
    this.#reading = null
    if (read && !this.#early.every((frame) => this.#follow(frame))) void this.catchUp()
    return read
  }

  #unreadable(error: unknown): void {
    this.#options.logger.warn({ contextId: this.#options.contextId, error }, 'a publication could not be read')
  }

  /** As `#tellFrame`; what cannot be read leads nowhere. */
  #follow(frame: DeltaFrame): boolean {
    try {
      return this.#tellFrame(frame)
    } catch (error) {
      this.#unreadable(error)
      return false
    }
  }

  /** Tells a frame that follows on what was told; false: something is missing, or it leads elsewhere. */
  #tellFrame([contextId, incarnation, baseVersion, baseRevision, batch, committedAt, authors, commits]: DeltaFrame): boolean {
    const at = this.#at
    if (at === null) return false
    if (at.head.incarnation === incarnation && at.head.version >= baseVersion + commits.length) return true
    // An absent context has no incarnation; the frame names the one that its first commit began.
    if (!sameHead(at.head, { incarnation: baseVersion === 0 ? '' : incarnation, version: baseVersion, revision: baseRevision }))
      return false
    const unpacked = commits.map(([author, , packed]) => ({ author: authors[author], changes: unpackChanges(packed) }))
    if (unpacked.some(({ author, changes }) => author === undefined || changes.length > fewChanges)) return false
    let known = at
    unpacked.forEach(({ author, changes: bare }, index) => {
      const [userId, actor] = author!
      const before = known.state ?? {}
      const { state, changes } = withOldValues(before, bare)
      const head = { incarnation, version: baseVersion + index + 1, revision: revisionOf(batch, index) }
      const updatedBy = { userId, actor }
      known = { ...known, head, state, updatedAt: committedAt, updatedBy, createdAt: known.state === null ? committedAt : known.createdAt }
      this.#at = known
      this.#tellStep({ delta: deltaOf(contextId, { ...head, committedAt, author: updatedBy, changes }), before, after: state }, known)
    })
    return true
  }

  async #read(): Promise<void> {
    const { contextId, fresh, log } = this.#options
    const now = await fresh()
    const at = this.#at
    if (at === null || sameHead(at.head, now.head)) {
      this.#at = now
      return
    }
    const oneLife = at.state === null || at.head.incarnation === now.head.incarnation
    const read = now.state !== null && oneLife && now.head.version > at.head.version ? await log(at.head.version) : []
    const entries = read.slice(0, now.head.version - at.head.version)
    const last = entries.at(-1)
    this.#at = now
    if (last?.revision === now.head.revision && followsOn(at.head, entries)) return this.#tellAll(at, now, entries)
    if (at.state !== null && (now.state === null || !oneLife)) this.#tell((listener) => listener.gone())
    if (now.state === null) return
    const from = oneLife && at.state !== null ? at : absentAt(now.head, 0, now.updatedBy)
    const step = composed(contextId, from.state === null ? 0 : from.head.version, from.state ?? {}, now, this.#options.itemKey)
    this.#tellStep(step, now)
  }

  #tellAll(at: KnownContext, now: KnownContext, entries: readonly LogEntry[]): void {
    for (const step of forwards(this.#options.contextId, at.state ?? {}, entries)) {
      const { version, revision, committedAt, author } = step.delta
      const head = { incarnation: now.head.incarnation, version, revision }
      this.#tellStep(
        step,
        version === now.head.version ? now : { ...now, head, state: step.after, updatedAt: committedAt, updatedBy: author },
      )
    }
  }

  #tellStep(step: Step, now: KnownContext): void {
    this.#tell((listener) => listener.step(step, now))
  }

  #tell(tell: (listener: FeedListener) => unknown): void {
    const { contextId, logger } = this.#options
    const failed = (error: unknown): void => logger.error({ contextId, error }, 'a subscriber failed')
    for (const listener of new Set(this.listeners)) {
      if (this.listeners.has(listener)) unawaited(() => tell(listener), failed)
    }
    for (const look of this.#waiting) look()
  }
}

/** Applies changes that came without old values, and looks these up on the way. */
function withOldValues(state: JsonObject, bare: readonly Change[]): { state: JsonObject; changes: Change[] } {
  let after = state
  const changes = bare.map((change) => {
    const oldValue = change.action === 'added' ? undefined : valueAt(after, change.path)
    after = applyChanges(after, [change])
    return oldValue === undefined ? change : { ...change, oldValue }
  })
  return { state: frozenAs(state, after, changes), changes }
}

function valueAt(state: JsonObject, path: Change['path']): Change['oldValue'] {
  let value: unknown = state
  for (const step of path) value = (value as { [step: string | number]: unknown } | undefined)?.[step as string | number]
  return value as Change['oldValue']
}
