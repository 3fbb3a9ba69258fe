import { setTimeout } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { until } from '../../../support/until.ts'
import { backendContract } from '../../testing/backend-contract.ts'
import type { StoreUnderTest } from '../../testing/backend-contract.ts'
import { at, batchOf, contextId, store } from '../../testing/contract/kit.ts'
import { startRedisSentinel } from '../../testing/redis-sentinel.ts'
import type { RedisSentinel } from '../../testing/redis-sentinel.ts'
import { untilCaughtUp } from '../../testing/replication.ts'
import { noHead } from '../backend.ts'
import type { ContextBackend } from '../backend.ts'
import type { StorePublishing } from '../publishing.ts'
import { redisBackend } from './redis.ts'

let sentinel: RedisSentinel
let stores = 0
beforeAll(async () => {
  sentinel = await startRedisSentinel()
}, 20_000)
afterAll(() => sentinel.stop())

function createStore(): StoreUnderTest {
  const prefix = `store${(stores += 1)}`
  return { handle: () => redisBackend({ prefix, redisOptions: sentinel.options }) }
}

describe('the redis backend keeps the contract behind a Sentinel', () => {
  test.each(backendContract({ create: createStore }).map(({ name, run }) => [name, run] as const))('%s', async (_name, run) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

async function openedOn(own: RedisSentinel): Promise<ContextBackend> {
  const backend = redisBackend({ redisOptions: { ...own.options, commandTimeout: 1_000 } })
  onTestFinished(() => backend.close())
  await backend.open()
  return backend
}

/** Commits one after another on a stream until it is stopped; returns the revisions that were acknowledged. */
async function write(backend: ContextBackend, key: string, stopped: AbortSignal): Promise<string[]> {
  const acknowledged: string[] = []
  let base = noHead
  while (!stopped.aborted) {
    const batch = batchOf({ base, members: [{ stream: at(acknowledged.length + 1, { key }) }], message: `["d",${acknowledged.length}]` })
    const answer = await committed(backend, batch)
    if (answer === null) base = (await headOf(backend))!
    else {
      acknowledged.push(answer)
      base = batch.head
    }
  }
  return acknowledged
}

/** The revision under which a batch is stored, however often it has to be sent; null: on another head. */
async function committed(backend: ContextBackend, batch: ReturnType<typeof batchOf>): Promise<string | null> {
  for (;;) {
    try {
      const result = await backend.commit(batch)
      if (result.type === 'committed') return batch.head.revision
      if (result.type === 'conflict') return null
      const [first] = result.answers
      if (first?.answer.type !== 'repeat' || first.answer.verdict.type !== 'applied') throw new TypeError(JSON.stringify(result))
      return first.answer.verdict.head!.revision
    } catch (error) {
      if (error instanceof TypeError) throw error
      await setTimeout(10)
    }
  }
}

async function headOf(backend: ContextBackend): Promise<typeof noHead | undefined> {
  for (;;) {
    try {
      return (await backend.heads([contextId]))[0]
    } catch {
      await setTimeout(10)
    }
  }
}

test.each([
  ['dies', (own: RedisSentinel) => own.master.kill()],
  ['hangs', async (own: RedisSentinel) => own.master.freeze()],
])(
  'G3, G4: a master that %s is replaced by its replica: nothing acknowledged is lost, nothing is stored twice',
  async (_how, fail) => {
    const own = await startRedisSentinel()
    onTestFinished(() => own.stop())
    const backend = await openedOn(own)
    const publishing = backend.publishing as StorePublishing
    let heard = 0
    publishing.subscribe(contextId, () => (heard += 1))
    await publishing.sockets.confirm(contextId)
    const restored = new Promise<void>((resolve) => publishing.onRestored(resolve))
    const writing = new AbortController()
    const writers = Promise.all(['a', 'b'].map((key) => write(backend, key, writing.signal)))
    await until(() => heard > 20)
    // All that was acknowledged so far is on the replica, and nobody writes while it takes over.
    writing.abort()
    const written = await writers
    await untilCaughtUp(own.master, own.replica)
    await fail(own)
    await until(async () => (await own.masterPort()) === own.replica.port)
    const head = await headOf(backend)
    const log = (await backend.log(contextId, 0)).map(({ revision }) => revision)
    expect(log.toSorted()).toEqual(written.flat().toSorted())
    await restored
    await publishing.sockets.confirm(contextId)
    const before = heard
    await until(() =>
      store(backend, { base: head!, message: '["d"]' }).then(
        () => true,
        () => false,
      ),
    )
    await until(() => heard > before)
  },
  60_000,
)

test('a master that a Sentinel has made a replica is left for the new one', async () => {
  const own = await startRedisSentinel()
  onTestFinished(() => own.stop())
  const backend = await openedOn(own)
  const { head: base } = await store(backend)
  const control = new Redis(own.options.sentinels[0]!.port, '127.0.0.1')
  onTestFinished(() => control.disconnect())
  // It waits for news of the replica, which it asks for now and then.
  await until(async () => (await control.call('SENTINEL', 'FAILOVER', 'main').catch(() => '')) === 'OK')
  await until(async () => (await own.masterPort()) === own.replica.port)
  const batch = batchOf({ base })
  expect(await committed(backend, batch)).toBe(batch.head.revision)
  const replica = new Redis(own.replica.adminUrl)
  onTestFinished(() => replica.disconnect())
  expect(await replica.info('replication')).toContain('role:master')
}, 60_000)
