import { parseArgs } from 'node:util'
import { defaultLimits } from '@contextd/protocol'
import type { Limits } from '@contextd/protocol'
import { isLoopback } from '../socket/admission.ts'

/** What `contextd serve` was asked for. */
export interface ServeOptions {
  readonly port: number
  readonly host: string
  readonly store: string
  readonly anonymous: boolean
  readonly origins: readonly string[]
  readonly limits: Partial<Limits>
}

/** The command line is not one that contextd understands: the message says why, and the usage follows. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** What there is to say on a command line. */
export const usage = `Usage: contextd [serve] [options]

Serves contexts to clients, over Socket.IO and HTTP.

  --port PORT          port to listen on; 0: a free one (default 4000)
  --host HOST          address to listen on (default 127.0.0.1)
  --store URL          where contexts are kept: sqlite:FILE, memory:, redis://HOST:PORT, rediss://HOST:PORT (default sqlite:contextd.db)
  --anonymous          lets everybody who can connect read and write everything; needed for any HOST but this machine's own
  --cors ORIGIN        origin of browser pages that may connect, besides the server's own; may be repeated
  --limit NAME=VALUE   sets a limit; 0: none; may be repeated. Names: ${Object.keys(defaultLimits).join(', ')}
  --help               this text
`

const flags = {
  port: { type: 'string', default: '4000' },
  host: { type: 'string', default: '127.0.0.1' },
  store: { type: 'string', default: 'sqlite:contextd.db' },
  anonymous: { type: 'boolean', default: false },
  cors: { type: 'string', multiple: true, default: [] as string[] },
  limit: { type: 'string', multiple: true, default: [] as string[] },
  help: { type: 'boolean', default: false },
} as const

/** Reads a command line. @throws {UsageError} */
export function readOptions(args: readonly string[]): ServeOptions | 'help' {
  const { values, positionals } = parsed(args)
  if (values.help) return 'help'
  const [verb = 'serve', ...more] = positionals
  if (verb !== 'serve') throw new UsageError(`unknown command: ${verb}`)
  if (more.length > 0) throw new UsageError(`unexpected argument: ${more[0]}`)
  if (!isLoopback(values.host) && !values.anonymous) {
    throw new UsageError(`--host: on ${values.host} others can connect; add --anonymous if all of them may read and write everything`)
  }
  return {
    port: readPort(values.port),
    host: values.host,
    store: values.store,
    anonymous: values.anonymous,
    origins: values.cors,
    limits: Object.fromEntries(values.limit.map(readLimit)),
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: true, strict: true })
  } catch (error) {
    // Node explains at length how to pass what looks like a flag; its first sentence says what is wrong.
    throw new UsageError((error as Error).message.split(/\.? *\n|\. /)[0]!.replace(/\.$/, ''))
  }
}

function readPort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new UsageError(`--port: ${text} is no port; it is a number from 0 to 65535`)
  return Number(text)
}

function readLimit(text: string): [string, number] {
  const [, name, value] = /^(\w+)=(\d{1,15})$/.exec(text) ?? []
  if (name === undefined || value === undefined) throw new UsageError(`--limit: ${text} is not NAME=VALUE with a whole number`)
  if (!Object.hasOwn(defaultLimits, name))
    throw new UsageError(`--limit: there is no limit ${name}; there are ${Object.keys(defaultLimits).join(', ')}`)
  return [name, Number(value)]
}
