import { createClient } from '@contextd/client'
import { Contextd, createContexts, createServer } from 'contextd'
import type { ContextdOptions } from 'contextd'
import { redisAclRules, redisBackend } from 'contextd/backends/redis'
import { sqliteBackend } from 'contextd/backends/sqlite'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { until } from '../support/wait.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(() => redis.stop())
beforeEach(async () => {
  const admin = new Redis(redis.url)
  await admin.flushall()
  admin.disconnect()
})
const opened: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each.close()
})
function keep<T extends { close(): Promise<unknown> }>(each: T): T {
  opened.push(each)
  return each
}
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const instance = (more: Partial<ContextdOptions> = {}): Contextd =>
  keep(new Contextd({ contextKey: 'my_cxtd', redisHost: '127.0.0.1', redisPort: redis.port, ...more }))

test('the example of the class runs as it is shown, but for the port', async () => {
  const plain = new Redis(redis.url)
  const published: unknown[] = []
  plain.on('message', (channel: string, text: string) => published.push([channel, JSON.parse(text)]))
  await plain.subscribe('context_updates')
  const updates: unknown[] = []

  const context = keep(
    new Contextd({ contextKey: 'my_cxtd', redisHost: 'localhost', redisPort: redis.port, redisDb: 0, pubsubChannel: 'context_updates' }),
  )
  await context.initialize()
  const end = context.on('update', (state, delta) => updates.push([state, delta.version]))
  await context.updateContext('user', { name: 'Ada' })
  await context.transactionalUpdate({ user: { name: 'Bob' }, loggedIn: true })
  const currentContext = await context.getContext()
  expect(currentContext).toEqual({ user: { name: 'Bob' }, loggedIn: true })
  expect(await context.acquireLock({ key: 'user', lockTimeout: 15000, retryDelay: 200, maxRetries: 100 })).toBe(true)
  try {
    await context.updateContext('user', { name: 'Cyd' })
  } finally {
    await context.releaseLock({ key: 'user' })
  }
  end()
  await context.close()

  expect(updates.map((update) => (update as unknown[])[1])).toEqual([1, 2, 3])
  expect(updates.at(-1)).toEqual([{ user: { name: 'Cyd' }, loggedIn: true }, 3])
  await until('three commits are published', () => published.length === 3)
  expect(published).toEqual(
    [1, 2, 3].map((version) => ['context_updates', { contextKey: 'my_cxtd', version, revision: expect.any(String) }]),
  )
  plain.disconnect()
})

describe('R13: one context with everybody else', () => {
  test('a browser on the server sees an update, and the class sees what the browser writes', async () => {
    const contexts = keep(createContexts({ backend: redisBackend(redis.url) }))
    const server = createServer({ contexts })
    await server.listen({ port: 0 })
    opened.push({ close: () => server.close() })
    const client = createClient({ url: server.url! })
    opened.push({ close: async () => client.destroy() })
    const board = client.context('my_cxtd')
    board.subscribe(() => {})
    const context = instance()
    await context.updateContext('user', { name: 'Ada' })
    await until('the browser shows it', () => (board.get() as { user?: { name: string } } | undefined)?.user?.name === 'Ada')
    await board.at('user', 'name').set('Bob')
    await vi.waitFor(async () => expect(await context.getContext()).toEqual({ user: { name: 'Bob' } }), { timeout: 10_000 })
  })

  test('a page cannot write what the class has locked when it is told to ask, and its own writes pass', async () => {
    const context = instance()
    const contexts = keep(createContexts({ backend: redisBackend(redis.url) }))
    await context.acquireLock({ key: 'user' })
    await expect(contexts.lock('my_cxtd', 'user', { maxRetries: 0 })).rejects.toEqual(code('locked'))
    await context.updateContext('user', 1)
    await context.releaseLock({ key: 'user' })
    const lock = await contexts.lock('my_cxtd', 'user', { maxRetries: 0 })
    const waiting = context.updateContext('user', 2)
    await contexts.update('my_cxtd', { user: 3 }, { lock })
    await lock.release()
    await waiting
    expect((await contexts.get('my_cxtd'))?.state).toEqual({ user: 2 })
  })

  test('two instances with the same options, and an engine, lose nothing of what they write at once', async () => {
    const [one, two] = [instance(), instance()]
    const contexts = keep(createContexts({ backend: redisBackend(redis.url) }))
    const versions = new Set<number>()
    one.on('update', (_, { version }) => versions.add(version))
    await one.initialize()
    await Promise.all(
      Array.from({ length: 100 }, (_, n) => [
        one.updateContext(`one${n}`, n),
        two.updateContext(`two${n}`, n),
        contexts.update('my_cxtd', { [`engine${n}`]: n }, { initial: {} }),
      ]).flat(),
    )
    const stored = await contexts.get('my_cxtd')
    expect(stored!.version).toBe(300)
    expect(Object.keys(stored!.state)).toHaveLength(300)
    await until('all are told', () => versions.size === 300)
    expect(await one.getContext()).toEqual(stored!.state)
    await until('the other has them', async () => Object.keys(await two.getContext()).length === 300)
  })

  test('what an instance wrote is in its local copy at once', async () => {
    const context = instance()
    for (let n = 1; n <= 200; n += 1) {
      await context.updateContext('n', n)
      expect(await context.getContext()).toEqual({ n })
    }
  })
})

describe('R13: pubsubChannel', () => {
  test('tells of each commit that is made through the class, in order, and of nothing else', async () => {
    const plain = new Redis(redis.url)
    const published: string[] = []
    plain.on('message', (_channel: string, text: string) => published.push(text))
    await plain.subscribe('mine')
    const [telling, other] = [instance({ pubsubChannel: 'mine' }), instance()]
    const contexts = keep(createContexts({ backend: redisBackend(redis.url) }))
    await telling.updateContext('n', 1)
    await telling.updateContext('n', 1)
    await telling.transactionalUpdate({})
    await other.updateContext('n', 2)
    await contexts.update('my_cxtd', { n: 3 })
    await expect(telling.updateContext('__proto__', {})).rejects.toEqual(code('invalid_operation'))
    await telling.updateContext('n', 4)
    await until('the last one is told', () => published.some((text) => text.includes('"version":4')))
    const revision = expect.any(String) as string
    expect(published.map((text) => JSON.parse(text) as unknown)).toEqual([
      { contextKey: 'my_cxtd', version: 1, revision },
      { contextKey: 'my_cxtd', version: 4, revision },
    ])
    plain.disconnect()
  })

  test('on which one may not publish is a warning; the commits stand', async () => {
    const admin = new Redis(redis.url)
    await admin.call('ACL', 'SETUSER', 'bound', 'on', '>s3cret', ...redisAclRules().split(' '))
    const warned: [object, string][] = []
    const logger = {
      debug: () => {},
      info: () => {},
      error: () => {},
      warn: (details: object, message: string) => void warned.push([details, message]),
    }
    const redisUrl = redis.url.replace('redis://', 'redis://bound:s3cret@')
    const context = keep(new Contextd({ contextKey: 'my_cxtd', redisUrl, pubsubChannel: 'mine', logger }))
    await context.updateContext('n', 1)
    expect(await context.getContext()).toEqual({ n: 1 })
    await until('it is warned of', () => warned.some(([, message]) => message.includes('pubsubChannel')))
    expect(JSON.stringify(warned)).not.toContain('s3cret')
    await context.close()
    await admin.call('ACL', 'DELUSER', 'bound')
    admin.disconnect()
  })
})

describe('R13: where Redis is', () => {
  test('a password, a database, a URL and options of ioredis', async () => {
    const secured = await startRedisServer({ password: 's3cret' })
    const at = { contextKey: 'my_cxtd', redisHost: '127.0.0.1', redisPort: secured.port }
    const ways: ContextdOptions[] = [
      { ...at, redisPassword: 's3cret', redisDb: 3 },
      { contextKey: 'my_cxtd', redisUrl: `${secured.url}/3` },
      { ...at, redisDb: 3, redisOptions: { password: 's3cret', connectionName: 'mine' } },
    ]
    for (const [index, way] of ways.entries()) {
      const context = new Contextd(way)
      await context.updateContext(`way${index}`, true)
      await context.close()
    }
    const contexts = createContexts({ backend: redisBackend(`${secured.url}/3`) })
    expect((await contexts.get('my_cxtd'))?.state).toEqual({ way0: true, way1: true, way2: true })
    await contexts.close()
    const wrong = new Contextd(at)
    await expect(wrong.initialize()).rejects.toEqual(code('backend_unavailable'))
    await wrong.close()
    await secured.stop()
  })

  test('a Redis that is away: backend_unavailable, and the same instance works once it is back', async () => {
    const own = await startRedisServer({ appendOnly: 'always' })
    const context = new Contextd({ contextKey: 'my_cxtd', redisHost: '127.0.0.1', redisPort: own.port })
    await own.kill()
    await expect(context.initialize()).rejects.toEqual(code('backend_unavailable'))
    await expect(context.acquireLock({ key: 'a' })).rejects.toEqual(code('backend_unavailable'))
    await own.restart()
    await context.updateContext('a', 1)
    await own.kill()
    expect(await context.getContext()).toEqual({ a: 1 })
    await expect(context.updateContext('b', 1)).rejects.toMatchObject({ retryable: true })
    await own.restart()
    await until('it is back', () =>
      context.updateContext('c', 1).then(
        () => true,
        () => false,
      ),
    )
    expect(await context.getContext()).toEqual({ a: 1, c: 1 })
    await context.close()
    await own.stop()
  })
})

test('its wish list: the same on SQLite, where instances of one file see each other', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'contextd-class-'))
  const file = join(directory, 'contexts.db')
  const [one, two] = [1, 2].map(() => keep(new Contextd({ contextKey: 'my_cxtd', backend: sqliteBackend(file) })))
  await two!.initialize()
  expect(await one!.acquireLock({ key: 'user' })).toBe(true)
  await one!.updateContext('user', 1)
  const waiting = two!.updateContext('user', 2)
  await until('the other sees it', async () => JSON.stringify(await two!.getContext()) === '{"user":1}')
  await one!.releaseLock({ key: 'user' })
  await waiting
  expect(await two!.getContext()).toEqual({ user: 2 })
  for (const each of opened.splice(0)) await each.close()
  await rm(directory, { recursive: true })
})
