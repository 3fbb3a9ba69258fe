/**
 * Opens something for its first holder, and closes it a grace time after its last one has let go, so that who lets go and
 * takes hold again at once (StrictMode, a change of page) keeps it.
 */
export class Lease {
  readonly #open: () => () => void
  readonly #graceMs: number
  #holders = 0
  #close: (() => void) | null = null
  #timer: ReturnType<typeof setTimeout> | null = null

  /**
   * @param open opens, and returns the function that closes
   * @param graceMs time from the last release to closing, ms
   */
  constructor(open: () => () => void, graceMs: number) {
    this.#open = open
    this.#graceMs = graceMs
  }

  /** Counts one more holder; returns the function that ends it. */
  readonly hold = (): (() => void) => {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#close ??= this.#open()
    this.#holders += 1
    let holding = true
    return () => {
      if (!holding) return
      holding = false
      this.#holders -= 1
      if (this.#holders === 0) this.#timer = closeLater(this.#end, this.#graceMs)
    }
  }

  readonly #end = (): void => {
    this.#timer = null
    this.#close?.()
    this.#close = null
  }
}

function closeLater(close: () => void, graceMs: number): ReturnType<typeof setTimeout> {
  const timer = setTimeout(close, graceMs)
  // Where pages are rendered by Node, a grace time must not keep the process alive.
  if (typeof timer === 'object') (timer as { unref(): void }).unref()
  return timer
}
