import {
  ContextdError,
  byeSchema,
  decode,
  deltaFrameSchema,
  deniedSchema,
  errorSchema,
  failureSchema,
  headFrameSchema,
  verdictFrameSchema,
} from '@contextd/protocol'
import type { Decoder, DeltaFrame, HeadFrame, VerdictFrame } from '@contextd/protocol'
import { Manager } from 'socket.io-client'
import type { Socket } from 'socket.io-client'
import { errorOf } from './outbox.ts'
import { later } from './timers.ts'
import type { Timer } from './timers.ts'

/** What a wire tells. After `closed` it tells nothing more. */
export interface WireListener {
  opened(): void
  /** It could not be opened, or is lost. The error is what the server said at the handshake, if anything. */
  closed(why: { readonly error: ContextdError | null; readonly undecodable: boolean }): void
  delta(frame: DeltaFrame): void
  head(frame: HeadFrame): void
  verdicts(frame: VerdictFrame): void
  denied(contextId: string, error: ContextdError): void
  /** The server is closing; connect again, after this many ms. */
  bye(retryAfterMs: number): void
  /** Nothing has come in since a message was sent: a request will show whether anybody is there. */
  silent(): void
  /** The server sent what cannot be read; the wire closes. */
  unreadable(error: ContextdError): void
}

/** Longest that opening may take, and that an acknowledgement may, ms. */
const openTimeoutMs = 15_000
const replyTimeoutMs = 10_000

/** One attempt at a connection, and the connection that comes of it: a socket that is opened once. */
export class Wire {
  readonly #socket: Socket
  readonly #listener: WireListener
  readonly #opening: Timer
  #silence: Timer | null = null
  #closed = false
  /** Grows with every packet that comes in. */
  #received = 0

  /**
   * @param url origin of the server
   * @param path path of its Socket.IO endpoint
   * @param auth what the handshake carries
   */
  constructor(url: string, path: string, auth: { readonly [key: string]: unknown }, listener: WireListener) {
    this.#listener = listener
    // Websocket first, so that nodes behind a balancer need no sticky sessions.
    const manager = new Manager(url, {
      path,
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      reconnection: false,
      autoConnect: false,
    })
    const socket = manager.socket('/', { auth })
    this.#socket = socket
    this.#opening = later(() => this.#end(null), openTimeoutMs)
    socket.on('connect', () => {
      clearTimeout(this.#opening)
      manager.engine.on('packet', () => (this.#received += 1))
      listener.opened()
    })
    socket.on('connect_error', (error: Error & { data?: unknown }) => this.#end(refusalOf(error.data)))
    // The server ends a connection itself only where it could not read a message; else the transport closes.
    socket.on('disconnect', (reason) => this.#end(null, reason === 'io server disconnect'))
    this.#on('d', deltaFrameSchema, (frame) => listener.delta(frame))
    this.#on('h', headFrameSchema, (frame) => listener.head(frame))
    this.#on('v', verdictFrameSchema, (frame) => listener.verdicts(frame))
    this.#on('denied', deniedSchema, ([contextId, error]) => listener.denied(contextId, errorOf(error, contextId)))
    this.#on('bye', byeSchema, ({ retryAfterMs }) => listener.bye(retryAfterMs))
    socket.connect()
  }

  send(event: string, message: object): void {
    if (!this.#socket.connected) return
    this.#socket.emit(event, message)
    this.#expectSomething()
  }

  /** Sends a message, and hands the decoded reply on; a failure, or a reply that does not come, is an error. */
  request<T>(event: string, message: object, decoder: Decoder<T>, done: (error: ContextdError | null, reply: T | null) => void): void {
    if (!this.#socket.connected) return done(gone(), null)
    const received = this.#received
    this.#socket.timeout(replyTimeoutMs).emit(event, message, (failed: Error | null, reply: unknown) => {
      if (failed === null) return this.#answer(reply, decoder, done)
      if (!this.#socket.connected) return done(gone(), null)
      done(new ContextdError('timeout', `The server did not answer in ${replyTimeoutMs} ms. It is asked again.`), null)
      // Nothing at all came: nobody is at the other end any more.
      if (received === this.#received) this.#end(null)
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#opening)
    if (this.#silence !== null) clearTimeout(this.#silence)
    this.#socket.off()
    this.#socket.disconnect()
  }

  /** Closes, and tells. */
  cut(): void {
    this.#end(null)
  }

  #end(error: ContextdError | null, undecodable = false): void {
    if (this.#closed) return
    this.close()
    this.#listener.closed({ error, undecodable })
  }

  #on<T>(event: string, decoder: Decoder<T>, handle: (message: T) => void): void {
    this.#socket.on(event, (payload: unknown) => {
      let message: T
      try {
        message = decode(decoder, payload)
      } catch (cause) {
        this.#listener.unreadable(new ContextdError('invalid_message', `The server sent a "${event}" that cannot be read.`, { cause }))
        return this.#end(null)
      }
      handle(message)
    })
  }

  #answer<T>(reply: unknown, decoder: Decoder<T>, done: (error: ContextdError | null, reply: T | null) => void): void {
    let error: ContextdError | null = null
    let value: T | null = null
    try {
      if (typeof reply === 'object' && reply !== null && 'error' in reply) error = errorOf(decode(failureSchema, reply).error)
      else value = decode(decoder, reply)
    } catch (cause) {
      error = new ContextdError('internal', 'The server sent an answer that cannot be read. It is asked again.', { cause })
    }
    done(error, value)
  }

  /** A message without acknowledgement was sent: when nothing comes in for long after it, the other end is asked whether it is there. */
  #expectSomething(): void {
    if (this.#silence !== null) return
    const received = this.#received
    this.#silence = later(() => {
      this.#silence = null
      if (!this.#closed && received === this.#received) this.#listener.silent()
    }, replyTimeoutMs)
  }
}

const gone = (): ContextdError => new ContextdError('offline', 'There is no connection to the server.')

/** What the server said at the handshake; null: it said nothing, or was not reached. */
function refusalOf(data: unknown): ContextdError | null {
  try {
    return errorOf(decode(errorSchema, data))
  } catch {
    return null
  }
}
