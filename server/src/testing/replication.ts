import { setTimeout } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { RedisServer } from './redis-server.ts'

/**
 * Waits until a replica has all that its primary has done so far.
 * (`WAIT` would not do: it waits for what its own connection has written only.)
 */
export async function untilCaughtUp(primary: RedisServer, replica: RedisServer): Promise<void> {
  const [from, to] = [primary, replica].map(({ adminUrl }) => new Redis(adminUrl)) as [Redis, Redis]
  // What fails is told by the command.
  for (const admin of [from, to]) admin.on('error', () => {})
  try {
    const offset = await offsetIn(from, 'master_repl_offset')
    while ((await offsetIn(to, 'slave_repl_offset')) < offset) await setTimeout(5)
  } finally {
    from.disconnect()
    to.disconnect()
  }
}

async function offsetIn(admin: Redis, name: string): Promise<number> {
  const line = (await admin.info('replication')).split('\r\n').find((text) => text.startsWith(`${name}:`))
  return Number(line!.slice(name.length + 1))
}
