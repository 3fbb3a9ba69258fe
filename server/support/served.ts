import { onTestFinished } from 'vitest'
import { contextsWith } from '../src/contexts/contexts.ts'
import type { Contexts } from '../src/contexts/contexts.ts'
import { engineOf } from '../src/engine/engine.ts'
import type { Engine } from '../src/engine/engine.ts'
import { createServer } from '../src/server.ts'
import type { Server } from '../src/server.ts'
import type { ServerOptions } from '../src/server-options.ts'
import { WireClient } from './wire-client.ts'

/** A server of one test, on a free port of the loopback. */
export interface Served {
  readonly contexts: Contexts<{}, unknown>
  readonly engine: Engine
  readonly server: Server
  readonly url: string
  /** A client of this server, closed with the test. */
  readonly connect: (auth?: object, options?: Parameters<typeof WireClient.connect>[2]) => Promise<WireClient>
}

/** Starts a server, on a store in memory if none is given; all is closed with the test. */
export async function served(
  options: Partial<ServerOptions> = {},
  engineOptions: Parameters<typeof contextsWith>[0] = {},
  timing: Parameters<typeof contextsWith>[1] = {},
): Promise<Served> {
  const contexts = contextsWith(engineOptions, timing)
  const server = createServer({ contexts, ...options })
  onTestFinished(async () => {
    await server.close({ drainMs: 0 })
    await contexts.close()
  })
  await server.listen({ port: 0 })
  const url = server.url!
  return { contexts, engine: engineOf(contexts), server, url, connect: (auth, more) => connected(url, auth, more) }
}

/** A client that is closed with the test. */
export async function connected(url: string, auth?: object, options?: Parameters<typeof WireClient.connect>[2]): Promise<WireClient> {
  const client = await WireClient.connect(url, auth, options)
  onTestFinished(() => client.close())
  return client
}
