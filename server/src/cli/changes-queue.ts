/** What happens, in order, for one reader who may come later. */
export class ChangesQueue<T> {
  readonly #items: T[] = []
  #wake: (() => void) | null = null
  #ended = false

  add(item: T): void {
    this.#items.push(item)
    this.#wake?.()
  }

  /** Nothing comes any more. */
  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  /** The next one; null: there is none any more. */
  async next(): Promise<T | null> {
    while (this.#items.length === 0) {
      if (this.#ended) return null
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    return this.#ended ? null : this.#items.shift()!
  }
}
