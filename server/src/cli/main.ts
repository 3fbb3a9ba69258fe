#!/usr/bin/env node
import type { Logger } from '../logger.ts'
import { failureLine } from './failure.ts'
import { UsageError, readOptions, usage } from './options.ts'
import type { ServeOptions } from './options.ts'
import { endOnSignals, serve } from './serve.ts'

const failed = 1
const misused = 2

/** Errors only, as one line of JSON each: what is printed otherwise is the URL. */
const logger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error(details, message) {
    console.error(JSON.stringify({ time: Date.now(), level: 'error', message, ...described(details) }))
  },
}

/** Errors have no JSON of their own. */
function described(details: object): object {
  return Object.fromEntries(
    Object.entries(details).map(([name, value]: [string, unknown]) => [name, value instanceof Error ? value.message : value]),
  )
}

function fail(code: number, text: string): void {
  console.error(text)
  process.exitCode = code
}

async function run(options: ServeOptions): Promise<void> {
  try {
    const serving = await serve(options, logger)
    endOnSignals(serving)
    console.log(`contextd is ready at ${serving.url}`)
  } catch (error) {
    // What a function of ours calls a TypeError was said on the command line.
    fail(error instanceof TypeError ? misused : failed, `contextd: ${failureLine(error, options)}`)
  }
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === 'help') console.log(usage)
  else await run(options)
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  fail(misused, `contextd: ${error.message}\n\n${usage}`)
}
