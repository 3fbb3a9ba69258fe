import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { end, freePort, startProcess, startRedisServer } from './redis-server.ts'
import type { RedisServer } from './redis-server.ts'

/** A Redis with a replica, watched by a Sentinel that makes the replica the master when the master is gone; on 127.0.0.1. */
export interface RedisSentinel {
  /** For `redisOptions`: `sentinels` and `name`. */
  readonly options: { readonly sentinels: readonly { readonly host: string; readonly port: number }[]; readonly name: string }
  readonly master: RedisServer
  readonly replica: RedisServer
  /** Port of the server that the Sentinel names as the master. */
  masterPort(): Promise<number>
  /** Ends all three and removes their files. */
  stop(): Promise<void>
}

const name = 'main'

/** Starts a master, a replica and a Sentinel for a test. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const ended: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (const one of ended.toReversed()) await one()
  }
  try {
    const settings = { 'repl-diskless-sync-delay': '0' }
    const master = await startRedisServer({ settings })
    ended.push(() => master.stop())
    const replica = await startRedisServer({ settings: { ...settings, replicaof: `127.0.0.1 ${master.port}` } })
    ended.push(() => replica.stop())
    const directory = await mkdtemp(join(tmpdir(), 'contextd-sentinel-'))
    ended.push(() => rm(directory, { recursive: true, force: true }))
    const { child, port } = await startSentinel(directory, master.port)
    ended.push(() => end(child, 'SIGTERM'))
    const admin = new Redis(port, '127.0.0.1')
    admin.on('error', () => {})
    ended.push(async () => admin.disconnect())
    await untilReplicated(admin, replica)
    const masterPort = async (): Promise<number> => Number(((await admin.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as string[])[1])
    return { options: { sentinels: [{ host: '127.0.0.1', port }], name }, master, replica, masterPort, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startSentinel(directory: string, masterPort: number): Promise<{ child: ChildProcess; port: number }> {
  const port = await freePort()
  const file = join(directory, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${directory}`,
    `sentinel monitor ${name} 127.0.0.1 ${masterPort} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 2000`,
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  return { child: await startProcess(undefined, [file, '--sentinel'], /\+monitor master/), port }
}

async function untilReplicated(admin: Redis, replica: RedisServer): Promise<void> {
  const reader = new Redis(replica.adminUrl)
  while (!(await reader.info('replication')).includes('master_link_status:up')) await setTimeout(20)
  reader.disconnect()
  while (((await admin.call('SENTINEL', 'REPLICAS', name)) as unknown[]).length < 1) await setTimeout(20)
}
