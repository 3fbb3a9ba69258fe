import type { createContexts } from 'contextd'

type Contexts = ReturnType<typeof createContexts>

/** Chord's two operations: 1 context and 50 actions at once, 100 contexts and 1,000 actions at once. */
export const operationNames = ['single-50', 'multi-100'] as const
export type OperationName = (typeof operationNames)[number]
/** How many contexts an operation has, and how many actions on each. */
export const sizeOf: { readonly [name in OperationName]: { readonly contexts: number; readonly perContext: number } } = {
  'single-50': { contexts: 1, perContext: 50 },
  'multi-100': { contexts: 100, perContext: 10 },
}

/** Chord's default; it is what makes its `sync` answer the whole context. */
export const deltaThreshold = 100
/** Versions that contexts begin with, when they are not new. */
const steadyVersion = 1_000
/** Versions up to which a context counts as new, so that `sync(id, 1)` is a delta. */
const freshVersions = deltaThreshold - 1

const users = 50
const messages = 20
let lastNumber = 0

/** A time of this minute, with microseconds: no two are equal for long. */
function timeIn(minute: string): string {
  lastNumber += 1
  return `${minute}${String((lastNumber % 60_000_000) + 100_000_000).slice(1, 3)}.${String((lastNumber % 1_000_000) + 1_000_000).slice(1)}Z`
}

/** A chat group of 12 KB of JSON; about 70 of its leaves differ each time. */
export function chatGroup(contextId: string): { readonly [key: string]: object | string } {
  const minute = new Date().toISOString().slice(0, 'yyyy-mm-ddThh:mm:'.length)
  const participants: { [user: string]: object } = {}
  for (let index = 1; index <= users; index += 1) {
    participants[`user_${index}`] = {
      user_id: `user_${index}`,
      username: `User number ${index}`,
      avatar: `https://avatars.example.com/user_${index}.png`,
      status: index % 3 === 0 ? 'away' : 'online',
      last_seen: timeIn(minute),
      typing: false,
    }
  }
  return {
    group_id: contextId,
    group_name: `Group ${contextId}`,
    participants,
    metadata: { created_at: timeIn(minute), created_by: 'user_1', topic: 'Everything and nothing', members: users },
    chat_history: Array.from({ length: messages }, (_, index) => ({
      message_id: `message_${index + 1}`,
      user_id: `user_${(index % users) + 1}`,
      content: `This is message number ${index + 1}, long enough to say something.`,
      timestamp: timeIn(minute),
    })),
  }
}

/** What the action of a number merges into the state; null: it is a `sync`. */
export function actionOf(index: number, user: string): object | null {
  lastNumber += 1
  if (index % 3 === 0) return { participants: { [user]: { status: `active_${lastNumber}` } } }
  return index % 3 === 1 ? { participants: { [user]: { typing: lastNumber % 2 === 0 } } } : null
}

/** One of Chord's operations on contexts of ours, which counts what it did. */
export class ChordLoad {
  calls = 0
  operations = 0
  /** Acknowledged commits of each context. */
  readonly #acknowledged = new Map<string, number>()
  readonly #contexts: Contexts
  readonly #name: OperationName
  readonly #steady: boolean
  /** Changed when the contexts are replaced by new ones. */
  #life = 0

  /** `steady`: the contexts begin at version 1,000; else they are new ones, always. */
  constructor(contexts: Contexts, name: OperationName, steady: boolean) {
    this.#contexts = contexts
    this.#name = name
    this.#steady = steady
  }

  /** Brings the contexts to where the load begins. */
  async prepare(): Promise<void> {
    for (const id of this.#ids()) {
      await this.#set(id)
      if (!this.#steady) continue
      const updates = Array.from({ length: steadyVersion - 1 }, (_, index) =>
        this.#counted(id, this.#contexts.update(id, { participants: { user_1: { status: `steady_${index}` } } })),
      )
      await Promise.all(updates)
    }
    this.calls = 0
  }

  /** One operation. */
  async run(): Promise<void> {
    const ids = this.#ids()
    for (const id of ids) await this.#set(id)
    const actions: Promise<unknown>[] = []
    const { perContext } = sizeOf[this.#name]
    for (let index = 1; index <= perContext; index += 1) {
      for (const id of ids) {
        const user = this.#name === 'single-50' ? (index % users) + 1 : Math.ceil(Math.random() * users)
        actions.push(this.#act(id, index, `user_${user}`))
      }
    }
    await Promise.all(actions)
    this.calls += ids.length + actions.length
    this.operations += 1
    // The next operation must not take a context past the versions of a new one.
    if (!this.#steady && Math.max(...ids.map((id) => this.#acknowledged.get(id)!)) + perContext + 1 > freshVersions) this.#life += 1
  }

  /** @returns how many commits were kept @throws {Error} the version of a head is not the number of acknowledged commits */
  async close(): Promise<number> {
    let commits = 0
    for (const [id, acknowledged] of this.#acknowledged) {
      const version = (await this.#contexts.get(id))?.version
      if (version !== acknowledged) throw new Error(`${acknowledged} commits of ${id} were acknowledged; it is at version ${version}`)
      commits += acknowledged
    }
    await this.#contexts.close()
    return commits
  }

  #ids(): string[] {
    return Array.from({ length: sizeOf[this.#name].contexts }, (_, index) => `group:${this.#life}-${index}`)
  }

  #set(id: string): Promise<void> {
    return this.#counted(id, this.#contexts.set(id, chatGroup(id)))
  }

  #act(id: string, index: number, user: string): Promise<unknown> {
    const patch = actionOf(index, user)
    return patch === null ? this.#contexts.sync(id, 1) : this.#counted(id, this.#contexts.update(id, patch))
  }

  async #counted(
    id: string,
    write: Promise<{ readonly delta: { readonly baseVersion: number; readonly version: number } }>,
  ): Promise<void> {
    const { delta } = await write
    this.#acknowledged.set(id, (this.#acknowledged.get(id) ?? 0) + delta.version - delta.baseVersion)
  }
}
