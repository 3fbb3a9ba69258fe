import type { Readable, Writable } from 'node:stream'
import pc from 'picocolors'

/** A stream that may be a terminal. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number }
/** What a command reads from, and writes to. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Output
  readonly stderr: Output
  readonly env: { readonly [name: string]: string | undefined }
  /** Aborted when the user ends the command. */
  readonly signal: AbortSignal
}

/** Colours of what is printed. */
export type Paint = ReturnType<typeof pc.createColors>

/** Whether colours are wanted on a stream: on a terminal that has them, unless `NO_COLOR` says no; `FORCE_COLOR` says yes anywhere. */
export function isColoured({ env }: Pick<Terminal, 'env'>, output: Output): boolean {
  if ((env['NO_COLOR'] ?? '') !== '') return false
  if ((env['FORCE_COLOR'] ?? '') !== '') return env['FORCE_COLOR'] !== '0'
  return output.isTTY === true && env['TERM'] !== 'dumb'
}

/** The colours of a stream; where none are wanted they change nothing. */
export const paintOf = (terminal: Pick<Terminal, 'env'>, output: Output): Paint => pc.createColors(isColoured(terminal, output))

/** Text that no terminal takes for a command: control characters are written out. */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

/** Writes to a stream, no faster than it takes it. */
export async function write(output: Writable, text: string): Promise<void> {
  if (output.write(text) || output.destroyed) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      output.off('drain', done)
      output.off('close', done)
      output.off('error', done)
      resolve()
    }
    for (const event of ['drain', 'close', 'error']) output.once(event, done)
  })
}

/** One column of a table. */
export interface Column {
  readonly title: string
  readonly right?: boolean
  readonly paint?: (text: string) => string
}

/** Lines of a table of plain text: columns as wide as their widest cell, two spaces between them. */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[], paint: Paint): string[] {
  const widths = columns.map(({ title }, index) => Math.max(title.length, ...rows.map((row) => row[index]!.length)))
  const line = (cells: readonly string[], painted: (cell: string, column: Column) => string): string =>
    cells
      .map((cell, index) => {
        const column = columns[index]!
        const space = ' '.repeat(widths[index]! - cell.length)
        return column.right === true ? space + painted(cell, column) : painted(cell, column) + space
      })
      .join('  ')
      .trimEnd()
  return [
    line(
      columns.map(({ title }) => title),
      (title) => paint.dim(title),
    ),
    ...rows.map((row) => line(row, (cell, column) => column.paint?.(cell) ?? cell)),
  ]
}

const number = new Intl.NumberFormat('en-US')
/** A whole number as people read it: `10,000`. */
export const counted = (count: number): string => number.format(count)
/** `1 context`, `2 contexts`. */
export const countOf = (count: number, name: string): string => `${counted(count)} ${name}${count === 1 ? '' : 's'}`

const two = (value: number): string => String(value).padStart(2, '0')

/** A moment as it is printed: `2026-11-29 03:20:01`, local time. */
export function momentOf(time: number): string {
  const date = new Date(time)
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}
