import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { limitedTo } from '../../../support/redis-store.ts'
import { backendContract } from '../../testing/backend-contract.ts'
import type { StoreUnderTest } from '../../testing/backend-contract.ts'
import { randomCalls } from '../../testing/random-calls.ts'
import { startRedisServer } from '../../testing/redis-server.ts'
import type { RedisServer } from '../../testing/redis-server.ts'
import { redisBackend } from './redis.ts'

let server: RedisServer
let stores = 0
beforeAll(async () => {
  server = await startRedisServer({ user: limitedTo('store') })
})
afterAll(() => server.stop())

function createStore(): StoreUnderTest {
  const prefix = `store${(stores += 1)}`
  return { handle: () => redisBackend({ url: server.url, prefix }) }
}

describe('the redis backend keeps the contract', () => {
  test.each(backendContract({ create: createStore }).map(({ name, run }) => [name, run] as const))('%s', async (_name, run) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

/** Kinds of answers that a run must have met, or it proves little. */
const needed = `commit committed · commit conflict · commit conflict, no way · commit repeat · commit gap · commit fenced · commit expired ·
  sync found, same · sync found, since · sync found, known · sync found, stored · sync expired · sync found, stored, rolled back, fenced ·
  sync found, same, fenced · load filled · log filled · log empty · heads filled · list filled`.split(/\s*·\s*/)

test('the redis backend answers 20,000 random calls as the store model does, with two handles on one store', async () => {
  const store = createStore()
  const backends = [store.handle(), store.handle()]
  onTestFinished(async () => {
    for (const backend of backends) await backend.close()
  })
  for (const backend of backends) await backend.open()
  const { calls, answers } = await randomCalls({ seed: 4, calls: 20_000, backends })
  expect(calls).toBeGreaterThanOrEqual(20_000)
  expect(Object.keys(answers)).toEqual(expect.arrayContaining(needed))
}, 60_000)
