import { readFile } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { freePort, startRedisServer } from './redis-server.ts'
import type { RedisServer, RedisServerOptions } from './redis-server.ts'

/** Options of {@link startRedisCluster}. */
export interface RedisClusterOptions extends Omit<RedisServerOptions, 'password'> {
  /** How many nodes own slots. Default 3. */
  readonly masters?: number
  /** Whether each of these has a replica, which takes over when it is gone. Default false. */
  readonly replicas?: boolean
}

/** A slot on its way from one node to another. */
export interface SlotMigration {
  /** Moves keys of the slot that are there now. */
  moveKeys(): Promise<void>
  /** Moves the rest, and gives the slot away. */
  finish(): Promise<void>
}

/** A Redis Cluster of a test's own, on 127.0.0.1. */
export interface RedisCluster {
  /** `redis://` URL of one node, by which the others are found. */
  readonly url: string
  /** The nodes that own slots at first, then their replicas, in the same order. */
  readonly nodes: readonly RedisServer[]
  /** Connections to the nodes, as the default user. */
  readonly admins: readonly Redis[]
  /** Number of the node that owns a slot, as another one tells it. */
  ownerOf(slot: number): Promise<number>
  /** Begins to move a slot to another node. */
  migrate(slot: number, to: number): Promise<SlotMigration>
  /** Ends all nodes and removes their files. */
  stop(): Promise<void>
}

const slotCount = 16_384

/** Starts a Redis Cluster for a test, in about 2 s. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicas = false, settings, ...rest } = options
  const encrypted = rest.tls && { 'tls-cluster': 'yes', 'tls-replication': 'yes' }
  const ca = rest.tls && (await readFile(rest.tls.ca))
  const nodes: RedisServer[] = []
  const busPorts: number[] = []
  try {
    for (let index = 0; index < (replicas ? 2 : 1) * masters; index += 1) {
      const busPort = await freePort()
      nodes.push(await startRedisServer({ ...rest, settings: { ...settingsOf(busPort), ...encrypted, ...settings } }))
      busPorts.push(busPort)
    }
  } catch (error) {
    await Promise.all(nodes.map((node) => node.stop()))
    throw error
  }
  const cluster = new TestRedisCluster(nodes, ca)
  try {
    await cluster.join(masters, busPorts)
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return cluster
}

const settingsOf = (busPort: number): Record<string, string> => ({
  'cluster-enabled': 'yes',
  'cluster-port': String(busPort),
  'cluster-node-timeout': '1000',
  'cluster-config-file': 'nodes.conf',
  'cluster-announce-ip': '127.0.0.1',
  'cluster-replica-validity-factor': '0',
  'repl-diskless-sync-delay': '0',
})

class TestRedisCluster implements RedisCluster {
  readonly url: string
  readonly nodes: readonly RedisServer[]
  readonly admins: readonly Redis[]
  #ids: readonly string[] = []

  constructor(nodes: readonly RedisServer[], ca: Buffer | undefined) {
    this.nodes = nodes
    this.url = nodes[0]!.url
    this.admins = nodes.map(({ adminUrl }) => (ca ? new Redis(adminUrl, { tls: { ca } }) : new Redis(adminUrl)))
    for (const admin of this.admins) admin.on('error', () => {})
  }

  async join(masters: number, busPorts: readonly number[]): Promise<void> {
    const { admins, nodes } = this
    this.#ids = await Promise.all(admins.map((admin) => admin.cluster('MYID')))
    for (let index = 0; index < masters; index += 1) {
      const [from, to] = [index, index + 1].map((part) => Math.ceil((part * slotCount) / masters)) as [number, number]
      await admins[index]!.call('CLUSTER', 'ADDSLOTSRANGE', from, to - 1)
    }
    for (const [index, admin] of admins.entries()) await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
    for (const [index, { port }] of nodes.entries()) {
      if (index > 0) await admins[0]!.call('CLUSTER', 'MEET', '127.0.0.1', port, busPorts[index]!)
    }
    await this.#untilAll((info) => info.includes(`cluster_known_nodes:${nodes.length}\r`) && info.includes('cluster_state:ok'))
    for (const [index, admin] of admins.slice(masters).entries()) await admin.call('CLUSTER', 'REPLICATE', this.#ids[index]!)
    for (const admin of admins.slice(masters)) {
      while (!(await admin.info('replication')).includes('master_link_status:up')) await setTimeout(20)
    }
    // Each must know who is whose replica, or none takes over.
    for (const admin of admins) {
      while (replicasIn(String(await admin.cluster('NODES'))) < nodes.length - masters) await setTimeout(20)
    }
  }

  async ownerOf(slot: number): Promise<number> {
    const reader = this.admins.find(({ status }) => status === 'ready')!
    const ranges = (await reader.cluster('SLOTS')) as unknown as [number, number, [string, number]][]
    const [, , [, port]] = ranges.find(([from, to]) => from <= slot && slot <= to)!
    return this.nodes.findIndex((node) => node.port === port)
  }

  async migrate(slot: number, to: number): Promise<SlotMigration> {
    const from = await this.ownerOf(slot)
    const [source, target] = [this.admins[from]!, this.admins[to]!]
    await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', this.#ids[from]!)
    await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', this.#ids[to]!)
    const moveKeys = async (): Promise<void> => {
      const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
      if (keys.length === 0) return
      await source.call('MIGRATE', '127.0.0.1', this.nodes[to]!.port, '', 0, 5_000, 'KEYS', ...keys)
      await moveKeys()
    }
    const finish = async (): Promise<void> => {
      await moveKeys()
      for (const admin of [target, source]) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', this.#ids[to]!)
    }
    return { moveKeys, finish }
  }

  async stop(): Promise<void> {
    for (const admin of this.admins) admin.disconnect()
    await Promise.all(this.nodes.map((node) => node.stop()))
  }

  async #untilAll(ok: (info: string) => boolean): Promise<void> {
    for (const admin of this.admins) while (!ok(await admin.cluster('INFO'))) await setTimeout(20)
  }
}

const replicasIn = (nodes: string): number => nodes.split('\n').filter((line) => line.includes('slave ')).length
