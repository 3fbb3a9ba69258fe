import { openBackend } from '../backends/open-backend.ts'
import { createContexts } from '../contexts/contexts.ts'
import type { Logger } from '../logger.ts'
import { createServer } from '../server.ts'
import type { ServeOptions } from './options.ts'
import { tokenCheck } from './tokens.ts'

/** How long commits in flight may take when the process is asked to end, and how long everything may take, ms. */
const drainMs = 5_000
const endMs = 9_000

/** A server that runs in this process. */
export interface Serving {
  readonly url: string
  /** Sends everybody away, finishes what is in flight, and gives the store back. */
  end(): Promise<void>
}

/** Starts a server. @throws what keeps it from starting; nothing is left open then */
export async function serve(options: ServeOptions, logger: Logger): Promise<Serving> {
  const { port, host, store, anonymous, tokens, origins, limits, contextTtlMs, deltaTtlMs, metrics } = options
  const contexts = createContexts({
    backend: openBackend(store),
    limits,
    logger,
    ...(contextTtlMs !== null && { contextTtlMs, autoDelete: true }),
    ...(deltaTtlMs !== null && { deltaTtlMs }),
  })
  try {
    const authenticate = tokens === null ? undefined : tokenCheck(tokens)
    const server = createServer({
      contexts,
      cors: { origin: origins },
      anonymous,
      ...(authenticate && { authenticate }),
      ...(metrics !== undefined && { metrics }),
    })
    await server.listen({ port, host })
    if (contextTtlMs !== null || deltaTtlMs !== null) contexts.startCleanup()
    return {
      url: server.url!,
      end: async () => {
        await server.close({ drainMs })
        await contexts.close()
      },
    }
  } catch (error) {
    await contexts.close().catch(() => {})
    throw error
  }
}

/** Ends the process on SIGTERM and SIGINT: 0 when all was answered, 1 when it took too long; at a second signal at once. */
export function endOnSignals(serving: Serving, logger: Logger): void {
  let asked = false
  const end = (signal: string): void => {
    if (asked) process.exit(1)
    asked = true
    logger.info({ signal }, 'asked to end')
    setTimeout(() => {
      logger.error({ endMs }, 'not everything was answered in time')
      process.exit(1)
    }, endMs).unref()
    serving.end().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ error }, 'the server could not be closed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

/** Logs what nobody caught, and ends: what the process holds can no longer be trusted. */
export function endOnInnerErrors(logger: Logger): void {
  process.on('uncaughtException', (error) => {
    logger.error({ error }, 'an inner error; the process ends')
    process.exit(1)
  })
}
