/** How long work may go on without a pause, ms. */
const longestMs = 10

/** Lets the event loop do other work in the middle of long work: `if (breath.isDue()) await breath.take()` at each step. */
export class Breath {
  #since = performance.now()

  isDue(): boolean {
    return performance.now() - this.#since >= longestMs
  }

  async take(): Promise<void> {
    await new Promise(setImmediate)
    this.#since = performance.now()
  }
}
