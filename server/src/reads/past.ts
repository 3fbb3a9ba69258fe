import { applyChanges, invert } from '@contextd/protocol'
import type { Head, JsonObject } from '@contextd/protocol'
import { sameHead } from '../backends/backend.ts'
import type { CommitBatch, LogEntry } from '../backends/backend.ts'
import { composed } from './history.ts'
import type { Step } from './history.ts'
import { followsOn } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import { decodeLogEntry } from '../commits/log-entry.ts'

/** Where the latest delta over several commits began, and how far the log is known that leads on from there. */
interface Origin {
  readonly incarnation: string
  readonly version: number
  readonly revision: string
  readonly state: JsonObject
  /** When the first entry after it was committed. */
  readonly firstAt: number
  /** Where the entries lead, and their length, UTF-16 units. */
  readonly head: Head
  readonly size: number
}

/** A log that is no longer than this keeps all its entries, but for those too old (see `Retention`). */
const surelyKept = 1_048_576

/** What reads of a context's past share while it is live: the reading of its log, and the state at which the latest delta began. */
export class Past {
  /** Reads of the log under way, by the head that is known to be in it and the version after which it is read. */
  readonly #reads = new Map<string, Promise<readonly LogEntry[]>>()
  #origin: Origin | null = null
  #step: Step | null = null

  /** The log after a version, read when the head was already stored. */
  log({ head }: KnownContext, after: number, read: () => Promise<readonly LogEntry[]>): Promise<readonly LogEntry[]> {
    const name = `${after} ${head.revision}`
    const known = this.#reads.get(name)
    if (known) return known
    const reading = read().finally(() => this.#reads.delete(name))
    this.#reads.set(name, reading)
    return reading
  }

  /** Told of a batch of this node that was stored. */
  committed({ base, head, entries }: Pick<CommitBatch, 'base' | 'head' | 'entries'>): void {
    if (this.#origin !== null && sameHead(this.#origin.head, base)) this.#goOn(this.#origin, head, entries)
  }

  /** Reads what was committed since the log was last known, where a delta since a version is to lead further. */
  async follow(now: KnownContext, version: number, read: (after: number) => Promise<readonly LogEntry[]>): Promise<void> {
    const origin = this.#origin
    const { head } = now
    if (origin?.version !== version || origin.incarnation !== head.incarnation || origin.head.version >= head.version) return
    const after = origin.head.version
    const log = await this.log(now, after, () => read(after))
    const entries = log.slice(0, head.version - after)
    const leads = entries.at(-1)?.revision === head.revision && followsOn(origin.head, entries)
    if (leads && this.#origin === origin) this.#goOn(origin, head, entries)
  }

  #goOn(origin: Origin, head: Head, entries: readonly LogEntry[]): void {
    this.#origin = { ...origin, head, size: origin.size + lengthOf(entries) }
  }

  /**
   * The delta of several commits since a version, where it is known without a look at the log, and all that leads there is certainly still in it.
   * @param revision of that version; undefined: any
   * @param oldest time before which entries may have been removed
   */
  since(
    contextId: string,
    now: KnownContext,
    { version, revision }: { readonly version: number; readonly revision?: string | undefined },
    oldest: number,
    itemKey: string | null,
  ): Step | null {
    const origin = this.#origin
    if (origin === null || origin.version !== version || now.head.version <= version + 1) return null
    if (!sameHead(origin.head, now.head) || origin.firstAt < oldest || origin.size > surelyKept) return null
    return revision === undefined || revision === origin.revision ? this.#composed(contextId, now, origin, itemKey) : null
  }

  /**
   * One delta that the entries come to, which lead to a context as it is now.
   * @param itemKey null: the changes one by one are not wanted
   */
  step(contextId: string, now: KnownContext, entries: readonly LogEntry[], itemKey: string | null): Step {
    const { version, baseRevision: revision, committedAt: firstAt } = entries[0]!
    const { head } = now
    const { incarnation } = head
    const last = this.#origin
    const isKnown = last?.revision === revision && last.version === version - 1 && last.incarnation === incarnation
    const state = isKnown ? last.state : stateBefore(now, entries)
    const origin = { incarnation, version: version - 1, revision, state, firstAt, head, size: lengthOf(entries) }
    if (!isKnown) this.#step = null
    this.#origin = origin
    return this.#composed(contextId, now, origin, itemKey)
  }

  #composed(contextId: string, now: KnownContext, { version, state }: Origin, itemKey: string | null): Step {
    if (this.#step?.delta.revision !== now.head.revision) this.#step = composed(contextId, version, state, now, itemKey)
    return this.#step
  }
}

const lengthOf = (entries: readonly LogEntry[]): number => entries.reduce((sum, { text }) => sum + text.length, 0)

function stateBefore(now: KnownContext, entries: readonly LogEntry[]): JsonObject {
  return applyChanges(
    now.state!,
    entries.toReversed().flatMap(({ text }) => invert(decodeLogEntry(text).changes)),
  )
}
