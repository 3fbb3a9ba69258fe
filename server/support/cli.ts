import { PassThrough, Readable } from 'node:stream'
import { run } from '../src/cli/run.ts'
import type { Terminal } from '../src/cli/terminal.ts'
import { silentLogger } from '../src/logger.ts'

/** What a command printed, and how it ended. */
export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}
/** Around a command. */
export interface Around {
  /** What is piped in; undefined: a terminal. */
  readonly input?: string
  readonly env?: { readonly [name: string]: string }
  /** Whether it prints on a terminal. */
  readonly tty?: boolean
  readonly signal?: AbortSignal
  /** Told of what is printed, as it is. */
  readonly onOut?: (text: string) => void
}

/** Runs a command line of contextd in this process; it may not serve. */
export async function runCli(args: readonly string[], { input, env = {}, tty = false, signal, onOut }: Around = {}): Promise<Ran> {
  let [out, err] = ['', '']
  const stdout = Object.assign(new PassThrough(), { isTTY: tty, columns: 80 })
  const stderr = Object.assign(new PassThrough(), { isTTY: tty, columns: 80 })
  stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
    onOut?.(out)
  })
  stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const stdin = Object.assign(Readable.from(input === undefined ? [] : [input]), { isTTY: input === undefined })
  const terminal: Terminal = { stdin, stdout, stderr, env, signal: signal ?? new AbortController().signal }
  const code = await run(args, terminal, silentLogger, () => Promise.reject(new Error('nothing is served here')))
  stdout.end()
  stderr.end()
  // What was written last is read in the next turn.
  await new Promise(setImmediate)
  return { code, out, err }
}
