import { ContextdError, randomToken } from '@contextd/protocol'
import type { Head, JsonObject, Operation } from '@contextd/protocol'
import { internalPrefix } from '../backends/backend.ts'
import type { Answer } from '../commits/commit-queue.ts'
import type { EngineNode } from '../engine/engine-node.ts'
import type { Followed } from '../engine/feeds.ts'
import { serverAuthor } from '../commits/known-context.ts'

/** What is kept of a source's requests. */
interface Requests {
  /** Those that were not carried out yet, by id. */
  readonly asked: { readonly [id: string]: 1 }
  /** What those that were carried out last came to: '', or why they failed. */
  readonly answers: { readonly [id: string]: string }
}

const none: Requests = { asked: {}, answers: {} }
const idLength = 12
/** Longest text of a failure that is passed on, UTF-16 units. */
const longestFailure = 1_000

/** A request of this node that waits for its answer. */
interface Waiting {
  readonly id: string
  /** It was seen among those that are stored. */
  stored: boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/**
 * Requests of any node to fetch a source, which its leader carries out: kept in a context of the engine's own, so that they reach the leader as
 * every change reaches every node.
 */
export class RefreshRequests {
  readonly #node: EngineNode
  readonly #requestsId: string
  readonly #contextId: string
  readonly #followed: Followed
  #waiting: Waiting | null = null
  #asking: Promise<void> | null = null

  /** @param told called when a node has asked, answered or left */
  constructor(node: EngineNode, contextId: string, told: () => void) {
    this.#node = node
    this.#contextId = contextId
    this.#requestsId = `${internalPrefix}source:${contextId}`
    this.#followed = node.follow(this.#requestsId, {
      step: () => {
        this.#look()
        told()
      },
      gone: () => this.#look(),
    })
  }

  /** Requests that were not carried out yet. */
  get open(): readonly string[] {
    return Object.keys(this.#requests.asked)
  }

  /** Waits until the store has said what there is. */
  async read(): Promise<void> {
    await this.#followed.reach(null)
  }

  /**
   * Asks the leader to fetch, and waits until it has; who asks meanwhile on this node waits for the same.
   * @throws {ContextdError} `backend_unavailable` · `timeout` – nobody carried it out in time · `internal` – the fetch failed, with its message · `closed`
   */
  ask(patienceMs: number): Promise<void> {
    this.#asking ??= this.#ask(patienceMs).finally(() => {
      this.#asking = null
    })
    return this.#asking
  }

  /** Tells those who asked what it came to; '': it was done. */
  async answer(ids: readonly string[], failure: string): Promise<void> {
    const outcome = failure.slice(0, longestFailure)
    await this.#commit(({ asked }) => [
      ...ids.filter((id) => Object.hasOwn(asked, id)).map((id): Operation => ({ type: 'remove', path: ['asked', id] })),
      { type: 'set', path: ['answers'], value: Object.fromEntries(ids.map((id) => [id, outcome])) },
    ])
  }

  /** Tells the other nodes that this one leads no more. What becomes of it is not waited for: they find out all the same. */
  leave(): void {
    this.#submit(() => [{ type: 'set', path: ['left'], value: randomToken(idLength) }]).catch(() => {})
  }

  end(): void {
    this.#followed.end()
    this.#waiting?.reject(new ContextdError('closed', 'The source was removed.', { contextId: this.#contextId }))
  }

  async #ask(patienceMs: number): Promise<void> {
    const id = randomToken(idLength)
    let timer: NodeJS.Timeout | undefined
    const answered = new Promise<void>((resolve, reject) => {
      this.#waiting = { id, stored: false, resolve, reject }
      timer = setTimeout(() => reject(this.#late(patienceMs)), patienceMs)
    })
    // Before it is waited for, the request must be stored.
    answered.catch(() => {})
    try {
      await this.#request(id)
      await answered
    } finally {
      clearTimeout(timer)
      this.#waiting = null
    }
  }

  /** Whether the request of this node was answered. */
  #look(): void {
    const waiting = this.#waiting
    if (waiting === null) return
    const { id, resolve, reject } = waiting
    const { asked, answers } = this.#requests
    if (Object.hasOwn(answers, id)) {
      const failure = answers[id]!
      if (failure === '') resolve()
      else reject(new ContextdError('internal', failure, { contextId: this.#contextId }))
    } else if (!Object.hasOwn(asked, id) && waiting.stored) {
      // The store has lost it.
      waiting.stored = false
      this.#request(id).catch(reject)
    }
  }

  async #request(id: string): Promise<void> {
    await this.#commit(() => [{ type: 'set', path: ['asked', id], value: 1 }])
    if (this.#waiting?.id !== id) return
    this.#waiting.stored = true
    this.#look()
  }

  #late(patienceMs: number): ContextdError {
    return new ContextdError(
      'timeout',
      `No leader has fetched this source within ${patienceMs} ms; one still may. Is it added on every node?`,
      { contextId: this.#contextId },
    )
  }

  get #requests(): Requests {
    return requestsOf(this.#followed.at?.state ?? null)
  }

  /** Commits, and waits until it is seen here. */
  async #commit(operations: (now: Requests) => readonly Operation[]): Promise<void> {
    await this.#followed.reach(await this.#submit(operations))
  }

  async #submit(operations: (now: Requests) => readonly Operation[]): Promise<Head> {
    const answer = await new Promise<Answer>((resolve) =>
      this.#node.submit(this.#requestsId, {
        source: '',
        stream: null,
        author: serverAuthor,
        incarnation: null,
        operations: ({ state }) => operations(requestsOf(state)),
        remove: false,
        initial: { asked: {}, answers: {} },
        size: 0,
        user: null,
        reply: resolve,
      }),
    )
    if (answer.type === 'held') throw answer.error
    if (answer.type !== 'verdict' || !answer.decided) throw new ContextdError('timeout', 'It is not known whether the leader was asked.')
    const { error, after } = answer.decided
    if (error !== undefined) throw error
    return after.head
  }
}

const requestsOf = (state: JsonObject | null): Requests => ({ ...none, ...(state as Partial<Requests> | null) })
