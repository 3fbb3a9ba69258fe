/** What is due at a time; those due at one time run in the order in which they were asked for. */
interface Entry {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

const before = (a: Entry, b: Entry): boolean => (a.at === b.at ? a.order < b.order : a.at < b.at)

/** Virtual time: runs what is due, one after another, and jumps over the time between. */
export class Scheduler {
  readonly #heap: Entry[] = []
  #order = 0
  /** Virtual time, ms. */
  now = 0
  /** How many entries have run. */
  steps = 0

  /** Runs something `delay` ms from now. */
  after(delay: number, run: () => void): void {
    const entry = { at: this.now + delay, order: this.#order, run }
    this.#order += 1
    const heap = this.#heap
    let index = heap.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!before(entry, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = entry
  }

  /** Runs everything that is due up to this time, which is the time afterwards. */
  runUntil(end: number): void {
    while (this.#heap.length > 0 && this.#heap[0]!.at <= end) this.#runNext()
    this.now = Math.max(this.now, end)
  }

  #runNext(): void {
    const next = this.#heap[0]!
    const last = this.#heap.pop()!
    if (this.#heap.length > 0) this.#sink(last)
    this.now = next.at
    this.steps += 1
    next.run()
  }

  #sink(entry: Entry): void {
    const heap = this.#heap
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1
      if (!before(heap[child]!, entry)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = entry
  }
}
