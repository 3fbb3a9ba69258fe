import { ContextdError } from '@contextd/protocol'
import { CommitQueue } from 'contextd/cores'
import type { Answered, CommitBatch, CommitResult, KnownContext, Submission } from 'contextd/cores'
import type { Connection } from './connection.ts'
import type { CallEnd, SimStore } from './sim-store.ts'
import type { World } from './world.ts'

/** Who gets the answer to a commit: a session on a connection, or the server's own code. */
export type Asker =
  | { readonly type: 'session'; readonly connection: Connection; readonly session: string; readonly epoch: number }
  | { readonly type: 'server'; readonly tell: (answered: Answered<Asker>) => void }

/** Pause before the store is asked once more, ms. */
const retryMs = 50

/** Carries what the server's own commit queue decides to the store and back, for one context on one node. */
export class SimCommitter {
  readonly queue: CommitQueue<Asker>
  readonly #world: World
  readonly #store: SimStore
  readonly #nodeId: string
  readonly #answer: (answered: readonly Answered<Asker>[]) => void
  #loading = false
  #stopped = false

  constructor(contextId: string, nodeId: string, world: World, store: SimStore, answer: (answered: readonly Answered<Asker>[]) => void) {
    this.#nodeId = nodeId
    this.#world = world
    this.#store = store
    this.#answer = answer
    const { sessionTtlMs, deltaThreshold } = world.options
    this.queue = new CommitQueue<Asker>(contextId, {
      mint: () => world.mint(),
      sessionTtlMs,
      stateBytes: 0,
      itemKey: 'id',
      deltaTtlMs: 86_400_000,
      deltaThreshold,
      schema: 0,
      leastSchema: 0,
      byteLength: (text) => text.length,
    })
  }

  submit(submission: Submission<Asker>): void {
    this.queue.enqueue(submission)
    this.#pumpAfter(0)
  }

  /** The process has ended: nothing is heard from here any more. */
  stop(): void {
    this.#stopped = true
  }

  /** Takes over what a sync found; a history that went back is not the one that is known. */
  adopt(now: KnownContext, before: KnownContext | null): void {
    const { queue } = this
    const later = now.head.incarnation === before?.head.incarnation && now.head.version > before.head.version
    if (before !== null && !later && queue.known === before && !queue.doubtful) queue.forget()
    queue.advance(now)
  }

  #pumpAfter(pause: number): void {
    this.#world.scheduler.after(pause, () => this.#pump())
  }

  /** Carries the next batch to the store, when none is under way. */
  #pump(): void {
    if (this.#stopped || this.#loading) return
    const next = this.queue.begin(this.#world.now)
    if (next === 'load') this.#load()
    else if (next) this.#send(next)
  }

  /** Reads the context, and, where it is open what became of a commit of the server, its log too. */
  #load(): void {
    const { queue } = this
    this.#loading = true
    const goOn = (answered: readonly Answered<Asker>[], pause: number): void => {
      this.#loading = false
      this.#answer(answered)
      this.#pumpAfter(pause)
    }
    this.#store.load(this.#nodeId, queue.contextId, (end) => {
      if (this.#stopped) return
      if (end.type !== 'done') return goOn(queue.drop(unavailable()), retryMs)
      if (!queue.doubtful) return goOn(queue.loaded(end.value), 0)
      this.#store.log(this.#nodeId, queue.contextId, (log) => {
        if (this.#stopped) return
        if (log.type !== 'done') goOn(queue.drop(unavailable()), retryMs)
        else goOn(queue.loaded(end.value, log.value), 0)
      })
    })
  }

  #send(batch: CommitBatch): void {
    if (this.#stopped) return
    const { queue } = this
    this.#store.commit(this.#nodeId, batch, (end: CallEnd<CommitResult>) => {
      if (this.#stopped) return
      const again = (): void => this.#world.scheduler.after(retryMs, () => this.#send(batch))
      if (end.type === 'unknown') {
        queue.unknownOutcome()
        return again()
      }
      const answered = end.type === 'done' ? queue.finish(end.value) : queue.failed(unavailable())
      if (answered === null) return again()
      this.#answer(answered)
      this.#pumpAfter(end.type === 'done' ? 0 : retryMs)
    })
  }
}

const unavailable = (): ContextdError => new ContextdError('backend_unavailable', 'The store does not answer.')
