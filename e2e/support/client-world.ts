import { createClient } from '@contextd/client'
import type { Client, ClientOptions, ContextdError } from '@contextd/client'
import { createContexts, createServer, memoryBackend } from 'contextd'
import type { Backend, Contexts, Server } from 'contextd'

type ServerOptions = Omit<Parameters<typeof createServer>[0], 'contexts'>
type EngineOptions = Omit<Parameters<typeof createContexts>[0] & object, 'backend' | 'deltaFormat' | 'contexts'>

/** What is open to the tests: every state is JSON. */
export interface Open {
  [id: string]: { state: { [key: string]: JsonLike } }
}
type JsonLike = string | number | boolean | null | JsonLike[] | { [key: string]: JsonLike }

/** A server with its engine, and the clients of a test. */
export class ClientWorld {
  contexts!: Contexts
  server!: Server
  /** What clients were told to be wrong. */
  readonly errors: ContextdError[] = []
  readonly #clients: Client<never>[] = []
  readonly #backend: () => Backend
  readonly #engine: EngineOptions
  readonly #options: ServerOptions
  #port = 0

  private constructor(options: { server?: ServerOptions; engine?: EngineOptions; backend?: () => Backend }) {
    const memory = memoryBackend()
    this.#backend = options.backend ?? (() => memory)
    this.#engine = options.engine ?? {}
    this.#options = options.server ?? {}
  }

  static async open(options: { server?: ServerOptions; engine?: EngineOptions; backend?: () => Backend } = {}): Promise<ClientWorld> {
    const world = new ClientWorld(options)
    await world.start()
    return world
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Starts the server, on the port that it had. */
  async start(): Promise<void> {
    this.contexts = createContexts({ ...this.#engine, backend: this.#backend() }) as unknown as Contexts
    this.server = createServer({ ...this.#options, contexts: this.contexts })
    await this.server.listen({ port: this.#port })
    this.#port = Number(new URL(this.server.url!).port)
  }

  /** Stops the server as an operator does. */
  async stop(): Promise<void> {
    await this.server.close({ drainMs: 500 })
    await this.contexts.close()
  }

  client<C = Open>(options: Partial<ClientOptions> = {}): Client<C> {
    const client = createClient<C>({ url: this.url, onError: (error) => this.errors.push(error), ...options })
    this.#clients.push(client as never)
    return client
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.destroy()))
    await this.stop()
  }
}
