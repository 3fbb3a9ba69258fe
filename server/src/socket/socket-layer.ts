import type { IncomingMessage, Server as HttpServer } from 'node:http'
import type { Server as HttpsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { Limits } from '@contextd/protocol'
import { Server as SocketServer } from 'socket.io'
import type { Namespace, Socket } from 'socket.io'
import { Adapter } from 'socket.io-adapter'
import { WebSocketServer } from 'ws'
import { Access, forbidden } from '../authorize.ts'
import type { User } from '../authorize.ts'
import type { Engine } from '../engine/engine.ts'
import type { ServerOptions } from '../server-options.ts'
import { Admission } from './admission.ts'
import { authenticated, connectError } from './authenticate.ts'
import { Connection } from './connection.ts'
import { noCounts } from './counters.ts'
import { closed } from './errors.ts'
import { FanOut, observed } from './fan-out.ts'
import { parser } from './packets.ts'
import { receiver } from './receive.ts'
import { SocketNode } from './socket-node.ts'

/** What a message may have beyond a commit of the largest size, bytes: one a little too large is refused with a word. */
const messageMargin = 65_536
/** Largest message where there is no limit, bytes. */
const anyMessage = 2_147_483_647
/** How long a new connection may take to say who it is, ms. */
const connectTimeoutMs = 10_000
const pingIntervalMs = 25_000
const pingTimeoutMs = 20_000
/** The clients of a closing server come back within this time, each at its own moment, ms. */
const spreadMs = 2_000
/** How long closing connections have to send what is left, ms. */
const flushMs = 1_000
/** Event between the servers of a cluster: the user, and the context or null. */
export const revokeEvent = 'contextd:revoke'

/** Bytes that went over connections. */
export interface Bytes {
  readonly received: number
  readonly sent: number
}

/** The sockets of one server. */
export class SocketLayer {
  readonly io: SocketServer
  readonly node: SocketNode
  readonly #admission: Admission
  readonly #made: Adapter[] = []
  readonly #wires = new Set<Duplex>()
  /** Bytes of WebSockets that are closed. */
  #gone: Bytes = { received: 0, sent: 0 }
  readonly #options: ServerOptions

  constructor(engine: Engine, limits: Limits, options: ServerOptions) {
    this.#options = options
    const { cors, anonymous = false } = options
    this.io = new SocketServer({
      path: options.path ?? '/contextd',
      serveClient: false,
      transports: ['websocket', 'polling'],
      wsEngine: WebSocketServer,
      perMessageDeflate: false,
      maxHttpBufferSize: limits.messageBytes === 0 ? anyMessage : limits.messageBytes + messageMargin,
      connectTimeout: connectTimeoutMs,
      pingInterval: pingIntervalMs,
      pingTimeout: pingTimeoutMs,
      parser,
      adapter: this.#adapters(engine),
      allowRequest: (request, callback) => {
        const refusal = this.#admission.refusal(request)
        if (refusal !== null) this.#refused(request.socket.remoteAddress, refusal)
        callback(refusal, refusal === null)
      },
      ...(cors && { cors: { origin: [...cors.origin] } }),
    })
    this.node = new SocketNode(
      engine,
      limits,
      new Access(options.authorize && ((request) => options.authorize!(request))),
      new FanOut(engine, this.io.sockets),
      noCounts(options.metrics !== false),
    )
    this.#admission = new Admission({
      origins: cors?.origin ?? [],
      socketsPerAddress: limits.socketsPerAddress,
      authenticated: options.authenticate !== undefined,
      anonymous,
      counts: this.node.counts,
    })
    this.io.use((socket, next) => void this.#admit(socket, next))
    this.io.on('connection', (socket) => this.#connected(socket))
    this.io.on(revokeEvent, (userId: unknown, contextId: unknown) => this.#revokeHere(userId, contextId))
  }

  /** Makes the adapters of a store that publishes, the main one observed; else those in memory. Socket.IO calls it with `new`. */
  #adapters(engine: Engine): (this: unknown, namespace: Namespace) => Adapter {
    const { publishing } = engine.backend
    const make = publishing.type === 'publish' ? publishing.sockets.adapter() : (namespace: Namespace) => new Adapter(namespace)
    const made = this.#made
    const see = (args: unknown): void => this.node.fanOut.observe(args)
    return function adapter(namespace) {
      const its = make(namespace)
      made.push(its)
      return namespace.name === '/' ? observed(its, see) : its
    }
  }

  /** Bytes of all WebSockets so far, with their framing. */
  get bytes(): Bytes {
    return [...this.#wires].map(bytesOf).reduce(sumOf, this.#gone)
  }

  /** Takes the connections of an HTTP server. */
  attach(http: HttpServer | HttpsServer): void {
    this.io.attach(http)
    // Engine.IO forgets a WebSocket when it begins to close it: what is still on its way is seen on the connection itself.
    http.on('upgrade', ({ url }: IncomingMessage, wire: Duplex) => {
      if (!url?.startsWith(`${this.io.path()}/`)) return
      this.#wires.add(wire)
      wire.once('close', () => {
        this.#wires.delete(wire)
        this.#gone = sumOf(this.#gone, bytesOf(wire))
      })
    })
    this.io.engine.on(
      'connection',
      (wire: { remoteAddress: string; close(discard: boolean): void; once(event: 'close', listener: () => void): void }) => {
        const address = wire.remoteAddress
        // Between the question at the door and the connection others may have come in.
        if (!this.#admission.enter(address)) return wire.close(true)
        wire.once('close', () => this.#admission.exit(address))
      },
    )
  }

  /** Cuts a user off, here and on every other node that the store's adapter reaches. */
  revoke(userId: string, contextId: string | null): void {
    this.#revokeHere(userId, contextId)
    if (this.node.engine.backend.publishing.type === 'publish') this.io.serverSideEmit(revokeEvent, userId, contextId)
  }

  /** Takes nothing new, answers what is in flight, and sends everybody away. */
  async drain(drainMs: number): Promise<void> {
    this.#admission.closing = true
    // What had arrived before is still taken.
    await new Promise(setImmediate)
    this.node.closing = true
    await within(drainMs, this.node.answered())
    const gone = this.#emptied()
    for (const connection of this.node.connections) connection.sendAway(Math.round(Math.random() * spreadMs))
    await within(flushMs, gone)
    this.#end()
    await Promise.allSettled(this.#made.map(async (adapter) => adapter.close()))
  }

  /** Resolves when the last connection is gone, and everything that was sent has left. */
  #emptied(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.node.connections.size === 0 && this.#wires.size === 0) resolve()
      }
      for (const { socket } of this.node.connections) socket.on('disconnect', () => setImmediate(look))
      for (const wire of this.#wires) wire.once('close', look)
      look()
    })
  }

  /** Ends what did not go by itself. */
  #end(): void {
    // There is none before the first attach.
    const engine = this.io.engine as typeof this.io.engine | undefined
    engine?.close()
    for (const wire of this.#wires) wire.destroy()
  }

  async #admit(socket: Socket, next: (error?: Error) => void): Promise<void> {
    try {
      const user = await this.#userOf(socket)
      socket.data = { ...(socket.data as object), user }
    } catch (error) {
      const refusal = connectError(error)
      this.node.counts.refusedUsers.add(refusal.data.code)
      this.#refused(socket.handshake.address, refusal.data.code)
      return next(refusal)
    }
    next()
  }

  #userOf(socket: Socket): Promise<User | null> {
    const { engine, closing } = this.node
    if (closing) throw closed('The server is closing.')
    const options = this.#options
    return authenticated(socket, options.authenticate && ((handshake) => options.authenticate!(handshake)), {
      now: () => engine.clock.now(),
      failed: (error) => this.node.sparse.note({ error }, 'authenticate failed'),
    })
  }

  #refused(address: string | undefined, reason: string): void {
    this.node.sparse.note({ address }, `a connection was refused: ${reason}`)
  }

  #connected(socket: Socket): void {
    const { user } = socket.data as { user: User | null }
    const connection = new Connection(this.node, socket, user)
    socket.use(receiver(connection))
    // A packet that the decoder refused.
    socket.on('error', () => connection.reject())
  }

  #revokeHere(userId: unknown, contextId: unknown): void {
    if (typeof userId !== 'string' || (contextId !== null && typeof contextId !== 'string')) return
    for (const connection of this.node.connections) {
      if (connection.userId !== userId) continue
      if (contextId === null) connection.sendAway(0)
      else connection.deny(contextId, forbidden('read'))
    }
  }
}

const bytesOf = ({ bytesRead = 0, bytesWritten = 0 }: Duplex & { bytesRead?: number; bytesWritten?: number }): Bytes => ({
  received: bytesRead,
  sent: bytesWritten,
})
const sumOf = (one: Bytes, other: Bytes): Bytes => ({ received: one.received + other.received, sent: one.sent + other.sent })

/** Waits for something, but no longer than this. */
export async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([promise, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))])
  clearTimeout(timer)
}
