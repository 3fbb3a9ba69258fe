/** Does works of one name one after the other, in the order in which they were asked for; those of different names side by side. */
export class OneAtATime {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Does a work once those before it of that name have ended, in whatever way. */
  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const turn = before.then(work)
    const settled = turn.catch(() => {})
    this.#last.set(name, settled)
    try {
      return await turn
    } finally {
      if (this.#last.get(name) === settled) this.#last.delete(name)
    }
  }
}
