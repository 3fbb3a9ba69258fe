import { ContextdError, isContextdError } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import type { FirstAccess } from '../archives/first-access.ts'
import type { CommitBatch, CommitResult, ContextBackend } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import type { AttemptOptions } from './commit-attempt.ts'
import { CommitQueue } from './commit-queue.ts'
import type { Answer, Answered } from './commit-queue.ts'
import type { Submission } from './decide.ts'
import type { CommitRequest } from '../engine/engine.ts'
import type { HookRunner } from '../definitions/hooks.ts'
import { isOutdated, migrationAuthor } from './known-context.ts'
import type { KnownContext } from './known-context.ts'
import type { Logger } from '../logger.ts'
import { errorOf } from './write-error.ts'

/** What a committer works with. */
export interface CommitterOptions {
  readonly backend: ContextBackend
  readonly clock: Clock
  readonly logger: Logger
  readonly attempt: AttemptOptions
  /** Moves a state of an older definition on. */
  readonly migrate?: (state: JsonObject, from: number) => readonly Operation[]
  readonly hooks: HookRunner | null
  /** Brings the context back from the archive; null: there is none. */
  readonly firstAccess: FirstAccess | null
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
  /** Calls `pump` at the end of this turn of the event loop. */
  readonly schedule: (committer: Committer) => void
  /** Told of each batch that was stored, before its commits are answered. */
  readonly committed: (batch: CommitBatch, answered: readonly Answered<CommitRequest>[]) => void
  /** Told that another has written. */
  readonly overtaken: (result: CommitResult & { readonly type: 'conflict' }) => void
  /** Told when nothing waits and nothing is in flight any more. */
  readonly idle: () => void
}

/** How long to wait before a batch of unknown outcome is sent again: doubled each time, ms. */
const firstPauseMs = 20
const longestPauseMs = 2_000

/** Carries the commits of one context to the backend, a batch at a time, and the answers back. */
export class Committer {
  readonly queue: CommitQueue<CommitRequest>
  readonly #options: CommitterOptions
  #loading = false
  #scheduled = false
  #migrating = false
  #reviewing = false
  #pauses = 0
  #pause: NodeJS.Timeout | null = null

  constructor(contextId: string, options: CommitterOptions) {
    this.queue = new CommitQueue(contextId, options.attempt)
    this.#options = options
  }

  get idle(): boolean {
    return this.queue.idle && !this.#loading
  }

  /** Whether a context is of an older version of its definition. */
  isOutdated(at: Pick<KnownContext, 'head' | 'schema'>): boolean {
    return isOutdated(at, this.#options.attempt.leastSchema)
  }

  /** Moves the context on to the version of its definition. @throws {ContextdError} `invalid_state` – that failed · `backend_unavailable` */
  async migrate(): Promise<void> {
    const answer = await new Promise<Answer>((resolve) => this.submit(this.#migration(resolve)))
    if (answer.type === 'held' || (answer.type === 'verdict' && answer.decided?.error !== undefined))
      throw errorOf(this.queue.contextId, answer)
  }

  submit(request: CommitRequest): void {
    this.queue.enqueue(submissionOf(request))
    this.#schedule()
  }

  /** Sends the next batch, when none is under way. */
  pump(): void {
    this.#scheduled = false
    if (this.#loading || this.#pause !== null || this.#reviewing) return
    if (this.#needsArchive()) return void this.#bringBack()
    this.#migrateFirst()
    const next = this.queue.begin(this.#options.clock.now())
    if (next === 'load') void this.#load()
    else if (next !== null) this.#review(next)
    else if (this.queue.idle) this.#options.idle()
  }

  /** Gives up what is left, at the end of the engine. */
  end(error: unknown): void {
    if (this.#pause !== null) clearTimeout(this.#pause)
    this.#pause = null
    // What a hook is still asked about was never sent: nobody need wonder whether it is stored.
    if (this.#reviewing) this.queue.refuse(new Map())
    this.#answer(this.queue.abandon(error))
    this.#answer(this.queue.drop(error, true))
  }

  /** Commits that go on from what was there come after the context is back from the archive. */
  #needsArchive(): boolean {
    const { known, inFlight } = this.queue
    return known !== null && !inFlight && this.#options.firstAccess?.isDue(known.head) === true && this.queue.waits(goesOn)
  }

  async #bringBack(): Promise<void> {
    this.#loading = true
    try {
      await this.#options.firstAccess!.restore(this.queue.known!.head)
      this.queue.forget()
      this.#loading = false
    } catch (error) {
      this.#loading = false
      if (isContextdError(error) && !error.retryable) this.queue.refuseWaiting(goesOn, error)
      else {
        this.#answer(this.queue.drop(this.#held(error, 'restore')))
        if (this.queue.waiting) return this.#pumpLater()
      }
    }
    this.pump()
  }

  /** Commits on a state of an older definition come after the one that moves it on. */
  #migrateFirst(): void {
    const { known } = this.queue
    if (this.#migrating || this.queue.inFlight || !this.queue.waiting || known === null || !this.isOutdated(known)) return
    this.#migrating = true
    const request = this.#migration(() => {
      this.#migrating = false
    })
    this.queue.enqueueFirst(submissionOf(request))
  }

  #migration(reply: (answer: Answer) => void): CommitRequest {
    const { migrate, attempt, logger } = this.#options
    const { contextId } = this.queue
    return {
      source: '',
      stream: null,
      author: migrationAuthor(attempt.leastSchema),
      incarnation: null,
      operations: ({ state, schema }) => (state === null || migrate === undefined ? [] : migrate(state, Math.max(1, schema))),
      remove: false,
      initial: null,
      size: 0,
      user: null,
      reply: (answer) => {
        if (answer.type === 'verdict' && answer.decided?.error !== undefined)
          logger.error({ contextId, error: answer.decided.error }, 'a context could not be moved on to the version of its definition')
        reply(answer)
      },
    }
  }

  /** Asks the hook, where there is one, before the batch is sent. */
  #review(batch: CommitBatch): void {
    const { hooks } = this.#options
    const reviewed = hooks?.before(batch.contextId, this.queue.deciding) ?? null
    if (reviewed === null) this.#send(batch)
    else void this.#reviewed(batch, reviewed)
  }

  async #reviewed(batch: CommitBatch, reviewed: ReturnType<HookRunner['before']> & object): Promise<void> {
    this.#reviewing = true
    const refusals = await reviewed
    this.#reviewing = false
    // Given up meanwhile, at the end of the engine.
    if (!this.queue.inFlight) return
    if (refusals.size === 0) return this.#send(batch)
    this.queue.refuse(refusals)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#loading || this.#pause !== null || this.queue.inFlight) return
    this.#scheduled = true
    this.#options.schedule(this)
  }

  async #load(): Promise<void> {
    const { backend, open } = this.#options
    const { contextId } = this.queue
    this.#loading = true
    try {
      await open()
      const stored = await backend.load(contextId)
      const log = this.queue.doubtful ? await backend.log(contextId, 0) : []
      const answered = this.queue.loaded(stored, log)
      this.#pauses = 0
      this.#loading = false
      this.#answer(answered)
    } catch (error) {
      this.#loading = false
      this.#answer(this.queue.drop(this.#held(error, 'load')))
      if (this.queue.waiting) return this.#pumpLater()
    }
    this.pump()
  }

  #send(batch: CommitBatch): void {
    this.#options.backend.commit(batch).then(
      (result) => this.#came(batch, result),
      (error: unknown) => this.#failed(error),
    )
  }

  #came(batch: CommitBatch, result: CommitResult): void {
    const answered = this.#finish(result)
    if (answered === null) return
    this.#pauses = 0
    if (result.type === 'committed') this.#options.committed(batch, answered)
    else if (result.type === 'conflict') this.#options.overtaken(result)
    this.#answer(answered)
    this.#next()
  }

  #finish(result: CommitResult): Answered<CommitRequest>[] | null {
    try {
      return this.queue.finish(result)
    } catch (error) {
      // What was missed does not fit what is known: it is loaded anew.
      this.#options.logger.error({ contextId: this.queue.contextId, error }, 'the log does not fit')
      this.queue.forget()
      this.#next()
      return null
    }
  }

  #failed(error: unknown): void {
    if (isUnknown(error)) {
      this.queue.unknownOutcome()
      return this.#sendLater()
    }
    if (!isContextdError(error)) {
      // Nothing says what it came to. Sessions send again; who has no number must look.
      this.#answer(this.queue.abandon(this.#held(error, 'commit')))
      return this.#next()
    }
    const answered = this.queue.failed(this.#held(error, 'commit'))
    if (answered === null) return this.#sendLater()
    this.#answer(answered)
    // What waits still is not sent to a store that has just refused.
    if (this.queue.waiting) this.#pumpLater()
    else this.#next()
  }

  /** The same batch again: it is stored once, however often it is sent. */
  #sendLater(): void {
    this.#later(() => {
      const batch = this.queue.unknownOutcome()
      if (batch !== null) this.#send(batch)
    })
  }

  #pumpLater(): void {
    this.#later(() => this.pump())
  }

  #later(work: () => void): void {
    const pause = Math.min(longestPauseMs, firstPauseMs * 2 ** this.#pauses) * (0.5 + Math.random() / 2)
    this.#pauses += 1
    this.#pause = setTimeout(() => {
      this.#pause = null
      work()
    }, pause)
  }

  #next(): void {
    if (this.queue.waiting) this.#schedule()
    else if (this.queue.idle) this.#options.idle()
  }

  #answer(answered: readonly Answered<CommitRequest>[]): void {
    this.#options.hooks?.after(this.queue.contextId, answered)
    for (const { submission, answer } of answered) {
      const { contextId } = this.queue
      if (
        answer.type === 'verdict' &&
        answer.decided?.error !== undefined &&
        submission.stream !== null &&
        !isContextdError(answer.decided.error)
      ) {
        this.#options.logger.error({ contextId, error: answer.decided.error }, 'a commit could not be computed')
      }
      try {
        submission.target.reply(answer)
      } catch (error) {
        this.#options.logger.error({ contextId, error }, 'an answer could not be handed over')
      }
    }
  }

  /** The reason why commits are held; one that is not ours says nothing outside. */
  #held(error: unknown, what: string): ContextdError {
    const { contextId } = this.queue
    if (isContextdError(error) && error.retryable) return error
    this.#options.logger.error({ contextId, error }, `${what} failed`)
    return new ContextdError('internal', 'The store failed in a way that it should not. The log of the server says more.', {
      contextId,
      cause: error,
    })
  }
}

/** A request as the queue takes it. Written out, since a copy by spreading costs more than all the rest of a small commit. */
function submissionOf(request: CommitRequest): Submission<CommitRequest> {
  const { source, stream, author, incarnation, operations, remove, initial, ifVersion, ifRevision, locks, size, refusal } = request
  return {
    target: request,
    source,
    stream,
    author,
    incarnation,
    operations,
    remove,
    initial,
    ifVersion,
    ifRevision,
    locks,
    size,
    refusal,
  }
}

/** Whether a commit may have been stored all the same. */
const isUnknown = (error: unknown): boolean => isContextdError(error, 'timeout') && error.details.outcome === 'unknown'

/** Whether a commit depends on what was there: it is no delete, and does not replace all of it. */
function goesOn({ operations, remove, refusal }: Submission<unknown>): boolean {
  if (remove || refusal !== undefined) return false
  if (typeof operations === 'function') return true
  const [first] = operations
  return first !== undefined && (first.type !== 'set' || first.path.length > 0)
}
