#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8'
import { carefulLogger, silentLogger } from '../logger.ts'
import type { ServeOptions } from './options.ts'
import { run } from './run.ts'
import type { Terminal } from './terminal.ts'

/** What goes wrong, as one line of JSON; what is printed otherwise is what was asked for. */
const logger = carefulLogger({
  ...silentLogger,
  error: (details, message) => console.error(JSON.stringify({ time: new Date().toISOString(), level: 'error', message, ...details })),
})

async function serveHere(options: ServeOptions): Promise<void> {
  // Else V8, once many calls were under way at the same time, takes their short-lived objects for long-lived ones: a third of the speed is gone then.
  setFlagsFromString('--no-allocation-site-pretenuring')
  // What only a server needs is not loaded for a look into one.
  const { endOnInnerErrors, endOnSignals, serve } = await import('./serve.ts')
  const { serveLogger } = await import('./serve-log.ts')
  const log = serveLogger(options.log, terminal)
  endOnInnerErrors(log)
  const serving = await serve(options, log)
  endOnSignals(serving, log)
  console.log(`contextd is ready at ${serving.url}`)
}

const controller = new AbortController()
const { stdin, stdout, stderr, env } = process
const terminal: Terminal = { stdin, stdout, stderr, env, signal: controller.signal }

/** Who reads what is printed may have had enough, as `head` has: that is no failure. */
for (const output of [stdout, stderr]) {
  output.on('error', (error: { code?: string }) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1)
  })
}

process.once('SIGINT', () => {
  controller.abort()
  // Whatever does not end by itself ends now; a server has its own way to.
  process.once('SIGINT', () => process.exit(1))
})

// Who waits for commits of others has nothing else to do.
const alive = setInterval(() => {}, 2_147_483_647)
process.exitCode = await run(process.argv.slice(2), terminal, logger, serveHere)
clearInterval(alive)
