/** How often a socket that was too far behind is looked at, ms. */
const lookEveryMs = 50
/** Above so many times the limit a socket is closed: what it asks for adds to what it does not read. */
const hopeless = 32

/** What is used of a socket's Engine.IO connection: public, but for the WebSocket, whose buffer cannot be seen otherwise. */
export interface Wire {
  readonly readyState: string
  readonly transport: {
    readonly writable: boolean
    readonly socket?: { readonly bufferedAmount?: number; pause?(): void; resume?(): void }
  }
  on(event: 'packetCreate', listener: (packet: { readonly data?: { readonly length?: number } }) => void): void
  on(event: 'flush' | 'close', listener: () => void): void
}

/** What happens around a socket that does not keep up. */
export interface SendBufferEvents {
  /** It is too far behind: send it nothing that it did not ask for. */
  behind(): void
  /** All is sent. */
  drained(): void
  /** It asks, and does not read. */
  hopeless(): void
}

/** Tells when a socket falls behind and when it has caught up; `limit` in bytes, 0: any. */
export function watchSendBuffer(wire: Wire, limit: number, events: SendBufferEvents): void {
  if (limit > 0) void new SendBuffer(wire, limit, events)
}

/** One that is behind is not read from either, so that it cannot ask for more; if it never reads, the heartbeat ends it. */
class SendBuffer {
  readonly #wire: Wire
  readonly #limit: number
  readonly #events: SendBufferEvents
  #waiting = 0
  #look: NodeJS.Timeout | null = null

  constructor(wire: Wire, limit: number, events: SendBufferEvents) {
    this.#wire = wire
    this.#limit = limit
    this.#events = events
    this.#wire.on('packetCreate', ({ data }) => this.#added(data?.length ?? 0))
    this.#wire.on('flush', () => (this.#waiting = 0))
    this.#wire.on('close', () => this.#stopLooking())
  }

  #added(length: number): void {
    this.#waiting += length
    // A packet that the transport takes at once waits nowhere but in the transport, where the next one finds it.
    if (this.#wire.transport.writable || this.#buffered() <= this.#limit) return
    if (this.#look === null) this.#fallBehind()
    else if (this.#buffered() > this.#limit * hopeless) this.#events.hopeless()
  }

  #buffered(): number {
    return this.#waiting + (this.#wire.transport.socket?.bufferedAmount ?? 0)
  }

  #fallBehind(): void {
    this.#look = setInterval(() => this.#catchUp(), lookEveryMs)
    this.#wire.transport.socket?.pause?.()
    this.#events.behind()
  }

  #catchUp(): void {
    const { transport } = this.#wire
    if (!transport.writable || this.#buffered() > 0) return
    this.#stopLooking()
    transport.socket?.resume?.()
    this.#events.drained()
  }

  #stopLooking(): void {
    if (this.#look !== null) clearInterval(this.#look)
    this.#look = null
  }
}
