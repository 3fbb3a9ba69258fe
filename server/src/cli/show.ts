import { pathText } from '@contextd/protocol'
import type { Change, Delta, JsonValue } from '@contextd/protocol'
import { harmless, momentOf } from './terminal.ts'
import type { Paint } from './terminal.ts'

/** JSON on one line, for programs. */
export const jsonLine = (value: unknown): string => `${JSON.stringify(value)}\n`

const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\b\d[\d.eE+-]*\b/g

/** JSON for people: indented, coloured where colours are. */
export function prettyJson(value: unknown, paint: Paint): string {
  const text = harmless(JSON.stringify(value, null, 2))
  if (!paint.isColorSupported) return text
  return text.replaceAll(tokens, (token: string, quoted?: string, colon?: string, word?: string) => {
    if (quoted !== undefined) return colon === undefined ? paint.green(quoted) : `${paint.cyan(quoted)}${colon}`
    return word === undefined ? paint.yellow(token) : paint.magenta(token)
  })
}

const longestValue = 60

function valueText(value: JsonValue | undefined): string {
  const text = harmless(JSON.stringify(value) ?? '')
  return text.length > longestValue ? `${text.slice(0, longestValue - 1)}…` : text
}

/** One change on one line: `~ votes  3 → 4`. */
export function changeLine({ path, action, value, oldValue }: Change, paint: Paint): string {
  const at = harmless(pathText(path))
  if (action === 'added') return `  ${paint.green(`+ ${at}`)}  ${valueText(value)}`
  if (action === 'removed') return `  ${paint.red(`- ${at}`)}  ${paint.dim(valueText(oldValue))}`
  const old = oldValue === undefined ? '' : `${paint.dim(valueText(oldValue))} → `
  return `  ${paint.yellow(`~ ${at}`)}  ${old}${valueText(value)}`
}

/** A delta: who made it when, and a line for each change. */
export function deltaLines({ baseVersion, version, committedAt, author, changes }: Delta, paint: Paint): string[] {
  const versions = version - baseVersion > 1 ? `${baseVersion + 1}–${version}` : String(version)
  const who = harmless(author.userId ?? author.actor)
  return [
    `${paint.bold(`version ${versions}`)}  ${paint.dim(`${momentOf(committedAt)}  ${who}`)}`,
    ...changes.map((change) => changeLine(change, paint)),
  ]
}
