import { backOff, later } from './timers.ts'
import type { Timer } from './timers.ts'

/** Longest jitter before held messages go again: the connection is there, so trying costs little, ms. */
const longestHoldMs = 5_000

/** Keeps messages back after what was sent was held; longer each time, until something goes well. */
export class Gate {
  #timer: Timer | null = null
  #times = 0

  get shut(): boolean {
    return this.#timer !== null
  }
  /** Shuts, and calls when it opens by itself. @param leastMs shortest time, to which jitter is added */
  hold(leastMs: number, opened: () => void): void {
    this.open()
    this.#timer = later(
      () => {
        this.#timer = null
        opened()
      },
      leastMs + backOff(this.#times, longestHoldMs),
    )
    this.#times += 1
  }
  open(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
  /** What is held next is held shortly again. */
  calm(): void {
    this.#times = 0
  }
}

/** Longest that a commit stays out before the server is asked what became of it, ms. */
const patienceMs = 10_000

/** Watches for a number that stays the same for too long: what was to tell of it is lost. */
export class Patience {
  readonly #current: () => number | null
  readonly #lost: () => void
  #timer: Timer | null = null

  /**
   * @param current the number to watch now; null: none
   * @param lost called when it has not changed for long
   */
  constructor(current: () => number | null, lost: () => void) {
    this.#current = current
    this.#lost = lost
  }

  /** Begins to watch, if there is something. */
  watch(): void {
    const number = this.#current()
    if (number === null || this.#timer !== null) return
    this.#timer = later(() => {
      this.#timer = null
      if (this.#current() === number) this.#lost()
      this.watch()
    }, patienceMs)
  }
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
