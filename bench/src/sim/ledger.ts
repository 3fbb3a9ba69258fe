import { applyChanges, equal } from '@contextd/protocol'
import type { Change, Head, JsonObject, JsonValue } from '@contextd/protocol'
import { decodeLogEntry, noHead } from 'contextd/cores'
import type { CommitBatch, LogEntry } from 'contextd/cores'
import { Violation } from './violation.ts'

/** A commit that the store made, with the state after it. */
export interface LedgerCommit {
  readonly head: Head
  /** Null: the first of its incarnation. */
  readonly parent: LedgerCommit | null
  readonly text: string
  readonly tokens: readonly string[]
  readonly state: JsonObject
  /** Why the store no longer has it. */
  lost: null | 'rolled back' | 'deleted'
}

/** A moment of the store's history, to which it can be set back. */
export interface LedgerMark {
  readonly head: Head
  readonly tip: LedgerCommit | null
  readonly applied: ReadonlyMap<string, LedgerCommit>
  readonly numbers: ReadonlyMap<string, number>
}

/** Whether two heads are the same version. Not the cores' own comparison: that one is under test. */
const sameHead = (a: Head, b: Head): boolean => a.incarnation === b.incarnation && a.version === b.version && a.revision === b.revision

/** Learns what becomes of tokens. */
export interface TokenListener {
  applied(token: string, head: Head): void
  /** The store was set back to a history that has the token. */
  broughtBack(token: string): void
}

/** How a client's new head relates to its old one. */
export type Relation = 'same' | 'forward' | 'back' | 'diverged' | 'other incarnation' | 'created' | 'gone' | 'absent'

/**
 * The true history of one context, written down as the store makes it. It keeps its own states, and checks that versions are contiguous (G1),
 * that no token is applied twice in one history (G3), and that a session's commits keep their order (G6).
 */
export class Ledger {
  readonly contextId: string
  /** How often the store was set back. */
  rollbacks = 0
  /** Highest version at which the store's log ever began. */
  trimmedTo = 1
  #head: Head = noHead
  #tip: LedgerCommit | null = null
  /** Tokens applied in the store's present history, those of deleted incarnations included. */
  #applied = new Map<string, LedgerCommit>()
  /** Highest number applied by actor, in the store's present history. */
  #numbers = new Map<string, number>()
  readonly #byRevision = new Map<string, LedgerCommit>()
  readonly #incarnations = new Set<string>()
  readonly #eventsOf = new Map<string, LedgerCommit[]>()
  readonly #tell: TokenListener

  /** @param tell what tokens come up, and how */
  constructor(contextId: string, tell: TokenListener) {
    this.contextId = contextId
    this.#tell = tell
  }

  get head(): Head {
    return this.#head
  }
  /** State at head; null: absent. */
  get state(): JsonObject | null {
    return this.#tip?.state ?? null
  }
  get tip(): LedgerCommit | null {
    return this.#tip
  }

  /** All commits that ever carried a token, rolled back ones included. */
  eventsOf(token: string): readonly LedgerCommit[] {
    return this.#eventsOf.get(token) ?? []
  }

  /** Whether the token is applied in the store's present history. */
  isApplied(token: string): boolean {
    return this.#applied.has(token)
  }

  /** The commit of a version that a client says it has. */
  commitOf(head: Head): LedgerCommit | null {
    const commit = this.#byRevision.get(head.revision)
    return commit && sameHead(commit.head, head) ? commit : null
  }

  /** Takes over what the store has just written. */
  committed(batch: CommitBatch): void {
    if (!sameHead(batch.base, this.#head)) {
      throw new Violation('order', `${this.contextId}: committed on ${show(batch.base)}, but the head was ${show(this.#head)}`)
    }
    if (batch.remove) this.#remove()
    else for (const entry of batch.entries) this.#append(entry, batch.head.incarnation)
    if (this.#tip ? !sameHead(this.#tip.head, batch.head) : batch.head.version !== 0) {
      throw new Violation('order', `${this.contextId}: the batch says head ${show(batch.head)}, its entries lead elsewhere`)
    }
    this.#head = batch.head
  }

  /** The absent context's head is gone too. */
  forgotten(): void {
    if (this.#tip) throw new Violation('history', `${this.contextId} is forgotten at ${show(this.#head)}`)
    this.#head = noHead
  }

  /** The present moment, to come back to. */
  mark(): LedgerMark {
    return { head: this.#head, tip: this.#tip, applied: new Map(this.#applied), numbers: new Map(this.#numbers) }
  }

  /** The store was set back. */
  restored(mark: LedgerMark): void {
    this.rollbacks += 1
    for (let commit = this.#tip; commit; commit = commit.parent) commit.lost = 'rolled back'
    for (let commit = mark.tip; commit; commit = commit.parent) commit.lost = null
    for (const token of mark.applied.keys()) if (!this.#applied.has(token)) this.#tell.broughtBack(token)
    this.#head = mark.head
    this.#tip = mark.tip
    this.#applied = new Map(mark.applied)
    this.#numbers = new Map(mark.numbers)
  }

  /** How a head that a client had relates to the one that it has now. */
  relation(from: Head | null, to: Head | null): Relation {
    if (to === null || to.version === 0) return from === null || from.version === 0 ? 'absent' : 'gone'
    if (from === null || from.version === 0) return 'created'
    if (sameHead(from, to)) return 'same'
    if (from.incarnation !== to.incarnation) return 'other incarnation'
    const [low, high] = from.version < to.version ? [from, to] : [to, from]
    const older = this.#byRevision.get(low.revision)
    let newer = this.#byRevision.get(high.revision) ?? null
    while (newer && newer.head.version > low.version) newer = newer.parent
    if (newer !== older) return 'diverged'
    return from.version < to.version ? 'forward' : 'back'
  }

  #remove(): void {
    for (let commit = this.#tip; commit; commit = commit.parent) commit.lost = 'deleted'
    this.#tip = null
  }

  #append(entry: LogEntry, incarnation: string): void {
    const commit = decodeLogEntry(entry.text)
    const parent = this.#tip
    const where = `${this.contextId} version ${entry.version} ${entry.revision}`
    if (entry.version !== (parent?.head.version ?? 0) + 1 || entry.baseRevision !== this.#baseRevision()) {
      throw new Violation('order', `${where}: does not follow ${show(parent?.head ?? this.#head)}`)
    }
    if (parent ? parent.head.incarnation !== incarnation : this.#isOldIncarnation(incarnation, entry)) {
      throw new Violation('order', `${where}: incarnation ${incarnation} has no business here`)
    }
    if (commit.changes.length === 0) throw new Violation('order', `${where}: a version without a change`)
    this.#incarnations.add(incarnation)
    this.#number(where, commit.author.actor, commit.seq)
    const known = this.#byRevision.get(entry.revision)
    if (known && !(known.text === entry.text && known.parent === parent && known.lost !== null)) {
      throw new Violation('order', `${where}: this revision was given to another commit`)
    }
    const made = known ?? {
      head: { incarnation, version: entry.version, revision: entry.revision },
      parent,
      text: entry.text,
      tokens: tokensIn(commit.changes),
      state: applyChanges(parent?.state ?? {}, commit.changes),
      lost: null,
    }
    made.lost = null
    this.#byRevision.set(entry.revision, made)
    this.#tip = made
    for (const token of made.tokens) this.#apply(where, token, made)
  }

  #baseRevision(): string {
    return this.#tip?.head.revision ?? this.#head.revision
  }

  /** An incarnation comes up again only when its creation was rolled back, and the same attempt is sent again. */
  #isOldIncarnation(incarnation: string, entry: LogEntry): boolean {
    return this.#incarnations.has(incarnation) && !this.#byRevision.has(entry.revision)
  }

  #number(where: string, actor: string, seq: number): void {
    if (seq === 0) return
    const last = this.#numbers.get(actor) ?? 0
    if (seq <= last) throw new Violation('session order', `${where}: number ${seq} of ${actor} comes after number ${last}`)
    this.#numbers.set(actor, seq)
  }

  #apply(where: string, token: string, commit: LedgerCommit): void {
    const earlier = this.#applied.get(token)
    if (earlier) throw new Violation('exactly once', `${where}: ${token} was applied before, as ${show(earlier.head)}`)
    this.#applied.set(token, commit)
    const events = this.#eventsOf.get(token)
    if (events) events.push(commit)
    else this.#eventsOf.set(token, [commit])
    this.#tell.applied(token, commit.head)
  }
}

const tokenShape = /^t\d+$/

function tokensIn(changes: readonly Change[]): string[] {
  const tokens: string[] = []
  const visit = (value: JsonValue | undefined): void => {
    if (typeof value === 'string') {
      if (tokenShape.test(value)) tokens.push(value)
    } else if (value !== null && typeof value === 'object') Object.values(value).forEach(visit)
  }
  for (const { value } of changes) visit(value)
  return tokens
}

/** A head in a message. */
export const show = (head: Head | null): string =>
  head === null ? 'nothing' : `${head.incarnation || 'absent'}@${head.version}/${head.revision || '-'}`

/** Whether a state is the one that the ledger has. */
export const sameState = (a: JsonObject | null | undefined, b: JsonObject | null | undefined): boolean => equal(a ?? null, b ?? null)
