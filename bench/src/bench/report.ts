import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

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

/** Prints a report; `write`: also puts it into its place in the documentation. */
export function print(suite: string, { blocks, missed }: Report, { markdown, write }: { markdown: boolean; write: boolean }): void {
  const text = [...blocks, machine()].join('\n\n')
  console.log(text)
  if (write) writeInto(page, suite, text)
  if (markdown) return
  console.log(missed.length === 0 ? '\nAll goals reached.' : `\nGoals not reached:\n${missed.map((line) => `- ${line}`).join('\n')}`)
}

/** From the one file that the benchmarks are bundled into. */
const page = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url))

/** Replaces what stands between a suite's marks on a page. @throws {Error} there are none */
function writeInto(file: string, suite: string, text: string): void {
  const [start, end] = [`<!-- ${suite} -->`, `<!-- /${suite} -->`]
  const [before, rest] = readFileSync(file, 'utf8').split(start)
  const after = rest?.split(end)[1]
  if (after === undefined) throw new Error(`${file} has no place for the suite ${suite}`)
  writeFileSync(file, `${before}${start}\n\n${text}\n\n${end}${after}`)
}
