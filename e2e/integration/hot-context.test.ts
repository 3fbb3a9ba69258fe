import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'

const increment = [{ type: 'increment', path: ['n'], by: 1 }] as const

test('F34: a context that saturates its node keeps the commits of others waiting for none of its own queue', async () => {
  const redis = await startRedisServer()
  const contexts = createContexts({ backend: redisBackend(redis.url) })
  onTestFinished(async () => {
    await contexts.close()
    await redis.stop()
  })
  const others = Array.from({ length: 20 }, (_, index) => `cold:${index}`)
  for (const id of ['hot', ...others]) await contexts.set(id, { n: 0 })
  const most = 20_000
  let done = 0
  const hot = Array.from({ length: most }, async () => {
    await contexts.apply('hot', increment)
    done += 1
  })
  // Each comes when all of those wait already, and the next when it is answered.
  const waited: number[] = []
  for (const id of others) {
    await contexts.apply(id, increment)
    waited.push(done)
  }
  await Promise.all(hot)
  expect(waited[0]).toBeLessThan(most / 4)
  expect((await contexts.get('hot'))?.version).toBe(most + 1)
})
