/** How many seconds' worth may come at once after a pause. */
const burst = 5

/** Lets so many through per second, and a burst after a pause. Time is given, so that it can be any clock that does not go back. */
export class TokenBucket {
  // Counted in thousandths: whole rates and whole times leave no fractions behind.
  readonly #perMs: number
  readonly #capacity: number
  #tokens: number
  #at: number

  /** @param perSecond 0: no limit */
  constructor(perSecond: number, now: number) {
    this.#perMs = perSecond
    this.#capacity = perSecond * burst * 1_000
    this.#tokens = this.#capacity
    this.#at = now
  }

  /**
   * Takes tokens. What costs more than ever fits is let through when the bucket is full, and leaves a debt.
   *
   * @returns 0 when they were there; else the time after which to try again, ms, and nothing is taken
   */
  take(cost: number, now: number): number {
    if (this.#capacity === 0) return 0
    this.#tokens = Math.min(this.#capacity, this.#tokens + (now - this.#at) * this.#perMs)
    this.#at = now
    const price = cost * 1_000
    const needed = Math.min(price, this.#capacity)
    if (this.#tokens < needed) return Math.ceil((needed - this.#tokens) / this.#perMs)
    this.#tokens -= price
    return 0
  }
}
