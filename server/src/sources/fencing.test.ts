import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { engines } from '../../support/stores.ts'
import { until } from '../../support/until.ts'
import type { ContextBackend } from '../backends/backend.ts'
import { redisBackend } from '../backends/redis/redis.ts'
import { clusterId } from '../locks/leader.ts'
import { startRedisServer } from '../testing/redis-server.ts'
import type { RedisServer } from '../testing/redis-server.ts'

let redis: RedisServer
let admin: Redis
beforeAll(async () => {
  redis = await startRedisServer()
  admin = new Redis(redis.url)
})
afterAll(async () => {
  admin.disconnect()
  await redis.stop()
})
beforeEach(() => admin.flushall())
const engine = engines()
const hour = 3_600_000
const nothing = (): void => {}
const leaseMs = 3_000

/** A node whose source says who fetched, and can be held up on its way to the store. */
function node(name: string, backend: ContextBackend = redisBackend(redis.url), refreshIntervalMs = hour) {
  const contexts = engine({ backend, leaseMs })
  const tokens: number[] = []
  const data = { by: name, n: 0 }
  const added = contexts.addSource({
    contextId: 's',
    fetch: (_, { token }) => {
      tokens.push(token)
      data.n += 1
      return [{ id: 'a', ...data }]
    },
    refreshIntervalMs,
    materialize: [{ key: 'copy', type: 'list' }],
  })
  return { contexts, added, tokens }
}

/** What a paused process comes back to: its leases are over, and another node leads and has written. */
async function takenOver(): Promise<ReturnType<typeof node>> {
  await admin.del(`contextd:{ctx:${clusterId}}:locks`, 'contextd:{ctx:s}:locks')
  const other = node('b')
  await until(() => other.added.status.lastSuccessAt !== null)
  return other
}

test.each(['commit', 'swap'] as const)('F29: a leader that is paused right before its %s writes nothing when it goes on', async (step) => {
  const backend = redisBackend(redis.url)
  let arrived: () => void
  let goOn = nothing
  const isThere = new Promise<void>((resolve) => (arrived = resolve))
  let held = false
  const gate = async (): Promise<void> => {
    if (!held) return
    held = false
    const passed = new Promise<void>((resolve) => (goOn = resolve))
    arrived()
    await passed
  }
  const commit = backend.commit.bind(backend)
  const swap = backend.materialized!.swap.bind(backend.materialized)
  backend.commit = async (batch) => {
    if (step === 'commit' && batch.contextId === 's') await gate()
    return commit(batch)
  }
  const copies: string[][] = []
  backend.materialized!.swap = async (keys, fence) => {
    if (step === 'swap') await gate()
    return swap(keys, fence).finally(async () => copies.push(await admin.lrange('copy', 0, -1)))
  }
  const a = node('a', backend)
  await until(() => a.added.status.lastSuccessAt !== null)
  held = true
  const asked = a.added.refresh()
  await isThere
  const b = await takenOver()
  goOn()
  // Whichever node leads, it is fetched for who asked.
  await asked
  await b.added.refresh()
  const { version } = (await b.contexts.get('s'))!
  const writers: unknown[] = []
  for (let each = 1; each <= version; each += 1) writers.push((await b.contexts.at('s', each)).state)
  expect(writers.map((state) => (state as { items: [{ by: string }] }).items[0].by).join('')).toMatch(/^a+b+$/)
  // The first is its own; whatever it tried later left what the other one had put there.
  expect(copies.map(([row]) => /"by":"(.)"/.exec(row!)?.[1]).join('')).toMatch(step === 'swap' ? /^ab+$/ : /^ab*$/)
  expect(Math.max(...a.tokens)).toBeLessThan(Math.min(...b.tokens))
})

test('a request that is under way while the leader is killed is carried out by the next one, without an error', async () => {
  const a = node('a')
  await until(() => a.added.status.lastSuccessAt !== null)
  const b = engine({ backend: redisBackend(redis.url), leaseMs: 400 })
  let fetched = 0
  const onB = b.addSource({ contextId: 's', fetch: () => ({ by: 'b', fetched: (fetched += 1) }), refreshIntervalMs: hour })
  // Gone without a word: nobody answers, and its write lock lasts a little longer than its lead.
  await a.contexts.close()
  await admin.del(`contextd:{ctx:${clusterId}}:locks`)
  const other = redisBackend(redis.url)
  await other.open()
  await other.lock({
    contextId: 's',
    key: '~source',
    hold: 'gone',
    holder: { userId: null, actor: 'server' },
    ttlMs: 700,
    extend: false,
    now: Date.now(),
  })
  await onB.refresh()
  await other.close()
  expect(fetched).toBeGreaterThan(0)
  expect(onB.status).toMatchObject({ leader: true, failures: 0, lastError: null })
})

const told = (): Promise<string | null> => admin.hget('contextd:{ctx:~source:s}:row', 'v')

test.each(['leads for nothing else', 'cleans up too'])(
  'a leader that %s and closes gives up its lease, and tells the others',
  async (also) => {
    const a = engine({ backend: redisBackend(redis.url), leaseMs: 60_000 })
    const first = a.addSource({ contextId: 's', fetch: () => ({ by: 'a' }), refreshIntervalMs: hour })
    await until(() => first.status.lastSuccessAt !== null)
    if (also === 'cleans up too') a.startCleanup({ intervalMs: hour })
    const b = engine({ backend: redisBackend(redis.url), leaseMs: 60_000 })
    const second = b.addSource({ contextId: 's', fetch: () => ({ by: 'b' }), refreshIntervalMs: hour })
    expect(await told()).toBeNull()
    await a.close()
    await until(() => second.status.lastSuccessAt !== null)
    expect(await told()).toBe('1')
    expect(await b.get('s')).toMatchObject({ state: { by: 'b' } })
  },
)

test('a lock that the store has lost is taken anew, and the fetch is made again', async () => {
  const a = node('a')
  await until(() => a.added.status.lastSuccessAt !== null)
  await admin.del('contextd:{ctx:s}:locks')
  await a.added.refresh()
  expect(a.added.status).toMatchObject({ failures: 0, lastError: null, version: 2 })
  expect(await admin.lrange('copy', 0, -1)).toEqual([expect.stringContaining('"by":"a"')])
  expect(a.tokens.at(-1)).toBeGreaterThan(a.tokens[0]!)
})

test('a request that the store has lost is made again', async () => {
  const a = engine({ backend: redisBackend(redis.url) }, { beaconMs: 50 })
  let release = nothing
  let fetched = 0
  const fetch = (): Promise<object> => {
    fetched += 1
    return fetched === 1 ? Promise.resolve({ fetched }) : new Promise((resolve) => (release = () => resolve({ fetched })))
  }
  const onA = a.addSource({ contextId: 's', fetch, refreshIntervalMs: hour })
  await until(() => onA.status.lastSuccessAt !== null)
  const b = engine({ backend: redisBackend(redis.url) }, { beaconMs: 50 })
  const onB = b.addSource({ contextId: 's', fetch, refreshIntervalMs: hour })
  const asked = onB.refresh()
  await until(() => fetched === 2)
  // As after a failover to a replica that was behind: the leader has it no more, nor has the store.
  await admin.del(...(await admin.keys('contextd:{ctx:~source:s}:*')))
  await until(async () => (await admin.keys('contextd:{ctx:~source:s}:*')).length > 0)
  release()
  await asked
  expect(await b.get('s')).toMatchObject({ state: { fetched: 2 } })
  // Who does not lead hears of the version all the same.
  await until(() => onB.status.version === 2)
  expect(onB.status).toMatchObject({ leader: false, running: false, lastSuccessAt: null, nextRunAt: null })
})

test('a store that is away for a while, and comes back with nothing, has all of it again by itself', async () => {
  const away = await startRedisServer()
  onTestFinished(() => away.stop())
  const a = node('a', redisBackend(away.url), 50)
  await until(() => a.added.status.version > 2)
  await away.kill()
  await until(() => a.added.status.failures > 0 || !a.added.status.leader)
  await away.restart()
  const reader = new Redis(away.url)
  await until(async () => (await reader.llen('copy')) === 1 && (await reader.hget('contextd:{ctx:s}:row', 'v')) !== null)
  await until(() => a.added.status.lastError === null)
  expect(await reader.lrange('copy', 0, -1)).toEqual([expect.stringContaining('"by":"a"')])
  reader.disconnect()
})
