import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { suggestion } from './suggest.ts'

/** The command line is not one that contextd understands: the message says why, and the usage follows. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** One flag: what follows it, and what it is for; `list` may be repeated, `switch` has nothing after it. */
export interface Flag {
  readonly kind: 'text' | 'list' | 'switch'
  /** As the usage names what follows: `PORT`. */
  readonly value?: string
  readonly help: string
}
/** Flags by their names. */
export type Flags = { readonly [name: string]: Flag }
/** What was given, by the names of the flags. */
export interface Given {
  text(name: string): string | undefined
  list(name: string): readonly string[]
  on(name: string): boolean
}
/** A command line, taken apart. */
export interface CommandLine {
  /** Null: none is named. */
  readonly verb: string | null
  readonly positionals: readonly string[]
  readonly given: Given
}

type Values = { readonly [name: string]: unknown }

const parsedBy = (flags: Flags): { [name: string]: { type: 'string' | 'boolean'; multiple: boolean } } =>
  Object.fromEntries(
    Object.entries(flags).map(([name, { kind }]) => [name, { type: kind === 'switch' ? 'boolean' : 'string', multiple: kind === 'list' }]),
  )

/** The first word that is neither a flag nor what follows one; null: there is none. */
export function verbOf(args: readonly string[], flags: Flags): string | null {
  const { positionals } = parseArgs({ args: [...args], options: parsedBy(flags), allowPositionals: true, strict: false })
  return positionals[0] ?? null
}

/**
 * Takes a command line apart: what it says comes before what the file of `--config` says.
 * @param flags those of the verb
 * @param all those of any verb: a file may say more than this verb needs
 * @throws {UsageError}
 */
export function parse(
  args: readonly string[],
  flags: Flags,
  all: Flags,
): { readonly positionals: readonly string[]; readonly given: Given } {
  const { values, positionals } = parsed(args, flags)
  const file = values['config']
  const configured = typeof file === 'string' ? configOf(file, all) : {}
  // A name that means something else to this verb is not meant for it.
  const isMeant = (name: string): boolean => flags[name]?.kind === all[name]?.kind && !isOverruled(name, values)
  const of = (name: string): unknown => values[name] ?? (isMeant(name) ? configured[name] : undefined)
  return {
    positionals,
    given: {
      text: (name) => of(name) as string | undefined,
      list: (name) => (of(name) ?? []) as readonly string[],
      on: (name) => of(name) === true,
    },
  }
}

/** Of two flags that exclude each other, the one on the command line overrules the other one in the file. */
const rivals: readonly (readonly string[])[] = [
  ['url', 'store'],
  ['jwt-secret', 'jwks', 'anonymous'],
  ['metrics', 'metrics-token'],
]
const isOverruled = (name: string, values: Values): boolean =>
  rivals.some((names) => names.includes(name) && names.some((rival) => values[rival] !== undefined))

function parsed(args: readonly string[], flags: Flags): { readonly values: Values; readonly positionals: readonly string[] } {
  try {
    return parseArgs({ args: joined(args, flags), options: parsedBy(flags), allowPositionals: true, strict: true })
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    // Node explains at length how to pass what looks like a flag; its first sentence says what is wrong.
    const said = message.split(/\.? *\n|\. /)[0]!.replace(/\.$/, '')
    const unknown = code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' ? /'-{1,2}([^']*)'/.exec(said)?.[1] : undefined
    throw new UsageError(unknown === undefined ? said : said + suggestion(unknown, Object.keys(flags), (name) => `--${name}`))
  }
}

/** @throws {UsageError} a flag is none of these */
export function checkFlags(args: readonly string[], flags: Flags): void {
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1]
    if (name !== undefined && !Object.hasOwn(flags, name))
      throw new UsageError(`Unknown option '--${name}'${suggestion(name, Object.keys(flags), (known) => `--${known}`)}`)
  }
}

/** Joins a flag with what follows it where that begins with a dash, as a revision may; it is no flag for that. */
function joined(args: readonly string[], flags: Flags): string[] {
  const line: string[] = []
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at]!
    const next = args[at + 1]
    const takes = arg.startsWith('--') && (flags[arg.slice(2)]?.kind ?? 'switch') !== 'switch'
    const isFlag = next !== undefined && Object.keys(flags).some((name) => next === `--${name}` || next.startsWith(`--${name}=`))
    if (takes && next !== undefined && /^-./.test(next) && !isFlag) {
      line.push(`${arg}=${next}`)
      at += 1
    } else line.push(arg)
  }
  return line
}

/** Reads a file of options: a JSON object with the names of the flags. @throws {UsageError} */
function configOf(file: string, all: Flags): Values {
  const config = jsonOf(file)
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw new UsageError(`--config: ${file} holds no object`)
  return Object.fromEntries(
    Object.entries(config).map(([name, value]: [string, unknown]) => {
      const flag = Object.hasOwn(all, name) ? all[name] : undefined
      if (flag === undefined || name === 'config') {
        throw new UsageError(`--config: ${file}: there is no option ${name}${suggestion(name, Object.keys(all))}`)
      }
      return [name, fitting(flag, `--config: ${file}: ${name}`, value)]
    }),
  )
}

function jsonOf(file: string): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`--config: ${file} cannot be read: ${(error as { code?: string }).code ?? 'it is no file'}`)
  }
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw new UsageError(`--config: ${file} is no JSON`)
  }
}

function fitting({ kind }: Flag, at: string, value: unknown): string | boolean | readonly string[] {
  if (kind === 'switch') {
    if (typeof value === 'boolean') return value
    throw new UsageError(`${at} must be true or false`)
  }
  if (kind === 'text') return textOf(at, value)
  if (Array.isArray(value)) return value.map((item: unknown) => textOf(at, item))
  // Limits are said as an object: { "depth": 8 }.
  if (typeof value === 'object' && value !== null) return Object.entries(value).map(([name, item]) => `${name}=${textOf(at, item)}`)
  return [textOf(at, value)]
}

function textOf(at: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw new UsageError(`${at} must be a text or a number`)
}

/** A whole number of at least `least`; undefined: it is not given. @throws {UsageError} it is none */
export function wholeOf(given: Given, name: string, least: number): number | undefined {
  const text = given.text(name)
  if (text === undefined) return undefined
  if (/^\d{1,15}$/.test(text) && Number(text) >= least) return Number(text)
  throw new UsageError(`--${name}: ${text} is no whole number of at least ${least}`)
}

/** The lines of flags in a usage. */
export function flagLines(flags: Flags): string {
  const named = Object.entries(flags).map(
    ([name, { value, help }]) => [`--${name}${value === undefined ? '' : ` ${value}`}`, help] as const,
  )
  const width = Math.max(...named.map(([name]) => name.length))
  return named.map(([name, help]) => `  ${name.padEnd(width)}  ${help}`).join('\n')
}
