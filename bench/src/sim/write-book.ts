import type { Head, Verdict, WireCommit } from '@contextd/protocol'
import type { StreamPosition, SyncStream } from 'contextd/cores'
import type { Ledger, TokenListener } from './ledger.ts'
import { show } from './ledger.ts'
import { Violation } from './violation.ts'

/** What a caller was told of a write, and how often the store had been set back by then. */
export interface Told {
  readonly type: 'applied' | 'nothing' | 'refused' | 'unknown'
  readonly code: string | null
  readonly rollbacks: number
}

/** A write, from its call to its end. Its token is its id, and is in the state exactly when it is applied. */
export interface BookedWrite {
  readonly token: string
  readonly contextId: string
  readonly who: string
  /** False: a write that should change nothing, and carries no token. */
  readonly marked: boolean
  /** Whether it applies to every state, so that it must be visible while it is pending. */
  readonly plain: boolean
  /** Incarnation that it was written on, or, for one on an absent context, that it named when it was sent; `''`: absent, null: any. */
  incarnation: string | null
  /** The absent head on which it was made, with others of its client; null: there was a state. */
  madeOn: string | null
  /** It was sent at least once. */
  sent: boolean
  told: Told | null
  /** Its caller is gone, and nobody is told any more. */
  orphaned: boolean
}

/** How the store decided a number, and in which of its histories. */
interface Decision {
  readonly type: Verdict['type']
  readonly rollbacks: number
}
/** The number under which a refusal was recorded, and the store's history in which it was. */
interface Refusal {
  readonly stream: string
  readonly seq: number
  readonly rollbacks: number
}
/** A sync of a stream: the highest number that the client had been told, and the store's history in which it ran. */
interface StreamSync {
  readonly told: number
  readonly rollbacks: number
}

/** Codes with which a write may be refused that applies to every state. */
const explained: ReadonlySet<string> = new Set(['not_found', 'expired', 'aborted'])

/** Holds every write, what its caller was told and what the store decided, against each other (G3, G8, P3, P4). */
export class WriteBook implements TokenListener {
  readonly writes = new Map<string, BookedWrite>()
  readonly #ledger: (contextId: string) => Ledger
  /** Token under each number of each stream; null: an empty commit. */
  readonly #numbers = new Map<string, string | null>()
  readonly #decisions = new Map<string, Decision>()
  readonly #refusals = new Map<string, Refusal>()
  readonly #lives = new Map<string, { readonly incarnation: string; readonly rollbacks: number }>()
  readonly #syncs = new Map<string, StreamSync[]>()
  /** Refused writes that were applied all the same, in a history that had forgotten the refusal: not excludable. */
  readonly #excused = new Set<string>()

  constructor(ledger: (contextId: string) => Ledger) {
    this.#ledger = ledger
  }

  add(write: Omit<BookedWrite, 'told' | 'orphaned' | 'sent'>): BookedWrite {
    const booked: BookedWrite = { ...write, told: null, orphaned: false, sent: false }
    this.writes.set(write.token, booked)
    return booked
  }

  /** A commit leaves a client: its number is this write's for ever (P3). */
  sent(contextId: string, stream: string, { seq, incarnation }: WireCommit, token: string | null): void {
    const write = token === null ? undefined : this.writes.get(token)
    // Written on an absent context, or behind a delete: it names the life that came of that.
    if (write && !write.incarnation) write.incarnation = incarnation
    if (write) write.sent = true
    const key = `${contextId} ${stream} ${seq}`
    const known = this.#numbers.get(key)
    if (known !== undefined && known !== token && token !== null) {
      throw new Violation('numbers', `${stream} gives number ${seq} of ${contextId} to ${token}, after ${known ?? 'an empty commit'}`)
    }
    this.#numbers.set(key, token)
  }

  /** A client has a new session: what came of the writes of the old one is not known to those that go on in it. */
  renewed(who: string, contextId: string): void {
    for (const write of this.writes.values()) if (write.who === who && write.contextId === contextId) write.madeOn = null
  }

  /** The store recorded a verdict, in the very step that wrote the commit. */
  decided(contextId: string, { key: stream, seq }: StreamPosition, { type }: Verdict): void {
    const key = `${contextId} ${stream} ${seq}`
    const { rollbacks } = this.#ledger(contextId)
    const earlier = this.#decisions.get(key)
    if (earlier && earlier.rollbacks === rollbacks) {
      throw new Violation('one verdict', `number ${seq} of ${stream} in ${contextId} was ${earlier.type}, and now is ${type}`)
    }
    this.#decisions.set(key, { type, rollbacks })
    const token = this.#numbers.get(key)
    if (type === 'refused' && token) this.#refusals.set(token, { stream: `${contextId} ${stream}`, seq, rollbacks })
  }

  /** A sync of a stream ran at the store. */
  synced(contextId: string, { key, told }: SyncStream): void {
    const stream = `${contextId} ${key}`
    const sync = { told, rollbacks: this.#ledger(contextId).rollbacks }
    const syncs = this.#syncs.get(stream)
    if (syncs) syncs.push(sync)
    else this.#syncs.set(stream, [sync])
  }

  /** The store applied a write: never to another life of the context than it was written on (P12). */
  applied(token: string, head: Head): void {
    const write = this.writes.get(token)
    if (!write) throw new Violation('history', `${token} is applied, and nobody wrote it`)
    if (write.incarnation && write.incarnation !== head.incarnation) {
      throw new Violation('incarnation', `${token} of ${write.who} was written on ${write.incarnation}, and applied as ${show(head)}`)
    }
    this.#checkLife(write, head)
    if (this.#isExcusable(write)) this.#excused.add(token)
    else this.#excused.delete(token)
  }

  /** A rollback to a history that had the write: what was told since does not count. */
  broughtBack(token: string): void {
    this.#excused.add(token)
  }

  /** A caller is told that a write is done. `head` as the verdict has it. */
  settled(token: string, type: 'applied' | 'nothing' | 'unknown', head: Head | null): void {
    const write = this.#tell(token, { type, code: null })
    if (type === 'nothing' && write.marked)
      throw new Violation('told', `${token} of ${write.who} was told nothing, but it changes every state`)
    if (type !== 'applied') return
    // Only what the client has settled is told without its version, and the client asks no more about that (P4).
    if (head === null) throw new Violation('told', `${token} of ${write.who} was told applied without its version`)
    if (!write.marked) return
    const events = this.#ledger(write.contextId).eventsOf(token)
    if (!events.some((commit) => commit.head.revision === head.revision))
      throw new Violation('told', `${token} of ${write.who} was told applied as ${show(head)}, and is not there`)
  }

  /** A caller is told that a write is refused. */
  refused(token: string, code: string): void {
    const write = this.#tell(token, { type: 'refused', code })
    if (write.plain && !explained.has(code))
      throw new Violation('told', `${token} of ${write.who} was refused (${code}), but it fits every state`)
  }

  /** At the end: nobody waits, and what was told is true. */
  check(): void {
    for (const write of this.writes.values()) {
      if (write.told === null) {
        if (!write.orphaned) throw new Violation('pending', `${write.token} of ${write.who} in ${write.contextId} never got a verdict`)
      } else if (write.told.type === 'refused' && write.told.code !== 'expired') this.#checkRefused(write)
    }
  }

  #tell(token: string, told: Omit<Told, 'rollbacks'>): BookedWrite {
    const write = this.writes.get(token)
    if (!write) throw new Violation('told', `${token} is told ${told.type}, but nobody wrote it`)
    const { rollbacks } = this.#ledger(write.contextId)
    const earlier = write.told
    if (earlier) {
      const mayTurn = earlier.type !== 'refused' && told.type === 'refused' && rollbacks > 0
      if (!mayTurn)
        throw new Violation('one verdict', `${token} of ${write.who} was told ${earlier.type}, and now ${told.type} ${told.code ?? ''}`)
    }
    write.told = { ...told, rollbacks }
    return write
  }

  #checkRefused({ token, contextId, who, told }: BookedWrite): void {
    if (!this.#ledger(contextId).isApplied(token) || this.#excused.has(token)) return
    throw new Violation('told', `${token} of ${who} was told refused (${told?.code}), and is applied`)
  }

  /** What a client writes on one absent head belongs to one life: the next ones wait for what the first comes to (P3). */
  #checkLife({ token, contextId, who, madeOn }: BookedWrite, { incarnation }: Head): void {
    if (madeOn === null) return
    const name = `${who} ${contextId} ${madeOn}`
    const { rollbacks } = this.#ledger(contextId)
    const life = this.#lives.get(name)
    if (!life || life.rollbacks !== rollbacks) this.#lives.set(name, { incarnation, rollbacks })
    else if (life.incarnation !== incarnation) {
      throw new Violation('incarnation', `${token} of ${who} creates ${incarnation}; what it wrote before went to ${life.incarnation}`)
    }
  }

  /** Refused is absent, except where a rollback took the refusal away and a late request runs before the client's next sync. */
  #isExcusable({ token, contextId }: BookedWrite): boolean {
    const refusal = this.#refusals.get(token)
    if (!refusal || this.#ledger(contextId).rollbacks <= refusal.rollbacks) return false
    const syncs = this.#syncs.get(refusal.stream) ?? []
    return !syncs.some(({ told, rollbacks }) => rollbacks > refusal.rollbacks && told >= refusal.seq)
  }
}
