import { cpus, totalmem } from 'node:os'

/** The figures of one quantity over the rounds of a run. */
export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export function spreadOf(figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const median = sorted.length % 2 === 1 ? sorted[Math.floor(middle)]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, least: sorted[0]!, most: sorted.at(-1)! }
}

/** A number in the digits that it is worth: whole from 100 on, with three digits below. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return value.toPrecision(Math.abs(value) < 1 ? 2 : 3)
}

/** `median (least–most)`. */
export function spreadText(spread: Spread, text: (value: number) => string = digits): string {
  return `${text(spread.median)} (${text(spread.least)}–${text(spread.most)})`
}

/** A table of Markdown; the first row is its head. */
export function table(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows.map((row) => `| ${row.join(' | ')} |`)
  return [head, `|${' --- |'.repeat(rows[0]!.length)}`, ...body].join('\n')
}

/** What the figures were made on. */
export function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  const gigabytes = Math.round(totalmem() / 1_073_741_824)
  return `Node ${process.version}, ${cpus().length} × ${model}, ${gigabytes} GiB, ${new Date().toISOString().slice(0, 10)}`
}

/** Tells how far a run is, beside what it prints. */
export function progress(text: string): void {
  console.error(text)
}

/** What a suite prints: its tables and notes as Markdown; for a reader at a terminal, what was expected comes after them. */
export interface Report {
  readonly blocks: readonly string[]
  /** What the run did not reach, one line each. */
  readonly missed: readonly string[]
}

export function print({ blocks, missed }: Report, markdown: boolean): void {
  console.log([machine(), ...blocks].join('\n\n'))
  if (markdown) return
  console.log(missed.length === 0 ? '\nAll goals reached.' : `\nGoals not reached:\n${missed.map((line) => `- ${line}`).join('\n')}`)
}
