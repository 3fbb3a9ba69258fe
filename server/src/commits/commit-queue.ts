import type { Head, Verdict } from '@contextd/protocol'
import type { CommitBatch, CommitResult, LogEntry, MemberAnswer, StoredContext } from '../backends/backend.ts'
import { buildAttempt } from './commit-attempt.ts'
import type { Attempt, AttemptOptions } from './commit-attempt.ts'
import { lockLost } from './decide.ts'
import type { Decided, Submission } from './decide.ts'
import { fastForward, fromStored } from './known-context.ts'
import type { KnownContext } from './known-context.ts'

/** What became of a submission. */
export type Answer =
  /** `decided`: how it was decided when it was stored; null: it was stored before, and only the verdict is known. */
  | { readonly type: 'verdict'; readonly verdict: Verdict; readonly decided: Decided<unknown> | null }
  | { readonly type: 'gap' | 'fenced' | 'expired' }
  | { readonly type: 'held'; readonly error: unknown }
  /** The commit may have been applied, and no log can tell any more (P7). */
  | { readonly type: 'unknown' }
/** A submission with its answer. */
export interface Answered<T> {
  readonly submission: Submission<T>
  readonly answer: Answer
}

type Waiting<T> = Map<string, Lane<T>>

/** The waiting submissions of one source, in order; taking the first costs the same however many there are. */
class Lane<T> {
  #items: Submission<T>[]
  #start = 0

  constructor(first: Submission<T>) {
    this.#items = [first]
  }

  get empty(): boolean {
    return this.#start === this.#items.length
  }
  get first(): Submission<T> {
    return this.#items[this.#start]!
  }

  append(submission: Submission<T>): void {
    this.#items.push(submission)
  }

  takeFirst(): void {
    this.#start += 1
    if (this.#start < 256 || this.#start * 2 < this.#items.length) return
    this.#items = this.all()
    this.#start = 0
  }

  remove(submission: Submission<T>): void {
    this.#items = this.all().filter((each) => each !== submission)
    this.#start = 0
  }

  all(): Submission<T>[] {
    return this.#items.slice(this.#start)
  }
}

/** Most commits and most UTF-16 units of one batch. */
const batchCommits = 256
const batchSize = 262_144

/**
 * The commits of one context on one node (P6, P7): a queue, and at most one attempt in flight. What arrives meanwhile is the next batch.
 * Pure: the caller carries the attempt to the store and brings back what came of it.
 */
export class CommitQueue<T> {
  readonly contextId: string
  readonly #options: AttemptOptions
  #known: KnownContext | null = null
  #attempt: Attempt<T> | null = null
  /** Waiting submissions by source; whose turn is next comes first. */
  #waiting: Waiting<T> = new Map()
  readonly #numbered = new Map<string, Submission<T>>()
  /** How commits of the server were decided that were sent with unknown outcome, by the revisions under which they may be stored. */
  readonly #tried = new Map<Submission<T>, Map<string, Decided<T>>>()

  constructor(contextId: string, options: AttemptOptions) {
    this.contextId = contextId
    this.#options = options
  }

  /** What the node has in memory of the context; null: it must be loaded. */
  get known(): KnownContext | null {
    return this.#known
  }
  get idle(): boolean {
    return this.#attempt === null && this.#waiting.size === 0
  }
  get inFlight(): boolean {
    return this.#attempt !== null
  }
  get waiting(): boolean {
    return this.#waiting.size > 0
  }
  /** Commits of the server may have been stored, and only the log can tell (P7): `loaded` needs it. */
  get doubtful(): boolean {
    return this.#tried.size > 0
  }

  /** How the members of the attempt in flight were decided; none when there is none. */
  get deciding(): readonly Decided<T>[] {
    return this.#attempt?.decided ?? []
  }

  /** Takes the attempt back before it is sent: those named are refused for a reason that came up, and all are decided again. */
  refuse(refusals: ReadonlyMap<Submission<T>, unknown>): void {
    const attempt = this.#attempt
    if (attempt === null) return
    this.#attempt = null
    for (const [submission, refusal] of refusals) submission.refusal = refusal
    this.#putBack(attempt.decided.map(({ submission }) => submission))
  }

  /** Whether one waits that passes the test. */
  waits(test: (submission: Submission<T>) => boolean): boolean {
    return this.#allWaiting().some((submission) => test(submission))
  }

  /** Those that wait and pass the test are refused for a reason that came up. */
  refuseWaiting(test: (submission: Submission<T>) => boolean, refusal: unknown): void {
    for (const submission of this.#allWaiting()) if (test(submission)) submission.refusal = refusal
  }

  /** Takes a submission that comes before all that wait. */
  enqueueFirst(submission: Submission<T>): void {
    this.#putBack([submission])
  }

  /** Takes a submission. A number that is already here is not taken again: its newest sender gets the answer. */
  enqueue(submission: Submission<T>): void {
    const name = numberOf(submission)
    const twin = name === null ? undefined : this.#numbered.get(name)
    if (twin) {
      twin.target = submission.target
      return
    }
    if (name !== null) this.#numbered.set(name, submission)
    this.#append(this.#waiting, submission)
  }

  /** The next batch for the store, if none is in flight; `load` asks for the context first. */
  begin(now: number): CommitBatch | 'load' | null {
    if (this.#attempt !== null || this.#waiting.size === 0) return null
    if (this.#known === null) return 'load'
    const { attempt, rest } = buildAttempt(this.contextId, this.#known, this.#takeTurns(), now, this.#options)
    this.#putBack(rest)
    this.#attempt = attempt
    return attempt.batch
  }

  /**
   * Takes what the store holds, when nothing is in flight; and, if this is {@link doubtful}, the whole log as read after it.
   * @throws {Error} what is stored does not fit together; nothing is taken then
   */
  loaded(stored: StoredContext | null, log: readonly LogEntry[] = []): Answered<T>[] {
    if (this.#attempt !== null) return []
    this.#known = fromStored(stored, this.#options.byteLength)
    const { head } = this.#known
    // Between the two reads the context may have begun a new life: its log says nothing of this head then.
    const ofThisLife = log.some(({ version, revision }) => version === head.version && revision === head.revision)
    return this.#settleTried(head, ofThisLife ? log : (stored?.entries ?? []), true)
  }

  /**
   * Takes over a state that was read elsewhere, when nothing is in flight, and not while it is open whether a commit of the server is in it:
   * the log after the older base tells. An older version of the same life is not taken.
   */
  advance(known: KnownContext): void {
    if (this.#attempt !== null || this.#tried.size > 0) return
    const mine = this.#known?.head
    if (mine?.incarnation === known.head.incarnation && known.head.version <= mine.version) return
    this.#known = known
  }

  /** Forgets the state in memory, so that it is loaded again. */
  forget(): void {
    if (this.#attempt === null) this.#known = null
  }

  /** Takes the store's answer to the attempt in flight. */
  finish(result: CommitResult): Answered<T>[] {
    const attempt = this.#attempt
    if (attempt === null) return []
    this.#attempt = null
    if (result.type === 'committed') return this.#committed(attempt)
    if (result.type === 'members') return this.#members(attempt, result.answers)
    return this.#conflict(attempt, result.head, result.missed)
  }

  /** The attempt may have been stored: nobody is answered, and the same batch is to be sent again. */
  unknownOutcome(): CommitBatch | null {
    const attempt = this.#attempt
    if (attempt === null) return null
    attempt.unknown = true
    for (const decided of attempt.decided) {
      const { submission, revision } = decided
      if (submission.stream !== null || revision === null) continue
      const tried = this.#tried.get(submission) ?? new Map<string, Decided<T>>()
      this.#tried.set(submission, tried.set(revision, decided))
    }
    return attempt.batch
  }

  /**
   * The attempt was certainly not stored: its members are held, but for those that an earlier attempt may have stored; they wait on.
   * After an unknown outcome that is not certain: null, send it again.
   */
  failed(error: unknown): Answered<T>[] | null {
    const attempt = this.#attempt
    if (attempt === null) return []
    if (attempt.unknown) return null
    this.#attempt = null
    const submissions = attempt.decided.map(({ submission }) => submission)
    this.#putBack(submissions.filter((submission) => this.#tried.has(submission)))
    return submissions.filter((submission) => !this.#tried.has(submission)).map((submission) => this.#held(submission, error))
  }

  /** Gives the attempt in flight up, though it may have been stored: a stream may send again, a commit of the server stays unknown (P7). */
  abandon(error: unknown): Answered<T>[] {
    const attempt = this.#attempt
    if (attempt === null) return []
    this.#attempt = null
    this.#known = null
    return attempt.decided.map(({ submission, revision }) => {
      const inDoubt = submission.stream === null && (revision !== null || this.#tried.has(submission))
      return inDoubt ? this.#answered(submission, { type: 'unknown' }) : this.#held(submission, error)
    })
  }

  /**
   * Gives everything that is not in flight back, held: the node is closing, or the context cannot be loaded. Commits of the server that may
   * have been stored stay; at the `end` they are answered too.
   */
  drop(error: unknown, end = false): Answered<T>[] {
    const waiting = this.#allWaiting()
    this.#waiting = new Map()
    const dropped = waiting.filter((submission) => end || !this.#tried.has(submission))
    this.#putBack(waiting.filter((submission) => !end && this.#tried.has(submission)))
    return dropped.map((submission) =>
      this.#tried.has(submission) ? this.#answered(submission, { type: 'unknown' }) : this.#held(submission, error),
    )
  }

  #committed(attempt: Attempt<T>): Answered<T>[] {
    this.#known = attempt.after
    return attempt.decided.map((decided) => this.#answered(decided.submission, { type: 'verdict', verdict: decided.verdict, decided }))
  }

  #members(attempt: Attempt<T>, answers: readonly { readonly member: number; readonly answer: MemberAnswer }[]): Answered<T>[] {
    const byMember = new Map(answers.map(({ member, answer }) => [member, answer]))
    const gaps = new Set<string>()
    const answered: Answered<T>[] = []
    const again: Submission<T>[] = []
    attempt.decided.forEach(({ submission }, member) => {
      const answer = byMember.get(member)
      const key = submission.stream?.key
      if (answer?.type === 'gap' && key !== undefined) gaps.add(key)
      if (answer?.type === 'repeat') answered.push(this.#answered(submission, { type: 'verdict', verdict: answer.verdict, decided: null }))
      else if (answer?.type === 'locked') {
        submission.refusal = lockLost(answer.key)
        again.push(submission)
      } else if (answer) answered.push(this.#answered(submission, { type: answer.type }))
      else if (key !== undefined && gaps.has(key)) answered.push(this.#answered(submission, { type: 'gap' }))
      else again.push(submission)
    })
    this.#putBack(again)
    return answered
  }

  #conflict(attempt: Attempt<T>, head: Head, missed: readonly LogEntry[] | null): Answered<T>[] {
    this.#putBack(attempt.decided.map(({ submission }) => submission))
    const known = this.#known
    this.#known = null
    // Without a way from here to the head the context is loaded, and what was tried is looked for then.
    if (known === null || missed === null) return []
    this.#known = fastForward(known, head, missed, this.#options.byteLength)
    return this.#known === null ? [] : this.#settleTried(head, missed, false)
  }

  /**
   * P7: a commit of the server that was tried with unknown outcome was applied if one of its revisions is among the missed ones; `partly`
   * says that these may not be all that was missed, so that nothing is known of one that is not among them.
   */
  #settleTried(head: Head, missed: readonly LogEntry[], partly: boolean): Answered<T>[] {
    const answered: Answered<T>[] = []
    for (const [submission, tried] of this.#tried) {
      const entry = missed.find(({ revision }) => tried.has(revision))
      // The head itself tells of a delete, which is not logged, and of a creation, whose log is not among what was missed.
      const revision = entry?.revision ?? (tried.has(head.revision) ? head.revision : undefined)
      if (revision === undefined && !partly) continue
      this.#takeBack(submission)
      const decided = revision === undefined ? undefined : tried.get(revision)
      answered.push(this.#answered(submission, decided ? { type: 'verdict', verdict: decided.verdict, decided } : { type: 'unknown' }))
    }
    return answered
  }

  #held(submission: Submission<T>, error: unknown): Answered<T> {
    return this.#answered(submission, { type: 'held', error })
  }

  #answered(submission: Submission<T>, answer: Answer): Answered<T> {
    const name = numberOf(submission)
    if (name !== null) this.#numbered.delete(name)
    this.#tried.delete(submission)
    return { submission, answer }
  }

  /** Puts submissions back, in their order, before all that wait. */
  #putBack(submissions: readonly Submission<T>[]): void {
    if (submissions.length === 0) return
    const waiting: Waiting<T> = new Map()
    for (const submission of [...submissions, ...this.#allWaiting()]) this.#append(waiting, submission)
    this.#waiting = waiting
  }

  #append(waiting: Waiting<T>, submission: Submission<T>): void {
    const lane = waiting.get(submission.source)
    if (lane) lane.append(submission)
    else waiting.set(submission.source, new Lane(submission))
  }

  #allWaiting(): Submission<T>[] {
    return [...this.#waiting.values()].flatMap((lane) => lane.all())
  }

  #takeBack(submission: Submission<T>): void {
    const lane = this.#waiting.get(submission.source)
    lane?.remove(submission)
    if (lane?.empty) this.#waiting.delete(submission.source)
  }

  /** Takes waiting submissions, one of each source in turn, up to a batch. */
  #takeTurns(): Submission<T>[] {
    const taken: Submission<T>[] = []
    let size = 0
    // A source that has had its turn, and has more, comes again after all others: a map is walked in the order of insertion.
    for (const [source, lane] of this.#waiting) {
      const next = lane.first
      if (taken.length > 0 && (taken.length >= batchCommits || size + next.size > batchSize)) break
      this.#waiting.delete(source)
      lane.takeFirst()
      if (!lane.empty) this.#waiting.set(source, lane)
      taken.push(next)
      size += next.size
    }
    return taken
  }
}

function numberOf({ stream }: Submission<unknown>): string | null {
  return stream === null ? null : `${stream.key} ${stream.epoch} ${stream.seq}`
}
