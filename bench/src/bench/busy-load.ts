import type { createContexts } from 'contextd'

type Contexts = ReturnType<typeof createContexts>

/** Commits to many contexts all the time, so many of each in flight. */
export class BusyLoad {
  #running = true
  #commits = 0
  readonly #writers: Promise<void>[]

  private constructor(contexts: Contexts, ids: readonly string[], inFlight: number) {
    this.#writers = ids.flatMap((id) => Array.from({ length: inFlight }, () => this.#write(contexts, id)))
  }

  static async start(contexts: Contexts, count: number, inFlight: number): Promise<BusyLoad> {
    const ids = Array.from({ length: count }, (_, index) => `bench:busy-${index}`)
    await Promise.all(ids.map((id) => contexts.set(id, { n: 0 })))
    return new BusyLoad(contexts, ids, inFlight)
  }

  /** Commits per second while something else is done. */
  async rate(work: () => Promise<void>): Promise<number> {
    const commits = this.#commits
    const start = performance.now()
    await work()
    return (this.#commits - commits) / ((performance.now() - start) / 1_000)
  }

  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#writers)
  }

  async #write(contexts: Contexts, id: string): Promise<void> {
    while (this.#running) {
      await contexts.apply(id, [{ type: 'increment', path: ['n'], by: 1 }])
      this.#commits += 1
    }
  }
}
