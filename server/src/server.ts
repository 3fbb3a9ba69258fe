import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { RequestListener, Server as HttpServer } from 'node:http'
import { Server as HttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Server as SocketServer } from 'socket.io'
import type { User } from './authorize.ts'
import { engineOf } from './engine/engine.ts'
import type { Engine } from './engine/engine.ts'
import { HttpApi } from './http/api.ts'
import { MetricsEndpoint } from './http/metrics-endpoint.ts'
import type { MetricsAccess } from './http/metrics-endpoint.ts'
import { notFound, route } from './http/routes.ts'
import { checkServerOptions } from './server-options.ts'
import type { ServerOptions } from './server-options.ts'
import { isLoopback } from './socket/admission.ts'
import { SocketLayer, revokeEvent, within } from './socket/socket-layer.ts'

const defaultPort = 4_000
const defaultHost = '127.0.0.1'
const defaultDrainMs = 5_000
/** How long the headers, and how long the whole of a request may take, ms. */
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
/** How long an answer of the store to "are you there" counts, ms. */
const readyForMs = 1_000

/** The server. */
export interface Server {
  /**
   * Listens. Default port 4000, host 127.0.0.1; port 0 takes a free one.
   * @throws {Error} the port is taken · @throws {TypeError} another address without `authenticate` or `anonymous`
   */
  listen(options?: { port?: number; host?: string }): Promise<void>
  /** Serves on an HTTP server of yours, which you listen with; add your own request listeners before. */
  attach(server: HttpServer | HttpsServer): void
  /** The Socket.IO server, for events of your own; `socket.data.user` is who `authenticate` said. */
  readonly io: SocketServer
  /** Where it listens; null before. */
  readonly url: string | null
  /** Cuts a user off from a context, or from everything, on every node; what is tried again is authorized again. */
  revoke(userId: string, contextId?: string): Promise<void>
  /** Stops accepting, finishes commits, tells clients to reconnect elsewhere; then, or after `drainMs` (default 5,000), closes. The engine stays open. */
  close(options?: { drainMs?: number }): Promise<void>
}

/** Creates the Socket.IO and HTTP server. @throws {TypeError} an option is malformed. */
export function createServer<U extends User = User>(options: ServerOptions<U>): Server {
  // Users go to `authorize` as `authenticate` gave them.
  return new ContextdServer(options)
}

class ContextdServer implements Server {
  readonly #engine: Engine
  readonly #sockets: SocketLayer
  readonly #api: HttpApi
  /** Null: nothing is measured. */
  readonly #metrics: MetricsEndpoint | null
  readonly #mayLeaveLoopback: boolean
  #http: HttpServer | HttpsServer | null = null
  /** The HTTP server, if it is this one's own. */
  #own: HttpServer | null = null
  #closing: Promise<void> | null = null
  #ready: { readonly until: number; readonly is: Promise<boolean> } | null = null

  constructor(options: ServerOptions) {
    checkServerOptions(options)
    this.#engine = engineOf(options.contexts)
    const limits = { ...this.#engine.limits, ...options.limits }
    this.#sockets = new SocketLayer(this.#engine, limits, options)
    const { node } = this.#sockets
    this.#api = new HttpApi(this.#engine, {
      limits,
      access: node.access,
      authenticate: options.authenticate && ((handshake) => options.authenticate!(handshake)),
      origins: options.cors?.origin ?? [],
      anonymous: options.anonymous === true,
      counts: node.counts,
    })
    this.#metrics = options.metrics === false ? null : this.#measure(options.metrics)
    // Other nodes say so by the same event.
    this.#sockets.io.on(revokeEvent, (userId: unknown, contextId: unknown) => this.#revokeStreams(userId, contextId))
    this.#mayLeaveLoopback = options.anonymous === true || options.authenticate !== undefined
  }

  get io(): SocketServer {
    return this.#sockets.io
  }

  get url(): string | null {
    const address = this.#http?.listening ? this.#http.address() : null
    if (address === null || typeof address === 'string') return null
    const scheme = this.#http instanceof HttpsServer ? 'https' : 'http'
    return `${scheme}://${reachable(address)}:${address.port}`
  }

  async listen({ port = defaultPort, host = defaultHost }: { port?: number; host?: string } = {}): Promise<void> {
    if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new TypeError('port must be a whole number from 0 to 65535')
    if (typeof host !== 'string' || host === '') throw new TypeError('host must be an address or a name')
    if (!this.#mayLeaveLoopback && !isLoopback(host)) {
      throw new TypeError(
        `On ${host} others can connect: set authenticate, or say anonymous: true if everybody may read and write everything.`,
      )
    }
    this.#checkFree()
    const http = createHttpServer()
    this.#http = http
    try {
      await this.#engine.open()
      http.headersTimeout = headersTimeoutMs
      http.requestTimeout = requestTimeoutMs
      // Before the first connection can come in.
      http.once('listening', () => this.#serve(http, notFound))
      http.listen(port, host)
      await once(http, 'listening')
      this.#own = http
      this.#engine.logger.info({ url: this.url, store: this.#engine.backend.name }, 'contextd serves')
    } catch (error) {
      this.#http = null
      throw error
    }
  }

  attach(server: HttpServer | HttpsServer): void {
    if (typeof server?.on !== 'function' || typeof server.listeners !== 'function')
      throw new TypeError('attach takes an HTTP server of node:http or node:https')
    this.#checkFree()
    this.#http = server
    this.#serve(server, null)
    this.#engine.open().catch((error: unknown) => this.#engine.logger.error({ error }, 'the store cannot be opened'))
  }

  async revoke(userId: string, contextId?: string): Promise<void> {
    if (typeof userId !== 'string') throw new TypeError('revoke takes the id of a user')
    if (contextId !== undefined && typeof contextId !== 'string')
      throw new TypeError('revoke takes the id of a context, or nothing, after the user')
    this.#sockets.revoke(userId, contextId ?? null)
    this.#revokeStreams(userId, contextId ?? null)
  }

  #measure(access: MetricsAccess): MetricsEndpoint {
    const { measures: engine } = this.#engine
    const store = engine.parts.store.measure()
    const { node } = this.#sockets
    return new MetricsEndpoint(access, () => ({
      engine,
      store,
      counts: node.counts,
      sockets: {
        open: node.connections.size,
        sessions: node.sessions.size,
        rooms: node.fanOut.size,
        toldByBeacon: node.fanOut.toldByBeacon,
      },
      bytes: this.#sockets.bytes,
      eventStreams: this.#api.streams,
    }))
  }

  #revokeStreams(userId: unknown, contextId: unknown): void {
    if (typeof userId === 'string' && (contextId === null || typeof contextId === 'string')) this.#api.revoke(userId, contextId)
  }

  async close({ drainMs = defaultDrainMs }: { drainMs?: number } = {}): Promise<void> {
    if (typeof drainMs !== 'number' || !(drainMs >= 0)) throw new TypeError('drainMs must be a number of milliseconds')
    this.#closing ??= this.#close(drainMs)
    await this.#closing
  }

  async #close(drainMs: number): Promise<void> {
    const { logger } = this.#engine
    const http = this.#own
    const { size: sockets } = this.#sockets.node.connections
    logger.info({ sockets }, 'the server closes: clients are sent elsewhere')
    const ended = http?.listening ? new Promise((resolve) => http.close(resolve)) : null
    http?.closeIdleConnections()
    await Promise.all([this.#sockets.drain(drainMs), within(drainMs, this.#api.drain())])
    http?.closeAllConnections()
    await ended
    logger.info({}, 'the server is closed')
  }

  #checkFree(): void {
    if (this.#closing !== null) throw new TypeError('the server is closed; create another')
    if (this.#http !== null) throw new TypeError('the server listens already; create another for another address')
  }

  /** Answers this server's paths before anything else is asked; `otherwise` answers what nobody does. */
  #serve(http: HttpServer | HttpsServer, otherwise: RequestListener | null): void {
    const others = http.listeners('request') as RequestListener[]
    http.removeAllListeners('request')
    const options = { isReady: () => this.#isReady(), metrics: this.#metrics, logger: this.#engine.logger }
    http.on('request', (request, response) => {
      if (this.#api.handle(request, response) || route(request, response, options)) return
      for (const other of others) other.call(http, request, response)
      if (others.length === 0) otherwise?.(request, response)
    })
    this.#sockets.attach(http)
  }

  /** Asks the store, at most once in a while. */
  #isReady(): Promise<boolean> {
    if (this.#closing !== null) return Promise.resolve(false)
    const now = performance.now()
    if (this.#ready === null || this.#ready.until < now) {
      const asked = this.#engine.open().then(() => this.#engine.backend.heads(['readyz']))
      const is = asked.then(
        () => true,
        () => false,
      )
      this.#ready = { until: now + readyForMs, is }
    }
    return this.#ready.is
  }
}

/** An address as a client on this machine writes it. */
function reachable({ address, family }: AddressInfo): string {
  if (address === '0.0.0.0') return '127.0.0.1'
  if (address === '::') return '[::1]'
  return family === 'IPv6' ? `[${address}]` : address
}
