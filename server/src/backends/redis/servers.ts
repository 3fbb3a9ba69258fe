import { Cluster, mapOf } from './cluster.ts'
import type { ServersOptions } from './cluster-map.ts'
import { Connection } from './connection.ts'
import type { Command } from './connection.ts'
import { NotConnected } from './errors.ts'
import { runScript } from './script.ts'
import type { Script } from './script.ts'

/** The node of everything, where there is no Cluster. */
const only = ''

/** The servers that hold the keys: a single one, or a Cluster, which it finds out by asking. */
export class Servers {
  readonly #options: ServersOptions
  readonly #listeners = new Set<() => void>()
  #single: Connection | null = null
  #cluster: Cluster | null = null

  constructor(options: ServersOptions) {
    this.#options = options
  }

  /** Whether it is a Cluster; known once it is open. */
  get isCluster(): boolean {
    return this.#cluster !== null
  }

  /**
   * Connects for the first time; rejects if that fails or a check does, and may be called again then.
   * @param checkEach looks at each server that owns keys
   * @param checkAll looks at what is stored
   */
  async open(checkEach: (server: Connection) => Promise<void>, checkAll: () => Promise<void>): Promise<void> {
    try {
      await this.#discover(checkEach)
      await checkAll()
      this.#moved()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Runs a script on keys, which lie in one slot. */
  run(script: Script, names: readonly string[], args: readonly string[]): Promise<unknown> {
    return runScript((command) => this.send(names[0]!, command), script, names, args)
  }

  /** Sends a command on a key or a channel. */
  send<T>(key: string, command: Command<T>): Promise<T> {
    if (this.#cluster !== null) return this.#cluster.send(key, command)
    return this.#single?.send(command) ?? Promise.reject(new NotConnected())
  }

  /** Sends a command to a node, whatever it is on. */
  sendTo<T>(node: string, command: Command<T>): Promise<T> {
    if (this.#cluster !== null) return this.#cluster.sendTo(node, command)
    return this.#single?.send(command) ?? Promise.reject(new NotConnected())
  }

  /** Name of the node that a key or a channel belongs to; null: none is known. */
  nodeOf(key: string): string | null {
    if (this.#cluster !== null) return this.#cluster.nodeOf(key)
    return this.#single === null ? null : only
  }

  /** Makes one more connection to a node. */
  connectTo(node: string): Connection {
    return this.#cluster === null ? new Connection(this.#single!.options) : this.#cluster.connectTo(node)
  }

  /** Calls when keys and channels may belong to other nodes than before. */
  onMoved(listener: () => void): void {
    this.#listeners.add(listener)
  }

  /** Finds out again what belongs to which node. */
  async refresh(first: string): Promise<void> {
    await this.#cluster?.refresh(first)
  }

  /** Ends all connections, after what is under way. */
  async close(): Promise<void> {
    await Promise.all([this.#single?.close(), this.#cluster?.close()])
    this.#single = null
    this.#cluster = null
  }

  async #discover(checkEach: (server: Connection) => Promise<void>): Promise<void> {
    let failure: unknown
    for (const seed of this.#options.seeds.length > 0 ? this.#options.seeds : [{}]) {
      const connection = new Connection({ ...this.#options.connection, ...seed })
      let map: unknown = null
      try {
        await connection.open(async () => {
          map = await mapOf(connection)
          if (map === null) await checkEach(connection)
        })
      } catch (error) {
        failure ??= error
        continue
      }
      if (map === null) this.#single = connection
      else await this.#join(connection, map, checkEach)
      return
    }
    throw failure
  }

  async #join(connection: Connection, map: unknown, checkEach: (server: Connection) => Promise<void>): Promise<void> {
    this.#cluster = new Cluster(this.#options, () => this.#moved())
    this.#cluster.read(map, connection)
    await connection.close()
    await this.#cluster.open(checkEach)
  }

  #moved(): void {
    for (const listener of this.#listeners) listener()
  }
}
