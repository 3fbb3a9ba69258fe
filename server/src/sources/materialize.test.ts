import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../../support/until.ts'
import { redisAclRules, redisBackend } from '../backends/redis/redis.ts'
import { contextsWith } from '../contexts/contexts.ts'
import type { Contexts } from '../contexts/contexts.ts'
import { startRedisServer } from '../testing/redis-server.ts'
import type { RedisServer } from '../testing/redis-server.ts'
import type { Materialize } from './source-types.ts'

let server: RedisServer
let admin: Redis
const opened: Contexts<{}, unknown>[] = []

beforeAll(async () => {
  server = await startRedisServer()
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})
beforeEach(async () => {
  await admin.flushall()
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((contexts) => contexts.close()))
})

function engine(more: object = {}): Contexts<{}, unknown> {
  const contexts = contextsWith({ backend: redisBackend(server.url), ...more })
  opened.push(contexts)
  return contexts
}
const hour = 3_600_000
const users = [
  { id: 'a', name: 'Ada' },
  { id: 7, name: 'Bob' },
]
const every: Materialize[] = [
  { key: 'users:list', type: 'list' },
  { key: 'users:hash', type: 'hash', idProp: 'id' },
  { key: 'users:set', type: 'set' },
  { key: 'users:string', type: 'string' },
]

function source(contexts: Contexts<{}, unknown>, first: object, materialize: readonly Materialize[] = every) {
  const data = { now: first }
  const added = contexts.addSource({ contextId: 's', fetch: () => data.now, refreshIntervalMs: hour, materialize })
  const done = until(() => added.status.lastSuccessAt !== null || added.status.lastError !== null)
  return { added, data, done }
}

async function content(): Promise<object> {
  const [list, hash, set, string] = await Promise.all([
    admin.lrange('users:list', 0, -1),
    admin.hgetall('users:hash'),
    admin.smembers('users:set'),
    admin.get('users:string'),
  ])
  return { list, hash, set: set.toSorted(), string }
}
const texts = (rows: readonly object[]): string[] => rows.map((row) => JSON.stringify(row))

test('the same data as list, hash, set and string, in the order of the source', async () => {
  const { added, data, done } = source(engine(), users)
  await done
  expect(added.status.lastError).toBeNull()
  expect(await content()).toEqual({
    list: texts(users),
    hash: { a: '{"id":"a","name":"Ada"}', 7: '{"id":7,"name":"Bob"}' },
    set: texts(users).toSorted(),
    string: JSON.stringify(users),
  })
  // The source's own list is as it was; an item less is an item less everywhere.
  data.now = [users[1]!]
  await added.refresh()
  expect(await content()).toEqual({
    list: texts([users[1]!]),
    hash: { 7: '{"id":7,"name":"Bob"}' },
    set: texts([users[1]!]),
    string: JSON.stringify([users[1]!]),
  })
  expect(users.map(({ id }) => id)).toEqual(['a', 7])
})

test('an empty source empties the keys', async () => {
  const { added, data, done } = source(engine(), users)
  await done
  data.now = []
  await added.refresh()
  expect(await content()).toEqual({ list: [], hash: {}, set: [], string: '[]' })
})

test('an object is kept as a string whole, and by its values elsewhere', async () => {
  const { done } = source(engine(), { x: users[0]!, y: users[1]! })
  await done
  expect(await content()).toMatchObject({ list: texts(users), string: JSON.stringify({ x: users[0], y: users[1] }) })
})

test.each([
  ['an item without it', [{ id: 'a' }, { name: 'Bob' }], /Item 1 has no id/],
  ['an item where it is no text', [{ id: {} }], /Item 0 has no id/],
  ['an item that is no object', ['a'], /Item 0 has no id/],
  ['two items with the same', [{ id: '7' }, { id: 'x' }, { id: 7 }], /Items 0 and 2 have the same id, "7"/],
])('idProp: %s is an error that names the row; nothing is written', async (_, rows, message) => {
  const contexts = engine()
  const { added, data, done } = source(contexts, users)
  await done
  const before = await content()
  data.now = rows
  await expect(added.refresh()).rejects.toThrow(message)
  expect(await content()).toEqual(before)
  expect((await contexts.get('s'))?.version).toBe(1)
})

test('a key that holds another type stays; once it is gone, all keys are put in place, though the source has not changed', async () => {
  await admin.sadd('users:hash', 'not ours')
  const { added, done } = source(engine(), users)
  await done
  expect(added.status.lastError?.message).toMatch(/users:hash holds a set, not a hash/)
  expect(await admin.keys('*users*')).toEqual(['users:hash'])
  expect(await admin.smembers('users:hash')).toEqual(['not ours'])
  await admin.del('users:hash')
  await added.refresh()
  expect(Object.keys(await admin.hgetall('users:hash'))).toHaveLength(2)
  expect(added.status.lastError).toBeNull()
})

test('keys of contexts cannot be used, nor one key twice', () => {
  const contexts = engine()
  const add = (materialize: readonly unknown[]) => (): void =>
    void contexts.addSource({ contextId: 's', fetch: () => ({}), refreshIntervalMs: hour, materialize: materialize as Materialize[] })
  expect(add([{ key: 'contextd:{ctx:a}:row', type: 'hash', idProp: 'id' }])).toThrow(/contextd:/)
  expect(add([{ key: 'contextd:mine', type: 'list' }])).toThrow(/contextd:/)
  expect(add([{ key: 'other:{ctx:a}:row', type: 'hash', idProp: 'id' }])).toThrow(/of another prefix/)
  expect(add([{ key: 'other:{contexts}:ids', type: 'list' }])).toThrow(/of another prefix/)
  expect(add([{ key: '', type: 'list' }])).toThrow(/key/)
  expect(add([{ key: 'k', type: 'list', ttl: 1 }])).toThrow(/ttl/)
  expect(
    add([
      { key: 'k', type: 'list' },
      { key: 'k', type: 'set' },
    ]),
  ).toThrow(/twice/)
  expect(add([{ key: 'k', type: 'hash' }])).toThrow(/idProp/)
  expect(add([{ key: 'k', type: 'zset' }])).toThrow(/type/)
})

test('a key belongs to one source', async () => {
  const contexts = engine()
  const { added, done } = source(contexts, users)
  await done
  const other = { contextId: 'other', fetch: () => [], refreshIntervalMs: hour, materialize: [{ key: 'users:set', type: 'set' as const }] }
  expect(() => contexts.addSource(other)).toThrow(/"users:set" belongs to the source of s/)
  await added.remove()
  const now = contexts.addSource(other)
  await now.refresh()
  expect(now.status.lastError).toBeNull()
})

test('a source that has not changed makes no commit, publishes nothing and writes no key; and it puts back what was dropped', async () => {
  const contexts = engine()
  const { added, done } = source(contexts, users)
  await done
  const before = await content()
  const calls = async (): Promise<string[]> =>
    [...(await admin.info('commandstats')).matchAll(/cmdstat_(\w+):/g)].map(([, name]) => name!).toSorted()
  await admin.config('RESETSTAT')
  for (let round = 0; round < 3; round += 1) await added.refresh()
  expect((await calls()).filter((name) => /^(rpush|sadd|append|rename|unlink|del|publish|spublish|set)$/.test(name))).toEqual([])
  expect((await contexts.get('s'))?.version).toBe(1)
  for (const key of ['users:list', 'users:hash', 'users:set', 'users:string']) {
    await admin.del(key)
    await added.refresh()
    expect(await content()).toEqual(before)
  }
  expect((await contexts.get('s'))?.version).toBe(1)
  // All of it is gone: the store was emptied.
  await admin.flushall()
  await added.refresh()
  expect(await content()).toEqual(before)
  expect((await contexts.get('s'))?.state).toEqual({ items: users })
  expect(added.status.failures).toBe(0)
})

test('no key is without an end before it is put in place: nothing stays of a node that is gone', async () => {
  const contexts = engine({ limits: { stateBytes: 0 } })
  const large = Array.from({ length: 3_000 }, (_, id) => ({ id, text: 'x'.repeat(200) }))
  const { added, data, done } = source(contexts, users)
  await done
  data.now = large
  let looked = 0
  const watching = new AbortController()
  const watch = (async () => {
    while (!watching.signal.aborted) {
      const ready = (await admin.keys('*:contextd:*')).filter((key) => !key.endsWith(':fence') && !key.startsWith('contextd:'))
      for (const key of ready) expect(await admin.pttl(key)).not.toBe(-1)
      looked += ready.length
    }
  })()
  for (let round = 0; round < 2; round += 1) {
    data.now = large.map((row) => ({ ...row, round }))
    await added.refresh()
  }
  watching.abort()
  await watch
  expect(looked).toBeGreaterThan(0)
  expect(await admin.hlen('users:hash')).toBe(3_000)
})

test('what lay ready and was dropped is not half put in place', async () => {
  const backend = redisBackend(server.url)
  await backend.open()
  const held = await backend.lock({
    contextId: 's',
    key: 'k',
    hold: 'h',
    holder: { userId: null, actor: 'server' },
    ttlMs: 60_000,
    extend: false,
    now: 1,
  })
  const fence = { contextId: 's', key: 'k', token: held.type === 'held' ? held.lock.token : 0 }
  const put = (values: () => Iterable<string>): Promise<string> =>
    backend.materialized!.swap(
      [
        { key: 'one', type: 'list', values: ['1'] },
        { key: 'two', type: 'list', values: values() },
      ],
      fence,
    )
  const mark = await put(() => ['old'])
  const dropping = (function* (): Generator<string> {
    yield 'new'
    // By the time that this is asked for, the first key lies ready.
    void admin.keys('{one}:contextd:*:0').then((ready) => admin.del(...ready))
    for (let count = 0; count < 5_000; count += 1) yield 'more'
  })()
  await expect(put(() => dropping)).rejects.toMatchObject({ code: 'backend_unavailable' })
  expect([await admin.lrange('one', 0, -1), await admin.lrange('two', 0, -1)]).toEqual([['1'], ['old']])
  expect(await backend.materialized!.stand(['one', 'two'], mark)).toBe(true)
  expect(await backend.materialized!.stand(['one', 'two'], 'another')).toBe(false)
  expect(await admin.keys('*:contextd:*')).toEqual(['{one}:contextd:fence'])
  await backend.close()
})

const as = (user: string): string => server.url.replace('redis://', `redis://${user}:sesame@`)

test('a user of Redis who may do what the rules name, and nothing else, is enough; one who may not is told', async () => {
  const keys = every.map(({ key }) => key)
  await admin.call('ACL', 'SETUSER', 'sources', 'on', '>sesame', ...redisAclRules('contextd', keys).split(' '))
  await admin.call('ACL', 'SETUSER', 'plain', 'on', '>sesame', ...redisAclRules().split(' '))
  const { done } = source(engine({ backend: redisBackend(as('sources')) }), users)
  await done
  expect((await content()) as { list: string[] }).toMatchObject({ list: texts(users), string: JSON.stringify(users) })
  await Promise.all(opened.splice(0).map((contexts) => contexts.close()))
  const denied = source(engine({ backend: redisBackend(as('plain')) }), users)
  await denied.done
  expect(denied.added.status.lastError?.message).toMatch(/does not allow its user/)
  expect(() => redisAclRules('contextd', ['users*'])).toThrow(TypeError)
})

const rows = (round: number) => Array.from({ length: 100_000 }, (_, id) => ({ id, round }))
const roundOf = (text: unknown): unknown => (JSON.parse(text as string) as { round: number }).round

test('100,000 rows are put in place whole; who reads all the time never sees them missing or half', async () => {
  const contexts = engine({ limits: { stateBytes: 0 } })
  const { added, data, done } = source(contexts, rows(0), every.slice(0, 2))
  await done
  expect(added.status.lastError).toBeNull()
  const seen = new Set<string>()
  const reading = new AbortController()
  const reader = (async () => {
    while (!reading.signal.aborted) {
      const [length, first, last, size] = (
        (await admin.multi().llen('users:list').lindex('users:list', 0).lindex('users:list', -1).hlen('users:hash').exec()) as [
          null,
          unknown,
        ][]
      ).map(([, reply]) => reply)
      seen.add(JSON.stringify([length, size, roundOf(first) === roundOf(last)]))
      await pause(1)
    }
  })()
  data.now = rows(1)
  await added.refresh()
  reading.abort()
  await reader
  expect([...seen]).toEqual(['[100000,100000,true]'])
  expect(JSON.parse((await admin.lindex('users:list', 0))!)).toEqual({ id: 0, round: 1 })
  // Nothing stays beside the keys but the note of what is in them.
  expect((await admin.keys('*contextd:*')).filter((key) => !key.startsWith('contextd:'))).toEqual(['{users:list}:contextd:fence'])
}, 60_000)
