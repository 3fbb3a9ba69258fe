import { setTimeout } from 'node:timers/promises'
import { redisAclRules } from 'contextd/backends/redis'
import type { RedisBackendOptions } from 'contextd/backends/redis'
import { startRedisCluster, startRedisSentinel, startRedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { MixedWriters } from '../support/mixed-writers.ts'
import { faultsOf } from '../support/mixed-writers-checks.ts'
import { killCaughtUp } from '../support/redis-failover.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

const load = { processes: 4, writers: 64, writes: 5, leaseMs: 1_000 }
const ids = Array.from({ length: 10 }, (_, index) => `mixed:${index}`)

/** All kinds of writes, each writer's all acknowledged, and nothing wrong. */
const sound = { faults: [], complete: true, kinds: ['class', 'section', 'transact', 'turn', 'update'] }

/** Runs all writers on a store, with what is done to it meanwhile. */
async function run(redis: RedisBackendOptions, disturb: (writers: MixedWriters) => Promise<void>): Promise<typeof sound> {
  const writers = new MixedWriters({ ...load, ids, redis })
  const done = await writers.run(() => disturb(writers))
  const stored = done.writes.filter(({ outcome }) => outcome === 'stored')
  return {
    faults: faultsOf(done) as never[],
    complete: stored.length >= load.processes * load.writers * load.writes,
    kinds: [...new Set(stored.map(({ kind }) => kind))].toSorted(),
  }
}

// A bound for what hangs: each takes some seconds.
const timeout = 180_000

test(
  'G1 G3 G4: mixed writes of four processes, some killed, one stopped for longer than its leases, on a Redis that crashes: each once, each lock with one',
  { timeout },
  async () => {
    const user = { name: 'contextd', password: 'sesame', rules: redisAclRules() }
    const redis = await startRedisServer({ appendOnly: 'everysec', user })
    onTestFinished(() => redis.stop())
    const admin = new Redis(redis.adminUrl)
    admin.on('error', () => {})
    onTestFinished(() => admin.disconnect())
    const proxy = await TcpProxy.to(redis.port)
    onTestFinished(() => proxy.close())
    const outcome = await run({ url: redis.url.replace(String(redis.port), String(proxy.port)) }, async (writers) => {
      await writers.reached(0.1)
      await writers.crash(0)
      for (const part of [0.2, 0.25, 0.3]) {
        await writers.reached(part)
        proxy.loseAnswers()
        await setTimeout(50)
        proxy.cut()
      }
      await writers.reached(0.4)
      await writers.pause(1, 1.5 * load.leaseMs)
      await writers.reached(0.5)
      await redis.restart()
      await writers.reached(0.6)
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await writers.reached(0.8)
      await writers.crash(2)
    })
    expect(outcome).toEqual(sound)
  },
)

test(
  'G1 G3 G4: mixed writes of four processes behind a Sentinel lose nothing when the master dies and its replica has all',
  { timeout },
  async () => {
    const sentinel = await startRedisSentinel()
    onTestFinished(() => sentinel.stop())
    const outcome = await run({ redisOptions: sentinel.options }, async (writers) => {
      await writers.reached(0.2)
      await writers.crash(0)
      await writers.reached(0.4)
      await killCaughtUp(sentinel.master, sentinel.replica)
      await until('the replica is the master', async () => (await sentinel.masterPort()) === sentinel.replica.port)
      await writers.reached(0.7)
      await writers.crash(1)
    })
    expect(outcome).toEqual(sound)
  },
)

test(
  'F32, G1, G3, G4: mixed writes of four processes on a Cluster lose nothing when a slot moves, a master is replaced, and one dies whose replica has all',
  { timeout },
  async () => {
    const cluster = await startRedisCluster({ replicas: true })
    onTestFinished(() => cluster.stop())
    const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
    const slotOf = (id: string): Promise<number> => cluster.admins[0]!.cluster('KEYSLOT', `contextd:{ctx:${id}}:row`)
    const slots = await Promise.all(ids.map(slotOf))
    const owners = await Promise.all(slots.map((slot) => cluster.ownerOf(slot)))
    expect(new Set(owners)).toEqual(new Set([0, 1, 2]))
    const outcome = await run({ redisOptions: { cluster: nodes } }, async (writers) => {
      await writers.reached(0.15)
      await writers.crash(0)
      await writers.reached(0.3)
      const [slot, from] = [slots[0]!, owners[0]!]
      const migration = await cluster.migrate(slot, (from + 1) % 3)
      await setTimeout(50)
      await migration.moveKeys()
      await writers.reached(0.4)
      await migration.finish()
      await writers.reached(0.5)
      await cluster.admins[from + 3]!.call('CLUSTER', 'FAILOVER')
      await writers.reached(0.6)
      const dying = (from + 2) % 3
      await killCaughtUp(cluster.nodes[dying]!, cluster.nodes[dying + 3]!)
      await until('its replica has taken over', async () => (await cluster.admins[dying + 3]!.info('replication')).includes('role:master'))
      await writers.reached(0.75)
      await writers.crash(1)
    })
    expect(outcome).toEqual(sound)
  },
)
