import { once } from 'node:events'
import { WebSocket } from 'ws'

/** Handles the arguments of one event. */
type Listener = (args: readonly unknown[], bytes: number) => void

/**
 * A Socket.IO connection (protocol version 5 over one WebSocket) that does as little as possible, so that a load of many of them costs the
 * measuring process little: events out, acknowledgements in, listeners by event name.
 */
export class RawSocket {
  readonly #socket: WebSocket
  readonly #acks = new Map<number, (args: readonly unknown[]) => void>()
  readonly #listeners = new Map<string, Listener>()
  #nextAck = 0
  /** Bytes received since the connection was made. */
  received = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
  }

  /** Connects to the default namespace; `auth` goes with the handshake. */
  static async connect(url: string, path: string, auth: object = {}): Promise<RawSocket> {
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}${path}/?EIO=4&transport=websocket`, { perMessageDeflate: false })
    const raw = new RawSocket(socket)
    const ready = new Promise<void>((resolve, reject) => {
      raw.#listeners.set('connect', () => resolve())
      raw.#listeners.set('connect_error', ([error]) => reject(new Error(`refused: ${JSON.stringify(error)}`)))
      socket.on('error', reject)
      socket.on('close', () => reject(new Error('closed before it was connected')))
    })
    socket.on('message', (data: Buffer) => raw.#packet(data.toString()))
    await once(socket, 'open')
    socket.send(`40${JSON.stringify(auth)}`)
    await ready
    return raw
  }

  on(event: string, listener: Listener): void {
    this.#listeners.set(event, listener)
  }

  emit(event: string, payload: unknown): void {
    this.#socket.send(`42${JSON.stringify([event, payload])}`)
  }

  /** Sends an event and calls `done` with the arguments of its acknowledgement. */
  request(event: string, payload: unknown, done: (args: readonly unknown[]) => void): void {
    const id = this.#nextAck
    this.#nextAck += 1
    this.#acks.set(id, done)
    this.#socket.send(`42${id}${JSON.stringify([event, payload])}`)
  }

  call(event: string, payload: unknown): Promise<unknown> {
    return new Promise((resolve) => this.request(event, payload, ([answer]) => resolve(answer)))
  }

  close(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.on('error', () => {})
    this.#socket.close()
  }

  #packet(text: string): void {
    this.received += text.length
    if (text === '2') return this.#socket.send('3')
    if (!text.startsWith('4')) return
    const type = text[1]
    if (type === '0') return this.#listeners.get('connect')?.([], text.length)
    if (type === '4') return this.#listeners.get('connect_error')?.([JSON.parse(text.slice(2))], text.length)
    if (type === '2') return this.#event(text)
    if (type === '3') return this.#acknowledged(text)
  }

  #event(text: string): void {
    const name = text.slice(4, text.indexOf('"', 4))
    const listener = this.#listeners.get(name)
    // A listener of no arguments wants to be told only: the frame is not parsed for it.
    if (listener) listener(listener.length === 0 ? [] : (JSON.parse(text.slice(2)) as unknown[]).slice(1), text.length)
  }

  #acknowledged(text: string): void {
    const start = text.indexOf('[')
    const id = Number(text.slice(2, start))
    const done = this.#acks.get(id)
    this.#acks.delete(id)
    done?.(JSON.parse(text.slice(start)) as unknown[])
  }
}
