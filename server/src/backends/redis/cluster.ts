import type { Redis, RedisOptions } from 'ioredis'
import { addressNamed, nameOf, ownersOf, redirectionOf } from './cluster-map.ts'
import type { Address, Redirection, ServersOptions } from './cluster-map.ts'
import { Connection } from './connection.ts'
import type { Command } from './connection.ts'
import { NotConnected, reasonOf } from './errors.ts'
import { slotOf } from './slots.ts'

/** How long a command is offered again whose slot is on its way, and how long it waits in between, at most, ms. */
const patienceMs = 10_000
const pauseMs = 50
/** Most redirections of one command. */
const mostRedirections = 16
/** How often the map is read again while a node that owns slots cannot be reached, ms. */
const lookAgainMs = 500

/**
 * The nodes of a Cluster, which each own a part of the slots.
 *
 * A command goes to the node that owns the slot of its key. It is offered again only where a node has said that it did not begin it.
 */
export class Cluster {
  readonly #options: ServersOptions
  readonly #moved: () => void
  readonly #nodes = new Map<string, Connection>()
  /** Name of the node that owns a slot. */
  #owners: (string | undefined)[] = []
  /** The reading of the map that was begun last, one that is not begun yet, and who is asked first. */
  #reading: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null
  #first = ''
  #timer: NodeJS.Timeout | null = null
  #closed = false

  /** @param moved is called when slots may have gone to other nodes */
  constructor(options: ServersOptions, moved: () => void) {
    this.#options = options
    this.#moved = moved
  }

  /** Takes the map that a node has told. */
  read(map: unknown, told: Connection): void {
    this.#owners = ownersOf(map, addressOf(told), this.#options.natMap).map((owner) => owner && nameOf(owner))
  }

  /** Connects to all nodes that own slots. */
  async open(check: (node: Connection) => Promise<void>): Promise<void> {
    const opening = [...this.#owning()].map((name) => {
      const node = this.#add(name)
      return node.open(() => check(node))
    })
    await Promise.all(opening)
  }

  async send<T>(key: string, command: Command<T>): Promise<T> {
    const slot = slotOf(key)
    const until = performance.now() + patienceMs
    let name = this.#owners[slot]
    let asking = false
    for (let redirections = 0; ;) {
      const node = this.#node(name)
      try {
        // What is not connected is told at once, but for a node that a command was sent on to.
        if (redirections > 0) await node.whenReady()
        return await node.send(asking ? (client) => asked(client, command) : command)
      } catch (error) {
        const redirection = redirectionOf(error, addressOf(node), this.#options.natMap)
        if (redirection === null || performance.now() > until || redirections === mostRedirections) throw error
        if (redirection.type === 'wait') {
          await pause()
          name = this.#owners[slot]
        } else {
          redirections += 1
          name = this.#follow(redirection)
        }
        asking = redirection.type === 'ask'
      }
    }
  }

  sendTo<T>(node: string, command: Command<T>): Promise<T> {
    return this.#nodes.get(node)?.send(command) ?? Promise.reject(new NotConnected())
  }

  nodeOf(key: string): string | null {
    return this.#owners[slotOf(key)] ?? null
  }

  connectTo(node: string): Connection {
    const { path: _path, ...options }: RedisOptions = this.#options.connection
    return new Connection({ ...options, ...addressNamed(node) })
  }

  /**
   * Reads the map again.
   * @param first node that is asked first; '': any
   */
  async refresh(first = ''): Promise<void> {
    if (first !== '') this.#first = first
    this.#next ??= this.#reading = this.#reading
      .catch(() => {})
      .then(() => {
        this.#next = null
        return this.#readAgain()
      })
    await this.#next
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await Promise.all([...this.#nodes.values()].map((node) => node.close()))
  }

  #follow({ type, slot, to }: Exclude<Redirection, { type: 'wait' }>): string {
    const name = nameOf(to)
    if (type === 'moved' && this.#owners[slot] !== name) {
      this.#owners[slot] = name
      this.refresh(name).catch(() => this.#watch())
    }
    return name
  }

  /** The connection to a node, made when there is none. */
  #node(name: string | undefined): Connection {
    if (name === undefined) {
      this.#watch()
      throw new NotConnected()
    }
    const known = this.#nodes.get(name)
    if (known) return known
    const node = this.#add(name)
    node.start()
    return node
  }

  #add(name: string): Connection {
    const node = this.connectTo(name)
    this.#nodes.set(name, node)
    // Its slots may have gone to another one.
    node.client.on('close', () => this.#watch())
    return node
  }

  #owning(): Set<string> {
    return new Set(this.#owners.filter((name) => name !== undefined))
  }

  async #readAgain(): Promise<void> {
    if (this.#closed) return
    await this.#askAround()
    if (this.#closed) return
    const owning = this.#owning()
    for (const name of owning) this.#node(name)
    for (const [name, node] of this.#nodes) {
      if (owning.has(name)) continue
      this.#nodes.delete(name)
      node.close().catch(() => {})
    }
    this.#moved()
  }

  /** Asks for the map until somebody tells it: nodes that are connected, then seeds. */
  async #askAround(): Promise<void> {
    const first = this.#first
    this.#first = ''
    const nodes = [...this.#nodes].filter(([, node]) => node.ready).toSorted(([a], [b]) => Number(b === first) - Number(a === first))
    for (const [, node] of nodes) if (await this.#ask(node)) return
    const { connection, seeds } = this.#options
    for (const seed of seeds.length > 0 ? seeds : [{}]) {
      const node = new Connection({ ...connection, ...seed })
      let told = false
      await node
        .open(async () => {
          told = await this.#ask(node)
        })
        .catch(() => {})
      await node.close()
      if (told) return
    }
    throw new NotConnected()
  }

  async #ask(node: Connection): Promise<boolean> {
    try {
      const map = await mapOf(node)
      if (map !== null) this.read(map, node)
      return map !== null
    } catch {
      return false
    }
  }

  /** Looks around until all nodes that own slots can be reached. */
  #watch(): void {
    if (this.#timer !== null || this.#closed) return
    const look = async (): Promise<void> => {
      this.#timer = null
      await this.refresh().catch(() => {})
      if (this.#owners.includes(undefined) || [...this.#owning()].some((name) => !this.#nodes.get(name)?.ready)) this.#watch()
    }
    this.#timer = setTimeout(() => void look(), lookAgainMs * (0.5 + Math.random())).unref()
  }
}

/** What a node knows of who owns which slots; null: it is no node of a Cluster. */
export async function mapOf(node: Connection): Promise<unknown> {
  const hello = await node
    .send((client) => client.call('HELLO'))
    .catch((error: unknown) => {
      if (reasonOf(error) === 'ERR') return []
      throw error
    })
  const fields = (hello as unknown[]).map(String)
  return fields[fields.indexOf('mode') + 1] === 'cluster' ? await node.send((client) => client.cluster('SLOTS')) : null
}

/** Tells a node to take a command on a slot that it is just being given. */
function asked<T>(client: Redis, command: Command<T>): Promise<T> {
  client.asking().catch(() => {})
  return command(client)
}

function addressOf({ options: { host = 'localhost', port = 6379 } }: Connection): Address {
  return { host, port }
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, pauseMs * (0.2 + 0.8 * Math.random())))
