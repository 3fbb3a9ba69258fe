import type { Verdict } from '@contextd/protocol'
import { entriesTrimmed, isExpired, recordGraceMs, recordsPrunedPerStep } from '../../commits/commit-step.ts'
import type { CommitBatch, CommitResult, LockDemand, MemberAnswer, StreamAnswer, StreamPosition } from '../backend.ts'
import { recordCutoff } from '../store-model.ts'
import { decodeEntries, encodeEntry, headOf } from './replies.ts'
import { decodeVerdict, encodeVerdict } from './verdict-text.ts'

/** Members of a batch with consecutive numbers of one stream, so that the script checks them in one go. */
interface Run {
  readonly first: StreamPosition
  readonly expired: boolean
  /** Places in the batch. */
  readonly members: number[]
  /** A line for each verdict. */
  lines: string
}

/** Lua takes no more values at once; a batch of the engine is far smaller. */
const mostOfABatch = 3_000

/** A batch on its way to the commit script. */
export class ScriptBatch {
  readonly #batch: CommitBatch
  readonly #streams = new Map<string, Run[]>()
  readonly #runs: Run[] = []
  /** What is demanded of locks, each once, and its place. */
  readonly #demands: LockDemand[] = []
  readonly #places = new Map<string, number>()

  /** @throws {TypeError} the batch is too long, or a revision or stream has white space */
  constructor(batch: CommitBatch) {
    if (batch.members.length > mostOfABatch) throw new TypeError(`A batch has at most ${mostOfABatch} members.`)
    for (const { baseRevision } of batch.entries) {
      if (/\s/.test(baseRevision)) throw new TypeError('A revision has no white space.')
    }
    this.#batch = batch
    batch.members.forEach(({ stream, verdict, locks = [] }, member) => {
      if (stream !== null) this.#add(stream, verdict, member)
      for (const demand of locks) this.#demand(demand)
    })
    for (const runs of this.#streams.values()) this.#runs.push(...runs)
  }

  /** The script's ARGV; `message` is what it publishes. */
  arguments(channel: string, message: string): string[] {
    const { base, head, now, sessionTtlMs, entries, snapshot, updatedBy, schema, remove, retention } = this.#batch
    const args = [
      String(now),
      String(sessionTtlMs + recordGraceMs),
      String(recordCutoff(now, sessionTtlMs)),
      String(recordsPrunedPerStep),
      base.incarnation,
      String(base.version),
      base.revision,
      head.incarnation,
      String(head.version),
      head.revision,
      JSON.stringify(updatedBy),
      remove ? '1' : '',
      snapshot ?? '',
      String(snapshot?.length ?? 0),
      String(entries.reduce((sum, { text }) => sum + text.length, 0)),
      String(retention.before),
      String(retention.softSize),
      String(retention.hardSize),
      String(retention.maxVersions),
      String(entriesTrimmed(this.#batch)),
      channel,
      message,
      String(entries.length),
      String(this.#streams.size),
      String(schema),
      String(this.#demands.length),
    ]
    for (const { key, token } of this.#demands) args.push(key, tokenText(token))
    for (const entry of entries) args.push(encodeEntry(entry))
    args.push(...this.#streams.keys())
    for (const runs of this.#streams.values()) {
      args.push(String(runs.length))
      for (const { first, expired, members, lines } of runs) {
        args.push(expired ? '1' : '', String(first.epoch), String(first.seq), String(members.length), String(first.settled), lines)
      }
    }
    return args
  }

  /** What the script's reply means; `begun`: it has put the first entries into a log that was empty. */
  result(reply: unknown): { readonly result: CommitResult; readonly begun: boolean } {
    const [type, ...rest] = reply as readonly string[]
    if (type === 'committed') return { result: { type }, begun: rest[0] === '1' && this.#batch.entries.length > 0 }
    if (type === 'conflict') return { result: this.#conflict(reply), begun: false }
    const answers = type === 'members' ? this.#streamAnswers(rest) : this.#lockAnswers(rest)
    return { result: { type: 'members', answers }, begun: false }
  }

  #conflict(reply: unknown): CommitResult {
    const [, incarnation, version, revision, known, items] = reply as readonly [string, string, string, string, string, string[]]
    const missed = known === '1' ? decodeEntries(items, this.#batch.base.version + 1, revision) : null
    return { type: 'conflict', head: headOf(incarnation, version, revision), missed }
  }

  #add(stream: StreamPosition, verdict: Verdict, member: number): void {
    const runs = this.#streams.get(stream.key) ?? []
    if (runs.length === 0) this.#streams.set(stream.key, runs)
    const expired = isExpired(stream, this.#batch.now, this.#batch.sessionTtlMs)
    const line = `${stream.seq} ${encodeVerdict(verdict)}\n`
    const last = runs.at(-1)
    if (!last || !follows(last, stream, expired)) {
      runs.push({ first: stream, expired, members: [member], lines: line })
      return
    }
    last.members.push(member)
    last.lines += line
  }

  #demand(demand: LockDemand): void {
    const name = nameOf(demand)
    if (this.#places.has(name)) return
    this.#places.set(name, this.#demands.length)
    this.#demands.push(demand)
  }

  #lockAnswers(places: readonly string[]): { member: number; answer: MemberAnswer }[] {
    const unmet = new Set(places.map(Number))
    return this.#batch.members.flatMap(({ locks = [] }, member) => {
      const demand = locks.find((lock) => unmet.has(this.#places.get(nameOf(lock))!))
      return demand ? { member, answer: { type: 'locked', key: demand.key } } : []
    })
  }

  #streamAnswers(reply: readonly string[]): { member: number; answer: StreamAnswer }[] {
    const answers: { member: number; answer: StreamAnswer }[] = []
    for (let at = 0; at < reply.length;) {
      const { members } = this.#runs[Number(reply[at])]!
      const type = reply[at + 1] as StreamAnswer['type']
      at += 2
      if (type !== 'repeat') {
        for (const member of members) answers.push({ member, answer: { type } })
        continue
      }
      const count = Number(reply[at])
      at += 1
      for (const member of members.slice(0, count)) {
        answers.push({ member, answer: { type, verdict: decodeVerdict(reply[at]!) } })
        at += 1
      }
    }
    return answers.toSorted((a, b) => a.member - b.member)
  }
}

const tokenText = (token: number | null): string => (token === null ? '' : String(token))
const nameOf = ({ key, token }: LockDemand): string => `${tokenText(token)} ${key}`

function follows({ first, expired, members }: Run, stream: StreamPosition, streamExpired: boolean): boolean {
  return (
    stream.seq === first.seq + members.length &&
    stream.epoch === first.epoch &&
    stream.settled === first.settled &&
    expired === streamExpired
  )
}
