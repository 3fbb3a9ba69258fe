/** How long a message is not repeated, ms. */
const everyMs = 10_000

/** Says the same thing once in a while, with how often it happened since: what others can cause must not flood the log. */
export class SparseLog {
  readonly #say: (details: object, message: string) => void
  readonly #everyMs: number
  /** What was said lately, and how often it came again. */
  readonly #said = new Map<string, { more: number; last: object }>()

  constructor(say: (details: object, message: string) => void, every = everyMs) {
    this.#say = say
    this.#everyMs = every
  }

  /** @param message one of a few */
  note(details: object, message: string): void {
    const said = this.#said.get(message)
    if (said) {
      said.more += 1
      said.last = details
    } else this.#tell(details, message)
  }

  #tell(details: object, message: string): void {
    this.#say(details, message)
    this.#said.set(message, { more: 0, last: details })
    setTimeout(() => {
      const { more, last } = this.#said.get(message)!
      this.#said.delete(message)
      if (more > 0) this.#tell({ ...last, more }, message)
    }, this.#everyMs).unref()
  }
}
