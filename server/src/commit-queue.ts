import type { Head, Verdict } from '@contextd/protocol'
import type { CommitBatch, CommitResult, LogEntry, StoredContext, StreamAnswer } from './backends/backend.ts'
import { buildAttempt } from './commit-attempt.ts'
import type { Attempt, Decided, DecideOptions, Submission } from './commit-attempt.ts'
import { fastForward, fromStored } from './known-context.ts'
import type { KnownContext } from './known-context.ts'

/** What became of a submission. */
export type Answer =
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

/** Most commits and most UTF-16 units of one batch. */
const batchCommits = 256
const batchSize = 262_144

/**
 * The commits of one context on one node (P6, P7): a queue, and at most one attempt in flight. What arrives meanwhile is the next batch.
 * Pure: the caller carries the attempt to the store and brings back what came of it.
 */
export class CommitQueue<T> {
  readonly contextId: string
  readonly #options: DecideOptions
  #known: KnownContext | null = null
  #attempt: Attempt<T> | null = null
  /** Waiting submissions by stream, or by the submission itself for the server's own; streams take turns in insertion order. */
  readonly #waiting = new Map<string, Submission<T>[]>()
  readonly #numbered = new Map<string, Submission<T>>()
  /** Revisions under which a commit of the server was tried with unknown outcome. */
  readonly #tried = new Map<Submission<T>, Set<string>>()

  constructor(contextId: string, options: DecideOptions) {
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

  /** Takes a submission. A number that is already here is not taken again: its newest sender gets the answer. */
  enqueue(submission: Submission<T>): void {
    const name = numberOf(submission)
    const twin = name === null ? undefined : this.#numbered.get(name)
    if (twin) {
      twin.target = submission.target
      return
    }
    if (name !== null) this.#numbered.set(name, submission)
    this.#push(submission, 'back')
  }

  /** The next batch for the store, if none is in flight; `load` asks for the context first. */
  begin(now: number): CommitBatch | 'load' | null {
    if (this.#attempt !== null || this.#waiting.size === 0) return null
    if (this.#known === null) return 'load'
    const { attempt, rest } = buildAttempt(this.contextId, this.#known, this.#takeTurns(), now, this.#options)
    for (const submission of rest.toReversed()) this.#push(submission, 'front')
    this.#attempt = attempt
    return attempt.batch
  }

  /** Takes what the store holds, when nothing is in flight. */
  loaded(stored: StoredContext | null): Answered<T>[] {
    if (this.#attempt !== null) return []
    this.#known = fromStored(stored)
    return this.#settleTried(stored?.entries ?? [], true)
  }

  /** Takes over a state that is newer than the one in memory (from a sync), when nothing is in flight. */
  advance(known: KnownContext): void {
    if (this.#attempt === null) this.#known = known
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
    if (result.type === 'streams') return this.#streams(attempt, result.answers)
    return this.#conflict(attempt, result.head, result.missed)
  }

  /** The attempt may have been stored: nobody is answered, and the same batch is to be sent again. */
  unknownOutcome(): CommitBatch | null {
    const attempt = this.#attempt
    if (attempt === null) return null
    attempt.unknown = true
    for (const { submission, revision } of attempt.decided) {
      if (submission.stream !== null || revision === null) continue
      const tried = this.#tried.get(submission) ?? new Set()
      this.#tried.set(submission, tried.add(revision))
    }
    return attempt.batch
  }

  /** The attempt was certainly not stored: its members are held. After an unknown outcome that is not certain: null, send it again. */
  failed(error: unknown): Answered<T>[] | null {
    const attempt = this.#attempt
    if (attempt === null) return []
    if (attempt.unknown) return null
    this.#attempt = null
    return attempt.decided.map(({ submission }) => this.#answered(submission, { type: 'held', error }))
  }

  /** Gives everything that is not in flight back, held: the node is closing, or the context cannot be loaded. */
  drop(error: unknown): Answered<T>[] {
    const dropped = [...this.#waiting.values()].flat().filter((submission) => !this.#tried.has(submission))
    this.#waiting.clear()
    for (const submission of this.#tried.keys()) this.#push(submission, 'back')
    return dropped.map((submission) => this.#answered(submission, { type: 'held', error }))
  }

  #committed(attempt: Attempt<T>): Answered<T>[] {
    this.#known = attempt.after
    return attempt.decided.map((decided) => this.#answered(decided.submission, { type: 'verdict', verdict: decided.verdict, decided }))
  }

  #streams(attempt: Attempt<T>, answers: readonly { readonly member: number; readonly answer: StreamAnswer }[]): Answered<T>[] {
    const byMember = new Map(answers.map(({ member, answer }) => [member, answer]))
    const gaps = new Set<string>()
    const answered: Answered<T>[] = []
    const again: Submission<T>[] = []
    attempt.decided.forEach(({ submission }, member) => {
      const answer = byMember.get(member)
      const key = submission.stream?.key
      if (answer?.type === 'gap' && key !== undefined) gaps.add(key)
      if (answer?.type === 'repeat') answered.push(this.#answered(submission, { type: 'verdict', verdict: answer.verdict, decided: null }))
      else if (answer) answered.push(this.#answered(submission, { type: answer.type }))
      else if (key !== undefined && gaps.has(key)) answered.push(this.#answered(submission, { type: 'gap' }))
      else again.push(submission)
    })
    this.#putBack(again)
    return answered
  }

  #conflict(attempt: Attempt<T>, head: Head, missed: readonly LogEntry[] | null): Answered<T>[] {
    this.#putBack(attempt.decided.map(({ submission }) => submission))
    this.#known = this.#known === null || missed === null ? null : fastForward(this.#known, head, missed)
    return this.#known === null ? [] : this.#settleTried(missed ?? [], false)
  }

  /**
   * P7: a commit of the server that was tried with unknown outcome was applied iff one of its revisions is among the missed ones;
   * `partly` says that these are not all that was missed.
   */
  #settleTried(missed: readonly LogEntry[], partly: boolean): Answered<T>[] {
    const answered: Answered<T>[] = []
    for (const [submission, revisions] of this.#tried) {
      const entry = missed.find(({ revision }) => revisions.has(revision))
      if (!entry && !partly) continue
      this.#takeBack(submission)
      const head = entry && { incarnation: this.#known!.head.incarnation, version: entry.version, revision: entry.revision }
      const answer: Answer = head ? { type: 'verdict', verdict: { type: 'applied', head }, decided: null } : { type: 'unknown' }
      answered.push(this.#answered(submission, answer))
    }
    return answered
  }

  #answered(submission: Submission<T>, answer: Answer): Answered<T> {
    const name = numberOf(submission)
    if (name !== null) this.#numbered.delete(name)
    this.#tried.delete(submission)
    return { submission, answer }
  }

  #putBack(submissions: readonly Submission<T>[]): void {
    for (const submission of submissions.toReversed()) this.#push(submission, 'front')
  }

  #takeBack(submission: Submission<T>): void {
    const queue = this.#waiting.get(submission.source)
    const index = queue?.indexOf(submission) ?? -1
    if (!queue || index < 0) return
    queue.splice(index, 1)
    if (queue.length === 0) this.#waiting.delete(submission.source)
  }

  #push(submission: Submission<T>, end: 'front' | 'back'): void {
    const queue = this.#waiting.get(submission.source)
    if (!queue) this.#waiting.set(submission.source, [submission])
    else if (end === 'front') queue.unshift(submission)
    else queue.push(submission)
  }

  /** Takes waiting submissions, one of each source in turn, up to a batch. */
  #takeTurns(): Submission<T>[] {
    const taken: Submission<T>[] = []
    let size = 0
    while (this.#waiting.size > 0) {
      for (const [source, queue] of this.#waiting) {
        const next = queue[0]!
        if (taken.length > 0 && (taken.length >= batchCommits || size + next.size > batchSize)) return taken
        queue.shift()
        taken.push(next)
        size += next.size
        if (queue.length === 0) this.#waiting.delete(source)
      }
    }
    return taken
  }
}

function numberOf({ stream }: Submission<unknown>): string | null {
  return stream === null ? null : `${stream.key} ${stream.epoch} ${stream.seq}`
}
