import { ContextdError } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import { internalPrefix } from '../backends/backend.ts'
import type { Answer } from '../commit-queue.ts'
import type { EngineNode } from '../engine-node.ts'
import type { Followed } from '../feeds.ts'
import { serverAuthor } from '../known-context.ts'

/** What is kept of a source's requests; numbers only grow. */
interface Requests {
  /** How many were made. */
  readonly asked: number
  /** Up to which one they were carried out. */
  readonly done: number
  /** Why the last one failed; '': it did not. */
  readonly failure: string
}

const none: Requests = { asked: 0, done: 0, failure: '' }

/**
 * Requests of any node to fetch a source, which its leader carries out: kept in a context of the engine's own, so that they reach the leader as
 * every change reaches every node.
 */
export class RefreshRequests {
  readonly #node: EngineNode
  readonly #requestsId: string
  readonly #contextId: string
  readonly #changed = new Set<() => void>()
  readonly #followed: Followed
  #at: Requests = none

  /** @param asked called when there are requests that were not carried out yet */
  constructor(node: EngineNode, contextId: string, asked: () => void) {
    this.#node = node
    this.#contextId = contextId
    this.#requestsId = `${internalPrefix}source:${contextId}`
    this.#followed = node.follow(this.#requestsId, {
      step: (_, { state }) => {
        this.#take(state)
        for (const each of this.#changed) each()
        if (this.#at.asked > this.#at.done) asked()
      },
      gone: () => {},
    })
  }

  /** Whether there are requests that were not carried out yet. */
  get open(): boolean {
    return this.#at.asked > this.#at.done
  }

  /** Up to which request was asked. */
  get asked(): number {
    return this.#at.asked
  }

  /** Waits until the store has said what there is. */
  async read(): Promise<void> {
    await this.#followed.reach(null)
    this.#take(this.#followed.at?.state ?? null)
  }

  /**
   * Asks the leader to fetch, and waits until it has.
   * @throws {ContextdError} `backend_unavailable` · `timeout` – nobody carried it out in time · `internal` – the fetch failed, with its message
   */
  async ask(patienceMs: number): Promise<void> {
    const { asked: mine } = await this.#commit([{ type: 'increment', path: ['asked'], by: 1 }])
    let timer: NodeJS.Timeout | undefined
    let resolve: () => void
    const look = (): void => {
      if (this.#at.done >= mine) resolve()
    }
    try {
      await new Promise<void>((done, reject) => {
        resolve = done
        timer = setTimeout(() => {
          reject(
            new ContextdError('timeout', `The leader has not fetched this source within ${patienceMs} ms. It still may.`, {
              contextId: this.#contextId,
            }),
          )
        }, patienceMs)
        this.#changed.add(look)
        look()
      })
    } finally {
      clearTimeout(timer)
      this.#changed.delete(look)
    }
    if (this.#at.failure !== '') throw new ContextdError('internal', this.#at.failure, { contextId: this.#contextId })
  }

  /** Tells those who asked, up to a request, what it came to. */
  async answer(upTo: number, failure: string): Promise<void> {
    await this.#commit([
      { type: 'set', path: ['done'], value: upTo },
      { type: 'set', path: ['failure'], value: failure.slice(0, 1_000) },
    ])
  }

  end(): void {
    this.#followed.end()
  }

  async #commit(operations: readonly Operation[]): Promise<Requests> {
    const answer = await new Promise<Answer>((resolve) =>
      this.#node.submit(this.#requestsId, {
        source: '',
        stream: null,
        author: serverAuthor,
        incarnation: null,
        operations,
        remove: false,
        initial: { ...none },
        size: 0,
        user: null,
        reply: resolve,
      }),
    )
    if (answer.type === 'held') throw answer.error
    if (answer.type !== 'verdict' || !answer.decided) throw new ContextdError('timeout', 'It is not known whether the leader was asked.')
    if (answer.decided.error !== undefined) throw answer.decided.error
    const { state } = answer.decided.after
    this.#take(state)
    return requestsOf(state)
  }

  /** What is told later may be older. */
  #take(state: JsonObject | null): void {
    const { asked, done, failure } = requestsOf(state)
    this.#at = {
      asked: Math.max(asked, this.#at.asked),
      done: Math.max(done, this.#at.done),
      failure: done >= this.#at.done ? failure : this.#at.failure,
    }
  }
}

const requestsOf = (state: JsonObject | null): Requests => ({ ...none, ...(state as Partial<Requests> | null) })
