import { NotConnected, reasonOf, toldError } from './errors.ts'
import { NodeSubscriptions } from './node-subscriptions.ts'
import type { Servers } from './servers.ts'

/** Takes what is published on a channel. */
export type Handler = (message: Buffer, channel: Buffer) => void

interface Channel {
  readonly handlers: Set<Handler>
  readonly bytes: Buffer
  /** Server on which it is listened to; null: not known yet. */
  node: string | null
}

/** How often a subscription is asked for while its slot moves about. */
const mostAttempts = 5
/** How many names are tried for a heartbeat in a slot of a node: far more than it takes. */
const mostNames = 100_000

/** The channels that this process listens to, each on the server that it belongs to. */
export class Subscriptions {
  readonly #servers: Servers
  readonly #heartbeatName: (number: number) => string
  readonly #nodes = new Map<string, NodeSubscriptions>()
  readonly #channels = new Map<string, Channel>()
  readonly #restored = new Set<() => void>()
  #ignored = 0

  /** @param heartbeatName makes names of channels that are of this process only */
  constructor(servers: Servers, heartbeatName: (number: number) => string) {
    this.#servers = servers
    this.#heartbeatName = heartbeatName
    servers.onMoved(() => this.#assignAll())
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
    const channel = this.#channels.get(name) ?? this.#begin(name)
    channel.handlers.add(handler)
    return () => {
      if (!channel.handlers.delete(handler) || channel.handlers.size > 0) return
      this.#channels.delete(name)
      if (channel.node !== null) this.#nodes.get(channel.node)?.remove(name)
    }
  }

  /**
   * Resolves once Redis has confirmed the subscription to a channel that is listened to.
   * @throws {ContextdError} `backend_unavailable`
   */
  async confirm(name: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const channel = this.#channels.get(name)
      if (!channel) return
      const { node } = channel
      try {
        if (node === null) throw new NotConnected()
        await this.#nodes.get(node)!.confirm(name)
        if (channel.node === node) return
      } catch (error) {
        if (node === null || reasonOf(error) !== 'MOVED' || attempt === mostAttempts) throw toldError(error, false)
        await this.#servers.refresh(node).catch(() => {})
      }
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
    this.#channels.clear()
    this.#restored.clear()
    await Promise.all([...this.#nodes.values()].map((node) => node.close()))
  }

  #begin(name: string): Channel {
    const channel: Channel = { handlers: new Set(), bytes: Buffer.from(name), node: this.#servers.nodeOf(name) }
    this.#channels.set(name, channel)
    if (channel.node !== null) this.#on(channel.node).add(name)
    return channel
  }

  /** Goes with the slots to the servers that they are on. */
  #assignAll(): void {
    for (const [name, channel] of this.#channels) this.#assign(name, channel)
    for (const [name, node] of this.#nodes) {
      if (!node.idle) {
        void node.check()
        continue
      }
      this.#nodes.delete(name)
      node.close().catch(() => {})
    }
  }

  #assign(name: string, channel: Channel): void {
    const before = channel.node
    const node = this.#servers.nodeOf(name)
    if (node === before || node === null) return
    channel.node = node
    if (before === null) {
      this.#on(node).add(name)
      return
    }
    this.#nodes.get(before)?.remove(name)
    this.#on(node).adopt(name)
  }

  #on(node: string): NodeSubscriptions {
    const known = this.#nodes.get(node)
    if (known) return known
    const publish = (channel: string, message: string): Promise<unknown> =>
      this.#servers.sendTo(node, (client) => client.spublish(channel, message))
    const subscriptions = new NodeSubscriptions(this.#servers.connectTo(node), publish, {
      deliver: (name, message) => this.#deliver(name, message),
      restored: () => this.#tellRestored(),
      moved: () => void this.#goAlong(node),
      ignore: () => this.ignore(),
      heartbeat: (current) => this.#heartbeatOn(node, current),
    })
    this.#nodes.set(node, subscriptions)
    return subscriptions
  }

  async #goAlong(node: string): Promise<void> {
    try {
      await this.#servers.refresh(node)
    } catch {
      // The next heartbeat asks for the channels again.
    }
  }

  #heartbeatOn(node: string, current: string): string {
    if (current !== '' && this.#servers.nodeOf(current) === node) return current
    let number = 0
    while (number < mostNames && this.#servers.nodeOf(this.#heartbeatName(number)) !== node) number += 1
    return this.#heartbeatName(number)
  }

  #tellRestored(): void {
    for (const listener of this.#restored) listener()
  }

  #deliver(name: string, message: Buffer): void {
    const channel = this.#channels.get(name)
    for (const handler of channel?.handlers ?? []) {
      try {
        handler(message, channel!.bytes)
      } catch {
        this.ignore()
      }
    }
  }
}
