import type { JsonObject } from '@contextd/protocol'
import { UsageError } from './flags.ts'
import type { Terminal } from './terminal.ts'

/** Largest state that is read, bytes; what the limits of the contexts are is theirs to say. */
const mostBytes = 1_073_741_824

/** All that comes in on standard input. @throws {UsageError} it is a terminal, and nobody was asked to type */
export async function readInput({ stdin }: Terminal): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stdin as AsyncIterable<Buffer | string>) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    length += bytes.length
    if (length > mostBytes) throw new UsageError('what comes in on standard input is larger than 1 GiB')
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * The JSON object of an argument; `-`, or nothing where something is piped in: of standard input.
 * @throws {UsageError} there is none, or it is no JSON object
 */
export async function objectOf(argument: string | undefined, what: string, terminal: Terminal): Promise<JsonObject> {
  if (argument === undefined && terminal.stdin.isTTY === true)
    throw new UsageError(`the ${what} is missing; give it as JSON, or - to read it from standard input`)
  const piped = argument === undefined || argument === '-'
  const text = piped ? await readInput(terminal) : argument
  const from = piped ? 'standard input' : `the ${what}`
  if (piped && text.trim() === '') throw new UsageError(`the ${what} is missing: nothing came in on standard input`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${from} is no JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new UsageError(`${from} is no JSON object`)
  return value as JsonObject
}
