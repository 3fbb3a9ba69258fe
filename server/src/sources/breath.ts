/** How long work may go on without a pause, ms. */
const longestMs = 10
/** So many steps are made between two looks at the clock. */
const stepsPerLook = 64

/** Lets the event loop do other work in the middle of long work: `if (breath.isDue()) await breath.take()` at each step. */
export class Breath {
  #steps = 0
  #since = performance.now()

  isDue(): boolean {
    this.#steps += 1
    return this.#steps % stepsPerLook === 0 && performance.now() - this.#since >= longestMs
  }

  async take(): Promise<void> {
    await new Promise(setImmediate)
    this.#since = performance.now()
  }
}
