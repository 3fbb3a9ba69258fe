/** Lets a few reads run at a time, and none while it is shut: what they bring has to be sent to a client that may not be reading. */
export class ReadGate {
  readonly #most: number
  readonly #waiting: (() => void)[] = []
  #running = 0
  #shut = false

  /** @param most how many may run at a time */
  constructor(most: number) {
    this.#most = most
  }

  /** Runs a read when its turn has come. */
  async run<T>(read: () => Promise<T>): Promise<T> {
    if (this.#shut || this.#running >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running += 1
    try {
      return await read()
    } finally {
      this.#running -= 1
      this.#admit()
    }
  }

  /** Begins no further read. */
  shut(): void {
    this.#shut = true
  }

  open(): void {
    this.#shut = false
    this.#admit()
  }

  #admit(): void {
    while (!this.#shut && this.#running < this.#most) {
      const next = this.#waiting.shift()
      if (!next) return
      this.#running += 1
      next()
    }
  }
}
