import { untilCaughtUp } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { until } from './wait.ts'

async function asAdmin<T>(server: RedisServer, work: (admin: Redis) => Promise<T>): Promise<T> {
  const admin = new Redis(server.adminUrl)
  admin.on('error', () => {})
  try {
    return await work(admin)
  } finally {
    admin.disconnect()
  }
}

/** Kills a primary under load, whose replica has all that it acknowledged: it takes no more writes while the last ones arrive there. */
export async function killCaughtUp(primary: RedisServer, replica: RedisServer): Promise<void> {
  await asAdmin(primary, async (admin) => {
    await admin.call('CLIENT', 'PAUSE', 10_000, 'WRITE')
    await untilCaughtUp(primary, replica)
    await primary.kill()
  })
}

/** Cuts a replica off, with all that its primary has done so far and nothing more: it no longer gets in there. */
export async function cutOff(primary: RedisServer, replica: RedisServer): Promise<void> {
  await untilCaughtUp(primary, replica)
  await asAdmin(replica, async (admin) => {
    await admin.config('SET', 'masteruser', 'nobody', 'masterauth', 'nothing')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'master')
    await until('the link is down', async () => (await admin.info('replication')).includes('master_link_status:down'))
  })
}
