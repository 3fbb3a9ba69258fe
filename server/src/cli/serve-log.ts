import { pino } from 'pino'
import { carefulLogger } from '../logger.ts'
import type { Logger } from '../logger.ts'
import type { LogOptions } from './options.ts'
import { harmless, paintOf } from './terminal.ts'
import type { Paint, Terminal } from './terminal.ts'

/** What every line of pino has. */
interface Line {
  readonly level: string
  readonly time: string
  readonly msg?: string
  readonly [detail: string]: unknown
}

/** Where a server that runs in this process logs: lines of JSON on standard error, or text for people; on a terminal it is text unless asked. */
export function serveLogger({ level, format }: LogOptions, terminal: Pick<Terminal, 'env' | 'stderr'>): Logger {
  const { stderr } = terminal
  const asText = (format ?? (stderr.isTTY === true ? 'text' : 'json')) === 'text'
  const paint = paintOf(terminal, stderr)
  const output = asText ? { write: (line: string) => void stderr.write(textOf(line, paint)) } : stderr
  const options = { level, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label: string) => ({ level: label }) } }
  return carefulLogger(pino(options, output))
}

/** A line of JSON as text: `12:34:56.789 warn  the store does not answer  store=redis`. */
export function textOf(json: string, paint: Paint): string {
  const { level, time, msg = '', pid: _pid, hostname: _hostname, ...details } = JSON.parse(json) as Line
  const painted = level === 'error' ? paint.red : level === 'warn' ? paint.yellow : paint.dim
  const told = Object.entries(details).map(([name, value]) => `  ${paint.dim(`${name}=`)}${harmless(valueText(value))}`)
  return `${paint.dim(time.slice(11, 23))} ${painted(level.padEnd(5))} ${harmless(msg)}${told.join('')}\n`
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return value
  const { message } = (value ?? {}) as { message?: unknown }
  return typeof message === 'string' ? message : JSON.stringify(value)
}
