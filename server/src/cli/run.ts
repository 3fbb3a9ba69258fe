import type { Logger } from '../logger.ts'
import * as contexts from './context-verbs.ts'
import { failureLine } from './failure.ts'
import { UsageError, checkFlags, parse, verbOf, wholeOf } from './flags.ts'
import type { Given } from './flags.ts'
import { serveOptions } from './options.ts'
import type { ServeOptions } from './options.ts'
import { suggestion } from './suggest.ts'
import type { Target } from './target.ts'
import { harmless, write } from './terminal.ts'
import type { Terminal } from './terminal.ts'
import { exportVerb, restoreVerb } from './transfer.ts'
import { allFlags, usageOf, verbs } from './verbs.ts'
import type { Work } from './verbs.ts'

const failed = 1
const misused = 2
const defaultUrl = 'http://127.0.0.1:4000'

const work: { readonly [verb: string]: (work: Work) => Promise<void> } = {
  get: contexts.get,
  set: contexts.set,
  update: contexts.update,
  delete: contexts.remove,
  watch: contexts.watch,
  list: contexts.list,
  history: contexts.history,
  cleanup: contexts.cleanup,
  export: exportVerb,
  restore: restoreVerb,
}

/** How `serve` is run, where a process may stay. */
export type Serve = (options: ServeOptions) => Promise<void>

/** Runs a command line. @returns the exit code: 0, 1 failed, 2 not understood */
export async function run(args: readonly string[], terminal: Terminal, logger: Logger, serve: Serve): Promise<number> {
  let verb: string | null = null
  try {
    verb = verbOf(args, allFlags) ?? 'serve'
    if (!Object.hasOwn(verbs, verb)) {
      const unknown = verb
      verb = null
      if (args.includes('--help')) return await help(terminal, null)
      // What follows a flag that nobody knows may be its value.
      checkFlags(args, allFlags)
      throw new UsageError(`unknown command: ${unknown}${suggestion(unknown, Object.keys(verbs))}`)
    }
    if (args.includes('--help')) return await help(terminal, verb)
    return await runVerb(verb, args, terminal, logger, serve)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    await write(terminal.stderr, `contextd: ${harmless(error.message)}\n\n${usageOf(verb)}`)
    return misused
  }
}

async function help(terminal: Terminal, verb: string | null): Promise<number> {
  await write(terminal.stdout, `${usageOf(verb)}\n`)
  return 0
}

async function runVerb(verb: string, args: readonly string[], terminal: Terminal, logger: Logger, serve: Serve): Promise<number> {
  const {
    flags,
    arguments: [least, most],
    takes,
  } = verbs[verb]!
  const parsed = parse(args, flags, allFlags)
  const { given } = parsed
  // The verb itself is the first one.
  const positionals = parsed.positionals[0] === verb ? parsed.positionals.slice(1) : parsed.positionals
  if (verb === 'serve') {
    const options = serveOptions(positionals, given, terminal.env)
    return guarded(terminal, [options.store], () => serve(options), options)
  }
  if (positionals.length < least) throw new UsageError(`${verb} needs ${takes}`)
  if (positionals.length > most) throw new UsageError(`unexpected argument: ${positionals[most]}`)
  const opened: Target[] = []
  const open = async (url: string, token: string | undefined): Promise<Target> => {
    const target = await openTarget(url, token, given, logger)
    opened.push(target)
    return target
  }
  const place = placeOf(given, terminal)
  // It would replace contexts by what they were a moment ago.
  for (const name of ['to', 'from'])
    if (given.text(name) === place.url) throw new UsageError(`--${name}: that is where the contexts are already; name another place`)
  return guarded(terminal, [place.url, given.text('to') ?? '', given.text('from') ?? ''], async () => {
    try {
      const target = await open(place.url, place.token)
      const other = given.text('to-token') ?? given.text('from-token')
      await work[verb]!({ terminal, given, positionals, target, open: (url) => open(url, other) })
    } finally {
      await Promise.all(opened.map((target) => target.close().catch(() => {})))
    }
  })
}

/** Runs something, and says in one line why it failed. */
async function guarded(terminal: Terminal, secrets: readonly string[], toDo: () => Promise<void>, at?: ServeOptions): Promise<number> {
  try {
    await toDo()
    return 0
  } catch (error) {
    if (error instanceof UsageError) throw error
    await write(terminal.stderr, `contextd: ${harmless(failureLine(error, secrets, at))}\n`)
    // What a function of ours calls a TypeError was said on the command line.
    return error instanceof TypeError ? misused : failed
  }
}

/** Which contexts are meant. @throws {UsageError} two places are named */
function placeOf(given: Given, { env }: Terminal): { readonly url: string; readonly token: string | undefined } {
  const url = given.text('url')
  const store = given.text('store')
  if (url !== undefined && store !== undefined) throw new UsageError('--url and --store exclude each other: take a server, or a store')
  if (store !== undefined) {
    if (/^https?:/i.test(store)) throw new UsageError('--store: a server is named with --url')
    return { url: store, token: undefined }
  }
  const server = url ?? (env['CONTEXTD_URL'] || defaultUrl)
  if (!/^https?:\/\//i.test(server) || !URL.canParse(server))
    throw new UsageError(`--url: ${server} is no address of a server, such as ${defaultUrl}`)
  return { url: server, token: given.text('token') ?? (env['CONTEXTD_TOKEN'] || undefined) }
}

/** What is needed for the one is not loaded for the other. */
async function openTarget(url: string, token: string | undefined, given: Given, logger: Logger): Promise<Target> {
  if (/^https?:/i.test(url)) {
    const { UrlTarget } = await import('./url-target.ts')
    return new UrlTarget(url, token)
  }
  const { StoreTarget } = await import('./store-target.ts')
  const contextTtlMs = wholeOf(given, 'context-ttl-ms', 1)
  const deltaTtlMs = wholeOf(given, 'delta-ttl-ms', 0)
  return new StoreTarget(url, {
    logger,
    ...(contextTtlMs !== undefined && { contextTtlMs }),
    ...(deltaTtlMs !== undefined && { deltaTtlMs }),
  })
}
