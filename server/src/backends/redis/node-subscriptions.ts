import type { Connection } from './connection.ts'

/** How often a node looks whether it still hears itself, ms. */
const heartbeatMs = 2_000

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Who listens by {@link NodeSubscriptions}. */
export interface Listener {
  deliver(channel: string, message: Buffer): void
  /** Publications may have been missed, and all channels are subscribed to again. */
  restored(): void
  /** The server no longer publishes on some of the channels. */
  moved(): void
  /** A heartbeat that is none. */
  ignore(): void
  /** A channel of this process that the server publishes on: the one it had, if that will still do. */
  heartbeat(current: string): string
}

/**
 * The channels that are listened to on one server, on a connection of its own that is made with the first of them.
 *
 * A connection may be open without anything coming through: nothing tells. So the process publishes to itself, and makes a new
 * connection when it does not hear that.
 */
export class NodeSubscriptions {
  readonly #connection: Connection
  readonly #publish: (channel: string, message: string) => Promise<unknown>
  readonly #listener: Listener
  /** Each with what resolves when it is confirmed on the connection there is; null: not asked for on it. */
  readonly #channels = new Map<string, Promise<unknown> | null>()
  #heartbeat = ''
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

  /** @param publish publishes on another connection to the same server */
  constructor(connection: Connection, publish: (channel: string, message: string) => Promise<unknown>, listener: Listener) {
    this.#connection = connection
    this.#publish = publish
    this.#listener = listener
    const { client } = connection
    client.on('smessageBuffer', (channel: Buffer, message: Buffer) => this.#deliver(channel.toString(), message))
    client.on('ready', () => void this.#ready())
    client.on('close', () => this.#closed())
    client.on('moved', () => this.#moved())
  }

  /** Whether nothing but the heartbeat is listened to. */
  get idle(): boolean {
    return [...this.#channels.keys()].every((name) => name === this.#heartbeat)
  }

  /** Listens to a channel. */
  add(name: string): void {
    this.#start()
    this.#channels.set(name, null)
    if (this.#connection.ready) this.#ask(name)
  }

  /** Listens to a channel that was listened to elsewhere: what was published in between may have been missed. */
  adopt(name: string): void {
    this.add(name)
    this.#missed = true
    if (this.#connection.ready) void this.#askForAll()
  }

  /** No longer listens to a channel. */
  remove(name: string): void {
    if (!this.#channels.delete(name) || !this.#connection.ready) return
    this.#connection.send((client) => client.sunsubscribe(name)).catch(() => {})
  }

  /** Resolves once the server has confirmed the subscription to a channel that is listened to. */
  async confirm(name: string): Promise<void> {
    await this.#connection.whenReady()
    if (this.#channels.get(name) === null) this.#ask(name)
    await this.#channels.get(name)
  }

  /** Subscribes again to what may have been lost, on the channels that are still listened to here. */
  async check(): Promise<void> {
    this.#chooseHeartbeat()
    if (this.#connection.ready) await this.#askForAll()
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#channels.clear()
    await this.#connection.close()
  }

  #start(): void {
    if (this.#started) return
    this.#started = true
    this.#connection.start()
    this.#timer = setInterval(() => void this.#listenToOneself(), heartbeatMs).unref()
    this.#chooseHeartbeat()
  }

  #chooseHeartbeat(): void {
    const name = this.#listener.heartbeat(this.#heartbeat)
    if (name === this.#heartbeat) return
    if (this.#heartbeat !== '') this.remove(this.#heartbeat)
    this.#heartbeat = name
    this.#published = this.#heard
    this.add(name)
  }

  #ask(name: string): void {
    const asked = this.#connection.send((client) => client.ssubscribe(name))
    this.#channels.set(name, asked)
    asked.catch(() => {
      if (this.#channels.get(name) !== asked) return
      // Asked for again by the next heartbeat, or on the next connection.
      this.#channels.set(name, null)
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
    for (const [name, confirmed] of this.#channels) if (confirmed === null) this.#ask(name)
    const results = await Promise.allSettled([...this.#channels.values()].map(async (confirmed) => confirmed))
    if (!this.#missed || !this.#connection.ready || results.some(({ status }) => status === 'rejected')) return
    this.#missed = false
    this.#listener.restored()
  }

  #closed(): void {
    if (!this.#wasReady) this.#missed = true
    this.#connections += 1
    this.#published = this.#heard
    this.#forgetConfirmations()
  }

  /** Redis does not say which channels it has ended when it gives a slot away. */
  #moved(): void {
    this.#missed = true
    this.#published = this.#heard
    this.#forgetConfirmations()
    this.#listener.moved()
  }

  #forgetConfirmations(): void {
    for (const name of this.#channels.keys()) this.#channels.set(name, null)
  }

  async #listenToOneself(): Promise<void> {
    if (!this.#connection.ready) return
    // What has arrived while this process was busy is read first.
    if (this.#published > this.#heard) await nextTurn()
    if (this.#published > this.#heard) {
      this.#connection.reconnect()
      return
    }
    if ([...this.#channels.values()].includes(null)) await this.#askForAll()
    const connection = this.#connections
    const heartbeat = this.#heartbeat
    const beat = (this.#beat += 1)
    try {
      await this.#publish(heartbeat, String(beat))
      if (connection === this.#connections && heartbeat === this.#heartbeat) this.#published = beat
    } catch {
      // Whether we would have heard it is not known.
    }
  }

  #deliver(name: string, message: Buffer): void {
    if (name === this.#heartbeat) this.#hear(message)
    else if (this.#channels.has(name)) this.#listener.deliver(name, message)
  }

  #hear(message: Buffer): void {
    const beat = Number(message.toString())
    if (beat > this.#heard && beat <= this.#beat) this.#heard = beat
    else this.#listener.ignore()
  }
}
