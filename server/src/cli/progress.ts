import { counted, paintOf } from './terminal.ts'
import type { Output, Terminal } from './terminal.ts'

/** Time between two drawings, ms. */
const drawMs = 100
const barWidth = 24

/** How far a long work has come: a bar on a terminal, nothing elsewhere. */
export class Progress {
  readonly #output: Output
  readonly #paint: ReturnType<typeof paintOf>
  readonly #verb: string
  readonly #started = performance.now()
  #drawn = 0
  #done = 0

  /** @param verb what is done: `exported` */
  constructor(terminal: Terminal, verb: string) {
    this.#output = terminal.stderr
    this.#paint = paintOf(terminal, terminal.stderr)
    this.#verb = verb
  }

  /** @param part of the whole, from 0 to 1; null: nobody knows */
  set(done: number, part: number | null): void {
    this.#done = done
    const now = performance.now()
    if (this.#output.isTTY !== true || now - this.#drawn < drawMs) return
    this.#drawn = now
    this.#output.write(`\r${this.#line(part, now)}\u001b[K`)
  }

  /** Takes the bar away, so that what comes next stands alone. */
  end(): void {
    if (this.#output.isTTY === true && this.#drawn > 0) this.#output.write('\r\u001b[K')
  }

  #line(part: number | null, now: number): string {
    const perSecond = counted(Math.round(this.#done / Math.max(0.001, (now - this.#started) / 1_000)))
    const said = `${this.#verb} ${counted(this.#done)}  ${this.#paint.dim(`${perSecond}/s`)}`
    if (part === null) return said
    const filled = Math.round(Math.min(1, Math.max(0, part)) * barWidth)
    const bar = this.#paint.cyan('█'.repeat(filled)) + this.#paint.dim('░'.repeat(barWidth - filled))
    return `${bar} ${String(Math.floor(part * 100)).padStart(3)} %  ${said}`
  }
}
