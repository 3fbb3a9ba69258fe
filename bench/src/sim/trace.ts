/** What happened in a run, line by line; two runs of one seed have the same hash. */
export class Trace {
  readonly #lines: string[] | null
  #hash = 0xcbf29ce484222325n

  /** @param keep false: nothing is recorded, which is much faster */
  constructor(keep: boolean) {
    this.#lines = keep ? [] : null
  }

  get on(): boolean {
    return this.#lines !== null
  }
  get lines(): readonly string[] {
    return this.#lines ?? []
  }
  /** FNV-1a of all lines, 64 bits. */
  get hash(): string {
    return this.#hash.toString(16).padStart(16, '0')
  }

  /** Adds a line; the values are written as JSON. Call it only when `on`, where the values cost something. */
  add(time: number, who: string, what: string, ...values: readonly unknown[]): void {
    if (this.#lines === null) return
    const line = [`${time}`.padStart(8), who.padEnd(6), what, ...values.map((value) => JSON.stringify(value))].join(' ')
    this.#lines.push(line)
    for (let index = 0; index < line.length; index += 1) {
      this.#hash = ((this.#hash ^ BigInt(line.charCodeAt(index))) * 0x100000001b3n) & 0xffffffffffffffffn
    }
  }
}
