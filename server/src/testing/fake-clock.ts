/** A clock that a test moves: time stands still otherwise. Hand it to `createContexts({ clock })`. */
export class FakeClock {
  #now: number

  /** Starts at this time, ms since the epoch. Default 2024-01-01T00:00:00Z. */
  constructor(startAt = 1_704_067_200_000) {
    this.#now = startAt
  }

  /** The time, ms since the epoch. */
  now(): number {
    return this.#now
  }

  /** Moves on by this long, ms; a negative number turns it back, as clocks of machines do now and then. */
  advance(ms: number): void {
    this.set(this.#now + ms)
  }

  /** Moves to this time, ms since the epoch. @throws {TypeError} it is no whole number from 0 on */
  set(now: number): void {
    if (!Number.isSafeInteger(now) || now < 0) throw new TypeError('A time is a whole number of ms since the epoch.')
    this.#now = now
  }
}
