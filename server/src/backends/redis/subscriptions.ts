import type { Connection } from './connection.ts'
import { toldError } from './errors.ts'

/** Takes what is published on a channel. */
export type Handler = (message: Buffer, channel: Buffer) => void

interface Channel {
  readonly handlers: Set<Handler>
  /** Resolves when Redis has confirmed the subscription on the connection there is; null: not asked for on it. */
  confirmed: Promise<unknown> | null
}

/** How often a node looks whether it still hears itself, ms. */
const heartbeatMs = 2_000

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * The channels that this node listens to, on a connection of its own that is made with the first of them.
 *
 * A connection may be open without anything coming through: nothing tells. So the node publishes to itself, and makes a new
 * connection when it does not hear that.
 */
export class Subscriptions {
  readonly #connection: Connection
  readonly #publish: (channel: string, message: string) => Promise<unknown>
  readonly #heartbeatChannel: string
  readonly #channels = new Map<string, Channel>()
  readonly #restored = new Set<() => void>()
  #started = false
  #wasReady = false
  #missed = false
  #timer: NodeJS.Timeout | null = null
  /** How many connections there were. */
  #connections = 0
  /** Number of the last heartbeat; of the last one that was published, and of the last one heard. */
  #beat = 0
  #published = 0
  #heard = 0
  #ignored = 0

  /**
   * @param publish publishes on another connection
   * @param heartbeatChannel of this node only
   */
  constructor(connection: Connection, publish: (channel: string, message: string) => Promise<unknown>, heartbeatChannel: string) {
    this.#connection = connection
    this.#publish = publish
    this.#heartbeatChannel = heartbeatChannel
    const { client } = connection
    client.on('smessageBuffer', (channel: Buffer, message: Buffer) => this.#deliver(channel, message))
    client.on('ready', () => void this.#ready())
    client.on('close', () => this.#closed())
  }

  /** How many messages could not be used: others may publish on the channels too. */
  get ignored(): number {
    return this.#ignored
  }

  /** Counts a message that could not be used. */
  ignore(): void {
    this.#ignored += 1
  }

  /** Listens to a channel. Returns the end of it. */
  add(name: string, handler: Handler): () => void {
    this.#start()
    const channel = this.#channels.get(name) ?? { handlers: new Set(), confirmed: null }
    this.#channels.set(name, channel)
    channel.handlers.add(handler)
    if (channel.confirmed === null && this.#connection.ready) this.#ask(name, channel)
    return () => {
      if (!channel.handlers.delete(handler) || channel.handlers.size > 0) return
      this.#channels.delete(name)
      if (this.#connection.ready) this.#connection.send((client) => client.sunsubscribe(name)).catch(() => {})
    }
  }

  /**
   * Resolves once Redis has confirmed the subscription to a channel that is listened to.
   * @throws {ContextdError} `backend_unavailable`
   */
  async confirm(name: string): Promise<void> {
    const channel = this.#channels.get(name)
    if (!channel) return
    try {
      await this.#connection.whenReady()
      if (channel.confirmed === null) this.#ask(name, channel)
      await channel.confirmed
    } catch (error) {
      throw toldError(error, false)
    }
  }

  /** Calls when publications may have been missed. Returns the end of it. */
  onRestored(listener: () => void): () => void {
    // Of its own, so that one function may listen twice.
    const own = (): void => listener()
    this.#restored.add(own)
    return () => this.#restored.delete(own)
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#channels.clear()
    this.#restored.clear()
    await this.#connection.close()
  }

  #start(): void {
    if (this.#started) return
    this.#started = true
    this.#connection.start()
    this.#timer = setInterval(() => void this.#listenToOneself(), heartbeatMs).unref()
    this.add(this.#heartbeatChannel, (message) => {
      const beat = Number(message.toString())
      if (beat > this.#heard && beat <= this.#beat) this.#heard = beat
      else this.ignore()
    })
  }

  #ask(name: string, channel: Channel): void {
    const asked = this.#connection.send((client) => client.ssubscribe(name))
    channel.confirmed = asked
    asked.catch(() => {
      if (channel.confirmed !== asked) return
      // Asked for again by the next heartbeat, or on the next connection.
      channel.confirmed = null
      this.#missed = true
    })
  }

  async #ready(): Promise<void> {
    if (this.#wasReady) this.#missed = true
    this.#wasReady = true
    await this.#askForAll()
  }

  /** Subscribes to what is not subscribed; tells of what may have been missed once all is. */
  async #askForAll(): Promise<void> {
    for (const [name, channel] of this.#channels) if (channel.confirmed === null) this.#ask(name, channel)
    const results = await Promise.allSettled([...this.#channels.values()].map(async ({ confirmed }) => confirmed))
    if (!this.#missed || !this.#connection.ready || results.some(({ status }) => status === 'rejected')) return
    this.#missed = false
    for (const listener of this.#restored) listener()
  }

  #closed(): void {
    if (!this.#wasReady) this.#missed = true
    this.#connections += 1
    this.#published = this.#heard
    for (const channel of this.#channels.values()) channel.confirmed = null
  }

  async #listenToOneself(): Promise<void> {
    if (!this.#connection.ready) return
    // What has arrived while this process was busy is read first.
    if (this.#published > this.#heard) await nextTurn()
    if (this.#published > this.#heard) {
      this.#connection.reconnect()
      return
    }
    if ([...this.#channels.values()].some(({ confirmed }) => confirmed === null)) await this.#askForAll()
    const connection = this.#connections
    const beat = (this.#beat += 1)
    try {
      await this.#publish(this.#heartbeatChannel, String(beat))
      if (connection === this.#connections) this.#published = beat
    } catch {
      // Whether we would have heard it is not known.
    }
  }

  #deliver(name: Buffer, message: Buffer): void {
    for (const handler of this.#channels.get(name.toString())?.handlers ?? []) {
      try {
        handler(message, name)
      } catch {
        this.ignore()
      }
    }
  }
}
