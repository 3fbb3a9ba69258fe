import { ContextdError, diff } from '@contextd/protocol'
import type { Delta, Head, JsonObject, Snapshot, SyncAnswer } from '@contextd/protocol'
import type { LogEntry } from '../backends/backend.ts'
import type { KnownHead } from './contexts-types.ts'
import type { EngineNode } from '../engine/engine-node.ts'
import type { Formatter } from '../reads/formatter.ts'
import { backwards, snapshotOf } from '../reads/history.ts'
import type { Step } from '../reads/history.ts'
import { followsOn } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import type { LiveContext } from '../engine/live-context.ts'
import type { Past } from '../reads/past.ts'
import { checkSince } from './write-options.ts'

/** How often a read of state and log is tried anew, when the context began a new life in between. */
const mostReads = 5

/** A context as it is, and entries of its log that lead to it. */
interface Read {
  readonly now: KnownContext
  readonly state: JsonObject
  readonly entries: readonly LogEntry[]
  readonly past: Past
  /** What leads there, where it was known without the entries. */
  readonly step: Step | null
}
/** Where a sync begins. */
type Since = ReturnType<typeof checkSince>
/** A version that a context had. */
type Point = Pick<Delta, 'revision' | 'committedAt' | 'author'> & { readonly state: JsonObject }

/** What is read of one context: as it is, and as it was. */
export class Reads {
  readonly #node: EngineNode
  readonly #formatter: Formatter

  constructor(node: EngineNode, formatter: Formatter) {
    this.#node = node
    this.#formatter = formatter
  }

  async get(contextId: string): Promise<Snapshot | null> {
    const now = await this.#node.using(contextId, (live) => live.found())
    return now.state === null ? null : snapshotOf(contextId, now)
  }

  async sync(contextId: string, since: number | KnownHead | null): Promise<SyncAnswer<JsonObject, unknown>> {
    const from = since === null ? null : checkSince(since)
    const { deltaThreshold } = this.#node
    const read = await this.#read(
      contextId,
      ({ head }) => {
        if (from === null || from.version >= head.version) return null
        if (from.incarnation !== undefined && from.incarnation !== head.incarnation) return null
        return deltaThreshold > 0 && from.version < head.version - deltaThreshold ? null : from.version
      },
      from,
    )
    const { now, entries, past } = read
    if (read.step !== null) return { type: 'delta', delta: this.#formatter.delta(read.step) }
    if (from !== null && isHead(from, now.head)) return { type: 'no_change', version: now.head.version, revision: now.head.revision }
    const first = entries[0]
    // A number alone cannot tell whether the history is still the same; a head can.
    if (from !== null && first?.version === from.version + 1 && (from.revision ?? first.baseRevision) === first.baseRevision) {
      return { type: 'delta', delta: this.#deltaSince(contextId, now, entries, past) }
    }
    return { type: 'full_context', context: snapshotOf(contextId, now) }
  }

  async history(contextId: string, limit: number): Promise<Delta<unknown>[]> {
    const { state, entries } = await this.#read(contextId, ({ head }) => Math.max(0, head.version - limit))
    return [...backwards(contextId, state, entries)].map((step) => this.#formatter.delta(step))
  }

  async at(contextId: string, version: number): Promise<Snapshot> {
    const read = await this.#read(contextId, ({ head }) => (version < head.version ? version - 1 : null))
    const { state, revision, committedAt, author } = pointOf(contextId, read, version)
    const { now } = read
    return snapshotOf(contextId, {
      ...now,
      head: { ...now.head, version, revision },
      state,
      updatedAt: committedAt,
      updatedBy: author,
    })
  }

  /** One delta from a version (0: nothing) to another, also to an earlier one. */
  async between(contextId: string, from: number, to: number): Promise<Delta<unknown>> {
    const least = Math.min(from + 1, to)
    const read = await this.#read(contextId, ({ head }) => (least <= head.version ? least - 1 : null))
    const { entries } = read
    const only = to === from + 1 ? entries.findIndex(({ version }) => version === to) : -1
    if (only >= 0) {
      // What was committed, rather than what the two states look like.
      const [step] = [...backwards(contextId, read.state, entries.slice(only))].slice(-1)
      return this.#formatter.delta(step!)
    }
    const before = stateOf(contextId, read, from)
    const { state: after, revision, committedAt, author } = pointOf(contextId, read, to)
    const { itemKey } = this.#node.declared(contextId)
    const changes = this.#formatter.needsChanges ? diff(before, after, { itemKey }) : []
    const delta = { contextId, baseVersion: from, version: to, revision, changes, committedAt, author }
    return this.#formatter.delta({ delta, before, after })
  }

  #deltaSince(contextId: string, now: KnownContext, entries: readonly LogEntry[], past: Past): Delta<unknown> {
    if (entries.length > 1) return this.#formatter.delta(past.step(contextId, now, entries, this.#itemKey(contextId)))
    const [only] = backwards(contextId, now.state!, entries)
    return this.#formatter.delta(only!)
  }

  /** Null: nobody looks at changes one by one. */
  #itemKey(contextId: string): string | null {
    return this.#formatter.needsChanges ? this.#node.declared(contextId).itemKey : null
  }

  /**
   * Reads a context, and the entries of its log from a version on that lead to it: none when `from` says null, or when the log does not reach
   * back so far without a hole.
   * @param whole what they come to is enough, from this version on; null: it is not
   * @throws {ContextdError} `not_found`
   */
  #read(contextId: string, from: (now: KnownContext) => number | null, whole: Since | null = null): Promise<Read> {
    return this.#node.using(contextId, async (live) => {
      const { past } = live
      for (let reads = 1; ; reads += 1) {
        const now = latest(await live.found(), live)
        const { state, head } = now
        const readLog = (version: number): Promise<readonly LogEntry[]> => this.#node.backend.log(contextId, version)
        if (state === null) throw new ContextdError('not_found', `There is no context ${contextId}.`, { contextId })
        const after = from(now)
        if (after === null) return { now, state, entries: [], past, step: null }
        if (whole !== null) {
          await past.follow(now, after, readLog)
          const step = past.since(contextId, now, whole, this.#node.oldestDelta, this.#itemKey(contextId))
          if (step !== null) return { now, state, entries: [], past, step }
        }
        const log = await past.log(now, after, () => readLog(after))
        const entries = log.filter(({ version }) => version <= head.version)
        if (entries.length === 0 && log.length === 0) return { now, state, entries, past, step: null }
        if (entries.at(-1)?.revision === head.revision && isUnbroken(entries)) return { now, state, entries, past, step: null }
        // The context began a new life between the two reads.
        if (reads === mostReads) return { now, state, entries: [], past, step: null }
      }
    })
  }
}

/** A context as it was read, or as it is known since. */
function latest(read: KnownContext, { committer }: LiveContext): KnownContext {
  const { known } = committer.queue
  return known !== null && known.head.incarnation === read.head.incarnation && known.head.version > read.head.version ? known : read
}

/** A version as it was. @throws {ContextdError} `not_found` – there is no such version yet · `expired` – it is no longer in the log */
function pointOf(contextId: string, read: Read, version: number): Point {
  const { head, updatedAt, updatedBy } = read.now
  if (version === head.version) return { state: read.state, revision: head.revision, committedAt: updatedAt, author: updatedBy }
  for (const { delta, after } of backwards(contextId, read.state, read.entries)) {
    if (delta.version === version) return { ...delta, state: after }
  }
  throw missing(contextId, version, head)
}

/** The state of a version, of 0 too. @throws as {@link pointOf} */
function stateOf(contextId: string, { now, state, entries }: Read, version: number): JsonObject {
  if (version === now.head.version) return state
  for (const { delta, before } of backwards(contextId, state, entries)) if (delta.version === version + 1) return before
  throw missing(contextId, version, now.head)
}

function missing(contextId: string, version: number, head: Head): ContextdError {
  if (version > head.version) {
    return new ContextdError('not_found', `${contextId} has no version ${version} yet; it is at ${head.version}.`, { contextId })
  }
  return new ContextdError('expired', `Version ${version} of ${contextId} is no longer in the log. Read a later one.`, { contextId })
}

const isHead = (at: Partial<Head>, head: Head): boolean =>
  at.version === head.version &&
  (at.revision ?? head.revision) === head.revision &&
  (at.incarnation ?? head.incarnation) === head.incarnation

const isUnbroken = (entries: readonly LogEntry[]): boolean =>
  entries.length > 0 && followsOn({ version: entries[0]!.version - 1, revision: entries[0]!.baseRevision }, entries)
