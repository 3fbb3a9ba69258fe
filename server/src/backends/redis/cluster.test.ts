import { setTimeout } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { errorOf, limitedTo } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { contextsWith } from '../../contexts/contexts.ts'
import { backendContract } from '../../testing/backend-contract.ts'
import { author, batchOf, contextId, startAt, store } from '../../testing/contract/kit.ts'
import { startRedisCluster } from '../../testing/redis-cluster.ts'
import type { RedisCluster } from '../../testing/redis-cluster.ts'
import { randomCalls } from '../../testing/random-calls.ts'
import { untilCaughtUp } from '../../testing/replication.ts'
import { noHead } from '../backend.ts'
import type { CommitBatch, ContextBackend } from '../backend.ts'
import type { StorePublishing } from '../publishing.ts'
import { namesOf } from './keys.ts'
import { redisBackend } from './redis.ts'
import { slotOf } from './slots.ts'

let cluster: RedisCluster
let stores = 0
beforeAll(async () => {
  cluster = await startRedisCluster({ user: limitedTo('store') })
}, 20_000)
afterAll(() => cluster.stop())

const createStore = (): { readonly handle: () => ContextBackend } => {
  const prefix = `store${(stores += 1)}`
  return { handle: () => redisBackend({ url: cluster.url, prefix }) }
}

async function openedOn(options: Parameters<typeof redisBackend>[0]): Promise<ContextBackend> {
  const backend = redisBackend(options)
  onTestFinished(() => backend.close())
  await backend.open()
  return backend
}

describe('the redis backend keeps the contract on a Cluster', () => {
  test.each(backendContract({ create: createStore }).map(({ name, run }) => [name, run] as const))('%s', async (_name, run) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

test('a Cluster answers random calls as the store model does, with two handles', async () => {
  const { handle } = createStore()
  const backends = [handle(), handle()]
  onTestFinished(async () => {
    for (const backend of backends) await backend.close()
  })
  for (const backend of backends) await backend.open()
  await expect(randomCalls({ seed: 5, calls: 4_000, backends })).resolves.toMatchObject({})
}, 60_000)

test('keys and channels of a context lie in the slot that Redis says, and contexts on all nodes', async () => {
  const names = namesOf('contextd', 'contextd')
  const keys = ['', 'a', '{}a', '{a}b', 'x{a}{b}', 'a{b', '}{a}', 'é😀', names.schema, ...names.index, names.channel('c')]
  for (const key of keys) expect([key, slotOf(key)]).toEqual([key, await cluster.admins[0]!.cluster('KEYSLOT', key)])
  expect(new Set([...names.context('c'), names.channel('c')].map(slotOf)).size).toBe(1)
  const long = 'exactly-14-cha'
  expect(slotOf(names.channel(long))).toBe(slotOf(names.locks(long)))
})

test('a database other than 0 and a list of nodes that is none are told', async () => {
  const backend = redisBackend(`${cluster.nodes[0]!.adminUrl}/1`)
  expect((await errorOf(backend.open())).message).toMatch(/^Redis at 127\.0\.0\.1:\d+\/1 /)
  for (const nodes of [[], 'x', [{ host: 'a' }], [{ port: 1 }], [null]]) {
    expect(() => redisBackend({ redisOptions: { cluster: nodes } })).toThrow(TypeError)
  }
})

test('any node that answers is enough to begin with', async () => {
  const dead = { host: '127.0.0.1', port: 1 }
  const nodes = [dead, { host: '127.0.0.1', port: cluster.nodes[2]!.port }]
  const backend = await openedOn({
    prefix: `store${(stores += 1)}`,
    redisOptions: { cluster: nodes, username: 'limited', password: 'sesame/limited' },
  })
  await store(backend)
  const none = redisBackend({ redisOptions: { cluster: [dead] } })
  expect((await errorOf(none.open())).message).toContain('127.0.0.1:1 cannot be reached (ECONNREFUSED)')
})

/** Commits what others have not, for as long as it takes; returns how often it was told to try again. */
async function commitOn(backend: ContextBackend, id: string, message: string | null = null): Promise<number> {
  let base = noHead
  let again = 0
  for (;;) {
    const batch: CommitBatch = batchOf({ contextId: id, base, ...(message !== null && { message }) })
    try {
      const result = await backend.commit(batch)
      if (result.type === 'committed') return again
      if (result.type === 'conflict') base = result.head
    } catch {
      again += 1
      await setTimeout(10)
    }
  }
}

test('F32: a slot that moves under load loses nothing, tells no error to anybody, and subscriptions go with it', async () => {
  const prefix = `store${(stores += 1)}`
  const names = namesOf(prefix, prefix)
  const slot = slotOf(names.locks(contextId))
  const [writer, reader] = await Promise.all([openedOn({ url: cluster.url, prefix }), openedOn({ url: cluster.url, prefix })])
  const publishing = reader.publishing as StorePublishing
  const heard: string[] = []
  let restored = 0
  publishing.subscribe(contextId, (message) => heard.push(message))
  publishing.onRestored(() => (restored += 1))
  await publishing.sockets.confirm(contextId)
  let commits = 0
  let errors = 0
  const moving = new AbortController()
  const writers = [0, 1, 2].map(async (number) => {
    while (!moving.signal.aborted) {
      errors += await commitOn(writer, contextId, JSON.stringify(['d', number]))
      commits += 1
      await setTimeout(1)
    }
  })
  for (const to of [1, 2, 0, 1]) {
    if ((await cluster.ownerOf(slot)) === to) continue
    const before = commits
    await until(() => commits > before + 20)
    const migration = await cluster.migrate(slot, to)
    await setTimeout(30)
    await migration.moveKeys()
    await setTimeout(30)
    const told = restored
    await migration.finish()
    await until(() => restored > told)
    await publishing.sockets.confirm(contextId)
    const last = heard.length
    await until(() => heard.length > last + 5)
  }
  moving.abort()
  await Promise.all(writers)
  expect(errors).toBe(0)
  expect((await reader.heads([contextId]))[0]!.version).toBe(commits)
  expect((await reader.log(contextId, 0)).map(({ version }) => version)).toEqual(Array.from({ length: commits }, (_, index) => index + 1))
}, 60_000)

test('G5: a killed subscriber connection of one node is made again, and only what was there may have been missed', async () => {
  const prefix = `store${(stores += 1)}`
  const backend = await openedOn({ url: cluster.url, prefix })
  const publishing = backend.publishing as StorePublishing
  const ids = Array.from({ length: 12 }, (_, index) => `c${index}`)
  const heard = new Set<string>()
  for (const id of ids) publishing.subscribe(id, () => heard.add(id))
  for (const id of ids) await publishing.sockets.confirm(id)
  const nodes = new Set(await Promise.all(ids.map((id) => cluster.ownerOf(slotOf(namesOf(prefix, prefix).locks(id))))))
  expect(nodes.size).toBe(3)
  let restored = 0
  publishing.onRestored(() => (restored += 1))
  for (const admin of cluster.admins) {
    const before = restored
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => restored > before)
  }
  for (const id of ids) await commitOn(backend, id, '["d",1]')
  await until(() => heard.size === ids.length)
  expect(restored).toBe(3)
})

test('a master that dies is replaced by its replica: held errors, then all goes on, and no acknowledged commit is lost', async () => {
  const own = await startRedisCluster({ replicas: true })
  onTestFinished(() => own.stop())
  const backend = await openedOn(own.url)
  const publishing = backend.publishing as StorePublishing
  const ids = Array.from({ length: 12 }, (_, index) => `c${index}`)
  const heard = new Set<string>()
  for (const id of ids) publishing.subscribe(id, (message) => heard.add(`${id} ${message}`))
  for (const id of ids) await publishing.sockets.confirm(id)
  for (const id of ids) await commitOn(backend, id, '["d",1]')
  const restored = new Promise<void>((resolve) => publishing.onRestored(resolve))
  await untilCaughtUp(own.nodes[0]!, own.nodes[3]!)
  await own.nodes[0]!.kill()
  for (const id of ids) await commitOn(backend, id, '["d",2]')
  await restored
  for (const id of ids) await publishing.sockets.confirm(id)
  for (const id of ids) await commitOn(backend, id, '["d",3]')
  await until(() => ids.every((id) => heard.has(`${id} ["d",3]`)))
  expect((await backend.heads(ids)).map(({ version }) => version)).toEqual(ids.map(() => 3))
}, 60_000)

test('a source on a Cluster keeps its keys in one slot, and says so of keys that lie apart', async () => {
  const backend = redisBackend({ url: cluster.nodes[0]!.adminUrl, prefix: 'sources' })
  const contexts = contextsWith({ backend })
  onTestFinished(() => contexts.close())
  const own = new Cluster([{ host: '127.0.0.1', port: cluster.nodes[0]!.port }])
  onTestFinished(() => own.disconnect())
  let round = 1
  const fetch = (): object[] => Array.from({ length: 2_500 }, (_, id) => ({ id, round }))
  const source = contexts.addSource({
    contextId: 'prices',
    fetch,
    refreshIntervalMs: 3_600_000,
    materialize: [
      { key: '{prices}:list', type: 'list' },
      { key: 'prices', type: 'hash', idProp: 'id' },
    ],
  })
  for (round = 1; round < 3; round += 1) {
    await source.refresh()
    expect(JSON.parse((await own.lindex('{prices}:list', -1))!)).toEqual({ id: 2_499, round })
    expect([await own.llen('{prices}:list'), await own.hlen('prices')]).toEqual([2_500, 2_500])
  }
  const apart = { contextId: 'apart', fetch, refreshIntervalMs: 3_600_000 }
  const keys = ['one', 'two'].map((key) => ({ key, type: 'list' as const }))
  expect(() => contexts.addSource({ ...apart, materialize: keys })).toThrow(/hash tag/)
})

test('keys for other programs are put in place together in one slot only, and not by who has lost the lock', async () => {
  const prefix = 'apart'
  const backend = await openedOn({ url: cluster.nodes[0]!.adminUrl, prefix })
  const keys = backend.materialized!
  const own = new Cluster([{ host: '127.0.0.1', port: cluster.nodes[0]!.port }])
  onTestFinished(() => own.disconnect())
  const lock = async (hold: string): Promise<number> => {
    const request = { contextId, key: 'leader', hold, holder: author, ttlMs: 60_000, extend: false, now: startAt }
    const result = await backend.lock(request)
    return result.type === 'held' ? result.lock.token : 0
  }
  const put = (token: number, ...values: string[]): Promise<string> => {
    const wanted = ['{fruit}:list', '{fruit}:set', 'fruit'].map((key, index) => ({
      key,
      type: (['list', 'set', 'list'] as const)[index]!,
      values,
    }))
    return keys.swap(wanted, { contextId, key: 'leader', token })
  }
  expect(keys.refusalTogether(['a', 'b', 'c'])).toContain('hash tag')
  expect(keys.refusalTogether(['{a}b', '{a}c', 'a'])).toBe(null)
  const first = await lock('one')
  await put(first, 'apple')
  expect([await own.lrange('{fruit}:list', 0, -1), await own.smembers('{fruit}:set'), await own.pttl('fruit')]).toEqual([
    ['apple'],
    ['apple'],
    -1,
  ])
  await put(first)
  expect(await own.exists('{fruit}:list')).toBe(0)
  await backend.unlock(contextId, 'leader', 'one', startAt)
  expect(await errorOf(put(first, 'late'))).toMatchObject({ code: 'locked' })
  const second = await lock('two')
  await put(second, 'pear')
  expect(second).toBeGreaterThan(first)
  expect(await errorOf(put(first, 'late'))).toMatchObject({ code: 'locked' })
  expect(await own.lrange('{fruit}:list', 0, -1)).toEqual(['pear'])
  // Locks that a failover has lost begin anew, and their tokens may be lower, by the clock of another node.
  await own.set('{fruit}:list:contextd:fence', `${second + 3_600_000} mark 111`)
  const mark = await put(second, 'plum')
  expect(await own.lrange('{fruit}:list', 0, -1)).toEqual(['plum'])
  const stand = (name: string): Promise<boolean> => keys.stand(['{fruit}:list', '{fruit}:set', 'fruit'], name)
  expect([await stand(mark), await stand('another')]).toEqual([true, false])
  await own.del('{fruit}:set')
  expect(await stand(mark)).toBe(false)
})
