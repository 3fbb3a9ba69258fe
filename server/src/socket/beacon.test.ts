import type { Head } from '@contextd/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { metricsOf } from '../../support/metrics.ts'
import { served } from '../../support/served.ts'
import type { Served } from '../../support/served.ts'
import { until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import type { WireSession } from '../../support/wire-client.ts'
import type { ContextBackend } from '../backends/backend.ts'
import { memoryBackend } from '../backends/memory.ts'
import { redisBackend } from '../backends/redis/redis.ts'
import { startRedisServer } from '../testing/redis-server.ts'
import type { RedisServer } from '../testing/redis-server.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(() => redis.stop())

/** Waits for so many further beacons, counted by what they read. */
async function beacons(backend: ContextBackend, count: number): Promise<void> {
  const heads = backend.heads.bind(backend)
  let read = 0
  backend.heads = async (contextIds) => {
    const answer = await heads(contextIds)
    read += 1
    return answer
  }
  await until(() => read >= count)
  backend.heads = heads
}

async function written({ connect }: Served): Promise<{ session: WireSession; head: Head }> {
  const session = await (await connect()).attach()
  await session.sync('c')
  session.write('c', '', [[setTo('n', 1)]])
  const [, incarnation, , , revision] = await session.client.next('d')
  return { session, head: { incarnation, version: 1, revision } }
}

const stores: { readonly [name: string]: () => ContextBackend } = {
  memory: memoryBackend,
  redis: () => redisBackend({ url: redis.url, prefix: `beacon${Math.random()}` }),
}
test.each(Object.entries(stores))('the beacon is silent where everybody was told everything: %s', async (_, open) => {
  const backend = open()
  const server = await served({}, { backend }, { beaconMs: 20 })
  const { session, head } = await written(server)
  await beacons(backend, 5)
  session.write('c', head.incarnation, [[setTo('n', 2)]])
  await session.client.next('d')
  await beacons(backend, 5)
  expect(session.client.frames.h).toEqual([])
})

test('G5: a commit of another node that nobody told of is told by its head', async () => {
  const shared = new SharedMemory()
  const [here, away] = [await served({}, { backend: shared.handle() }), await served({}, { backend: shared.handle() })]
  const { session, head } = await written(here)
  const reader = await (await away.connect()).attach()
  await reader.sync('c')
  session.write('c', head.incarnation, [[setTo('n', 2)]])
  const [, , , , revision] = await session.client.next('d')
  expect(await reader.client.next('h')).toEqual(['c', head.incarnation, 2, revision])
  expect(await reader.sync('c', head)).toMatchObject({ answer: { type: 'delta' }, reset: null })
})

test('G7: a head that went back is told, and its sync says so', async () => {
  const shared = new SharedMemory()
  const server = await served({}, { backend: shared.handle() }, { beaconMs: 20 })
  const { session, head } = await written(server)
  const dump = shared.store.copy('c')
  session.write('c', head.incarnation, [[setTo('n', 2)]])
  const [, , , , revision] = await session.client.next('d')
  shared.store.putBack(dump)
  expect(await session.client.next('h')).toEqual(['c', head.incarnation, 1, head.revision])
  expect(await session.sync('c', { ...head, version: 2, revision }, { told: 2, settled: 2 })).toMatchObject({
    answer: { type: 'full', head, state: { n: 1 } },
    record: { epoch: 1, last: 2 },
    reset: 'rolled_back',
  })
})

test('a member that knows less than the others makes the beacon speak, once', async () => {
  const backend = memoryBackend()
  const server = await served({}, { backend }, { beaconMs: 20 })
  const { session, head } = await written(server)
  // A store whose sync lags behind, as a replica would.
  const sync = backend.sync.bind(backend)
  const old = await (await server.connect()).attach()
  const before = await sync({
    contextId: 'never',
    head: null,
    stream: { key: 'k', mintedAt: Date.now(), epoch: 0, told: 0, settled: 0 },
    known: null,
    now: Date.now(),
    sessionTtlMs: 1_000_000,
    maxVersions: 0,
  })
  backend.sync = () => Promise.resolve(before)
  expect(await old.sync('c')).toMatchObject({ answer: { type: 'absent' } })
  backend.sync = sync
  expect(await old.client.next('h')).toEqual(['c', head.incarnation, 1, head.revision])
  await beacons(backend, 5)
  expect(old.client.frames.h).toHaveLength(1)
  expect(session.client.frames.h).toHaveLength(1)
  expect((await metricsOf(server.url)).value('contextd_beacon_told_total')).toBe(1)
})
