/** Counts values by their size, in plain numbers: one more costs a few comparisons. */
export class Histogram {
  /** Upper bounds of the buckets, the smallest first. */
  readonly bounds: readonly number[]
  /** How many values each bucket has got; the last one those above all bounds. */
  readonly counts: number[]
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0)
  }

  observe(value: number): void {
    const { bounds, counts } = this
    let bucket = 0
    while (bucket < bounds.length && value > bounds[bucket]!) bucket += 1
    counts[bucket]! += 1
    this.sum += value
  }
}

/** Bounds for times of calls, s: from 0.1 ms to 10 s. */
export const secondsBounds: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]

/** Counts by a name, of which there are few. */
export class Tally<Name extends string = string> {
  readonly #counts = new Map<Name, number>()

  get counts(): ReadonlyMap<string, number> {
    return this.#counts
  }

  add(name: Name): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1)
  }
}
