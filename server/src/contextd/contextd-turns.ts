/** A write that could not be made now, as somebody else has locked what it writes. */
export interface NotNow {
  /** Why; thrown when it stays so. */
  readonly locked: unknown
}

/**
 * Lets the writes of one process to a key that another has locked go in the order in which they were asked for: one of them tries again
 * and again, the others wait behind it. Writes that nobody stops do not wait for each other.
 */
export class TakingTurns {
  readonly #stopped = new Map<string, Promise<void>>()
  /** Wakes who waits until it tries again. */
  readonly #wake = new Set<() => void>()

  /** Makes a write of these keys, which `attempt` tries; for at most `patienceMs`, each `retryMs`. @throws what stopped it all that time */
  async run<R extends object>(
    keys: readonly string[],
    patienceMs: number,
    retryMs: number,
    attempt: () => Promise<R | NotNow>,
  ): Promise<R> {
    const end = performance.now() + patienceMs
    await this.#turn(keys)
    let result = await attempt()
    if (!isNotNow(result)) return result
    // Others may have been stopped before it.
    while (this.#isStopped(keys)) {
      await this.#turn(keys)
      result = await attempt()
      if (!isNotNow(result)) return result
    }
    const going = this.#stop(keys)
    try {
      while (performance.now() < end) {
        await this.#pause(Math.min(retryMs, end - performance.now()))
        result = await attempt()
        if (!isNotNow(result)) return result
      }
      throw result.locked
    } finally {
      going()
    }
  }

  /** All who wait try at once. */
  stop(): void {
    for (const wake of this.#wake) wake()
  }

  #isStopped(keys: readonly string[]): boolean {
    return keys.some((key) => this.#stopped.has(key))
  }

  async #turn(keys: readonly string[]): Promise<void> {
    for (;;) {
      const key = keys.find((each) => this.#stopped.has(each))
      if (key === undefined) return
      await this.#stopped.get(key)
    }
  }

  #stop(keys: readonly string[]): () => void {
    let go!: () => void
    const over = new Promise<void>((resolve) => {
      go = resolve
    })
    for (const key of keys) this.#stopped.set(key, over)
    return () => {
      for (const key of keys) this.#stopped.delete(key)
      go()
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#wake.delete(end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      this.#wake.add(end)
    })
  }
}

const isNotNow = (result: object): result is NotNow => 'locked' in result
