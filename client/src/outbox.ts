import { ContextdError } from '@contextd/protocol'
import type {
  Change,
  ErrorCode,
  Head,
  JsonObject,
  JsonValue,
  LockToken,
  Operation,
  StreamRecord,
  Verdict,
  WireCommit,
  WireError,
} from '@contextd/protocol'
import type { NewWrite, ReplicaEvent } from './replica-event.ts'

/** A number of the stream that has not left the outbox, and the commit that has it. */
export interface Entry {
  /** Its number; never used for another commit (P3). */
  seq: number
  /** Id of the write; null: the number is not used, and goes as a commit without operations. */
  id: string | null
  operations: readonly Operation[]
  remove: boolean
  readonly initial: JsonObject
  readonly lock: LockToken | undefined
  readonly ifVersion: number | undefined
  /** Life of the context that it was written on; `''`: it was absent; null: the life that the commit before it will create. */
  incarnation: string | null
  /** It was sent, on whatever connection (P14). */
  sent: boolean
  /** It was sent since the last sync, and not answered. */
  inFlight: boolean
  /** The verdict, told but not seen (P8). */
  told: Verdict | null
  /** The write has its answer, whatever comes now. */
  settled: boolean
  /** How often it went wrong in a way that would only come again (P15). */
  faults: number
  /** Version that it makes when nothing comes in between; 0: unknown. */
  expected: number
  size: number
  /** What it was last applied to, and what came of it; null: absent. */
  base: JsonObject | null
  baseIncarnation: string | null
  after: JsonObject | null
  changes: readonly Change[]
}

/** What bounds a message. */
export interface SendLimits {
  /** Most commits that the server has not been told to forget (P4). */
  readonly inFlight: number
  /** Longest message, bytes; 0: any. */
  readonly messageSize: number
}

/** Faults after which a commit is given up, so that it cannot block the queue (P15). */
const mostFaults = 5
/** What a message has besides its commits, bytes, at most. */
const envelopeSize = 1_024

/** The commits of one stream that were not seen in the server's state yet, by number (P3, P4, P8, P11, P14, P15). Pure. */
export class Outbox {
  /** Renumbering after a rollback (P11). */
  epoch = 0
  /** Highest number whose verdict the client was told (P11). */
  told = 0
  /** Writes without a verdict. */
  undecided = 0
  /** Life of the context as the state shows it; `''`: absent, or unknown. */
  incarnation = ''
  /** What has to be told, in order. */
  events: ReplicaEvent[] = []
  readonly #contextId: string
  #entries = new Map<number, Entry>()
  #next = 1

  constructor(contextId: string) {
    this.#contextId = contextId
  }

  /** In order of their numbers. */
  get entries(): Iterable<Entry> {
    return this.#entries.values()
  }
  get size(): number {
    return this.#entries.size
  }
  /** Every number up to this one has left the outbox (P4). */
  get settled(): number {
    const [first] = this.#entries.keys()
    return (first ?? this.#next) - 1
  }
  get(seq: number): Entry | undefined {
    return this.#entries.get(seq)
  }
  find(id: string): Entry | undefined {
    for (const entry of this.#entries.values()) if (entry.id === id) return entry
    return undefined
  }
  /** Lowest number that was sent since the last sync and was not seen; null: none. */
  get unanswered(): number | null {
    for (const entry of this.#entries.values()) if (entry.inFlight || entry.told !== null) return entry.seq
    return null
  }
  /** The commit with the highest number; undefined: it has left. */
  get newest(): Entry | undefined {
    return this.#entries.get(this.#next - 1)
  }

  /** Takes the next number for a write. */
  add(write: NewWrite, incarnation: string | null, initial: JsonObject, expected: number): Entry {
    const entry: Entry = {
      ...emptyEntry(this.#next),
      id: write.id,
      operations: write.operations,
      remove: write.remove ?? false,
      initial,
      lock: write.lock,
      ifVersion: write.ifVersion,
      incarnation,
      expected,
    }
    this.#next += 1
    this.undecided += 1
    this.#entries.set(entry.seq, entry)
    return entry
  }

  /** Takes back a number that nobody has heard of. */
  giveBack(entry: Entry): void {
    this.#entries.delete(entry.seq)
    this.#next -= 1
    this.undecided -= 1
  }

  /** Commits to send now, in order, as one message; null: none. */
  take({ inFlight, messageSize }: SendLimits): WireCommit[] | null {
    const commits: WireCommit[] = []
    const last = this.settled + inFlight
    const room = messageSize > 0 ? messageSize - envelopeSize : Number.POSITIVE_INFINITY
    let size = 0
    for (const entry of this.#entries.values()) {
      if (entry.inFlight && entry.faults > 0) break
      if (entry.told !== null || entry.inFlight) continue
      // P3: a commit on what another one is to create waits until that has a verdict.
      if (entry.seq > last || entry.incarnation === null) break
      // A commit that went wrong travels alone, so that it is known what went wrong.
      if (entry.faults > 0 && commits.length > 0) break
      let commit = wireCommit(entry)
      entry.size ||= sizeOf(commit, room)
      if (entry.size > room) {
        this.refuse(entry, tooLarge(this.#contextId, entry.size, messageSize))
        commit = wireCommit(entry)
        entry.size = sizeOf(commit, room)
      }
      if (commits.length > 0 && size + entry.size > room) break
      size += entry.size
      entry.sent = true
      entry.inFlight = true
      commits.push(commit)
      if (entry.faults > 0) break
    }
    return commits.length > 0 ? commits : null
  }

  /** A verdict (P4, P8). Applied and nothing leave when they are seen in the state; a refusal leaves at once, and so does an unused number. */
  tell(seq: number, verdict: Verdict, seen: boolean): void {
    this.told = Math.max(this.told, seq)
    const entry = this.#entries.get(seq)
    if (entry === undefined) return
    entry.inFlight = false
    this.#resolve(entry, verdict.type === 'refused' ? {} : verdict)
    if (entry.id === null) return this.#leave(entry)
    if (verdict.type === 'refused') {
      this.#leave(entry)
      this.#lower(entry)
      this.#event({ type: 'refused', id: entry.id, operations: entry.operations, error: errorOf(verdict, this.#contextId) })
      return
    }
    if (entry.told === null) {
      this.undecided -= 1
      if (verdict.type === 'nothing') this.#lower(entry)
    }
    entry.told = verdict
    if (!entry.settled) {
      entry.settled = true
      const rebased = verdict.head !== null && entry.expected > 0 && verdict.head.version > entry.expected
      this.#event({ type: 'settled', id: entry.id, verdict: verdict.type, head: verdict.head, rebased })
    }
    if (seen) this.#leave(entry)
  }

  /** P15: no verdict; it is sent again, and everything after it, which cannot have been taken. */
  hold(seq: number, error: ContextdError): void {
    const entry = this.#entries.get(seq)
    if (entry === undefined || entry.told !== null) return
    for (const later of this.#entries.values()) if (later.seq >= seq && later.told === null) later.inFlight = false
    if (error.code === 'internal' && this.fault(entry)) return
    this.#event({ type: 'held', error, ...(entry.id === null ? {} : { id: entry.id }) })
  }

  /** Counts a fault of a commit; at the fifth it is given up, and true comes back. */
  fault(entry: Entry): boolean {
    entry.faults += 1
    if (entry.faults < mostFaults || entry.id === null) return false
    const message = `The server failed on a write to "${this.#contextId}" ${mostFaults} times; it was given up. Offer it again when the server has been repaired.`
    this.refuse(entry, new ContextdError('invalid_message', message, { contextId: this.#contextId }))
    return true
  }

  /** Refuses a commit that has no verdict; its number goes as an empty commit (P3). */
  refuse(entry: Entry, error: ContextdError): void {
    if (entry.id !== null) this.#event({ type: 'refused', id: entry.id, operations: entry.operations, error })
    this.empty(entry)
  }

  /** Makes a number one that is not used (P3). */
  empty(entry: Entry): void {
    if (entry.id !== null && entry.told === null) this.undecided -= 1
    const { seq, sent } = entry
    this.#resolve(entry, {})
    this.#lower(entry)
    Object.assign(entry, emptyEntry(seq), { sent })
  }

  /** Forgets what made no change, once the state has reached the version at which it made none (P8). */
  leaveReached(reached: (head: Head) => boolean): void {
    for (const entry of this.#entries.values()) if (entry.told?.type === 'nothing' && reached(entry.told.head)) this.#leave(entry)
  }

  /**
   * What a sync says of the stream (P8, P10, P11): `covered` is the record that the state goes with; with `fenced` the epoch was raised to
   * that of `record`. What it does not cover is sent again, with its number.
   */
  synced(record: StreamRecord, covered: StreamRecord): void {
    const verdicts = new Map(covered.verdicts)
    for (const { seq } of this.#entries.values()) {
      if (seq <= covered.last) this.tell(seq, verdicts.get(seq) ?? { type: 'applied', head: null }, true)
    }
    if (covered !== record || record.epoch !== this.epoch) this.#fence(record)
    else this.told = Math.max(this.told, record.last)
    for (const entry of this.#entries.values()) {
      entry.inFlight = false
      if (entry.told !== null && entry.id !== null) this.undecided += 1
      entry.told = null
    }
  }

  /** P11: numbers stay; those that the server lost and the client no longer holds go as empty commits. */
  #fence(record: StreamRecord): void {
    this.epoch = record.epoch
    this.told = record.last
    const held = this.#entries
    this.#entries = new Map()
    for (let seq = Math.min(record.last + 1, this.#next); seq < this.#next; seq += 1)
      this.#entries.set(seq, held.get(seq) ?? { ...emptyEntry(seq), sent: true })
  }

  /** P14: a new session. What was never sent is numbered from 1; what was sent and not answered is given back as `expired`. */
  renew(): void {
    const unsent: Entry[] = []
    const lost: Entry[] = []
    for (const entry of this.#entries.values()) {
      if (entry.id === null || entry.told !== null) continue
      if (entry.sent) lost.push(entry)
      else unsent.push(entry)
    }
    for (const entry of lost) this.refuse(entry, expired(this.#contextId))
    this.#entries = new Map()
    this.#next = 1
    this.epoch = 0
    this.told = 0
    this.undecided = unsent.length
    for (const entry of unsent) {
      entry.seq = this.#next
      this.#entries.set(entry.seq, entry)
      this.#next += 1
    }
  }

  /**
   * P3: what a creating commit came to, or else the state, tells those that wait for it their incarnation; without one the first of them creates.
   * Those behind the next creating commit wait for that one.
   */
  #resolve(creating: Entry, verdict: { readonly head?: Head | null }): void {
    if (creating.incarnation !== '' || creating.id === null) return
    const incarnation = verdict.head?.incarnation || this.incarnation
    for (const later of this.#entries.values()) {
      if (later.seq <= creating.seq || later.id === null) continue
      if (later.incarnation === '') return
      if (later.incarnation !== null) continue
      later.incarnation = incarnation
      if (incarnation === '') return
    }
  }

  /** The commits after one that makes no version make one less. */
  #lower(entry: Entry): void {
    for (const later of this.#entries.values()) if (later.seq > entry.seq) later.expected -= 1
  }

  #leave(entry: Entry): void {
    if (entry.id !== null && entry.told === null) this.undecided -= 1
    this.#entries.delete(entry.seq)
  }

  #event(event: ReplicaEvent): void {
    this.events.push(event)
  }
}

const noState: JsonObject = Object.freeze({})
function emptyEntry(seq: number): Entry {
  return {
    seq,
    id: null,
    operations: [],
    remove: false,
    initial: noState,
    lock: undefined,
    ifVersion: undefined,
    incarnation: '',
    sent: false,
    inFlight: false,
    told: null,
    settled: false,
    faults: 0,
    expected: 0,
    size: 0,
    base: null,
    baseIncarnation: null,
    after: null,
    changes: [],
  }
}

function wireCommit({ seq, id, operations, remove, initial, lock, ifVersion, incarnation }: Entry): WireCommit {
  const commit: WireCommit = { seq, incarnation: incarnation ?? '', operations: operations as unknown as JsonValue[] }
  if (id === null) return commit
  if (remove) commit.delete = 1
  else if (incarnation === '') commit.initial = initial
  if (lock) commit.lock = lock
  if (ifVersion !== undefined) commit.ifVersion = ifVersion
  return commit
}

/** Length of a commit in a message, bytes; counted exactly only where it matters. */
function sizeOf(commit: WireCommit, room: number): number {
  const text = JSON.stringify(commit)
  return text.length * 3 <= room ? text.length * 3 : new TextEncoder().encode(text).length + 1
}

/** The error that a message of the server tells of. */
export function errorOf({ code, message, details }: WireError, contextId?: string): ContextdError {
  const options = {
    ...(details === undefined || details === null ? {} : { details: details as never }),
    ...(contextId === undefined ? {} : { contextId }),
  }
  return new ContextdError<ErrorCode>(code, message, options)
}

function tooLarge(contextId: string, size: number, limit: number): ContextdError {
  return new ContextdError(
    'too_large',
    `A write to "${contextId}" has ${size} bytes; the server takes ${limit} (messageBytes). Split it.`,
    { contextId },
  )
}
function expired(contextId: string): ContextdError {
  const message = `Whether a write to "${contextId}" was applied is no longer known: its session has expired. Look at the state, and offer it again if it is missing.`
  return new ContextdError('expired', message, { contextId })
}
