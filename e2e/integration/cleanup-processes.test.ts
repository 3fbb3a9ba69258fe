import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import type { Contexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, test } from 'vitest'
import { closeAfter, closeAfterEach } from '../support/open-world.ts'
import { until } from '../support/wait.ts'

closeAfterEach()
const script = fileURLToPath(new URL('children/clean-up.mjs', import.meta.url))
const hour = 3_600_000
const options = { contextTtlMs: hour, autoDelete: true, leaseMs: 2_000 }
/** Most contexts that a cleanup removes in one step. */
const step = 50

/** A process that cleans up. */
interface Cleaning {
  readonly child: ChildProcess
  removed: number
}

async function cleaning(url: string): Promise<Cleaning> {
  const child = fork(script, [url, JSON.stringify(options)], { execArgv: [] })
  closeAfter(async () => child.kill('SIGKILL'))
  await once(child, 'message')
  const each: Cleaning = { child, removed: 0 }
  child.on('message', (contexts: number) => (each.removed += contexts))
  return each
}

/** An engine whose clock is ahead. */
function ahead(url: string, aheadMs: number): Contexts {
  const contexts = createContexts({ backend: redisBackend(url), ...options, clock: { now: () => Date.now() + aheadMs } })
  closeAfter(() => contexts.close())
  return contexts
}

const make = (contexts: Contexts, name: string, length: number): Promise<unknown> =>
  Promise.all(Array.from({ length }, (_, n) => contexts.set(`${name}:${n}`, { n })))

test('of two processes one cleans up; when it is killed in the middle the other takes over, and commits go on all the while', async () => {
  const redis = await startRedisServer()
  closeAfter(() => redis.stop())
  const [now, later, never] = [ahead(redis.url, 0), ahead(redis.url, 2 * hour), ahead(redis.url, 1_000 * hour)]
  const left = async (name: string): Promise<number> => (await now.list({ prefix: `${name}:`, limit: 10_000 })).length
  const both = [await cleaning(redis.url), await cleaning(redis.url)]
  const advance = (ms: number): void => {
    for (const { child } of both) if (child.connected) child.send(ms)
  }

  await make(now, 'first', 100)
  advance(2 * hour)
  await until('all were removed', () => both.reduce((sum, { removed }) => sum + removed, 0) === 100)
  const [first, second] = both.toSorted((a, b) => b.removed - a.removed) as [Cleaning, Cleaning]
  expect([second.removed, await left('first')]).toEqual([0, 0])

  await make(later, 'second', 1_500)
  await never.set('hot', { n: 0 })
  advance(4 * hour)
  const going = { on: true }
  let commits = 0
  const writing = (async () => {
    for (; going.on; commits += 1) await never.apply('hot', [{ type: 'increment', path: ['n'], by: 1 }])
  })()
  closeAfter(async () => void (going.on = false))
  await until('it is in the middle', async () => (await left('second')) < 1_500 - 2 * step)
  expect(commits).toBeGreaterThan(0)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  const rest = await left('second')
  // What the killed one had under way may still be done: one step.
  await until('the other one goes on', async () => (await left('second')) < Math.max(1, rest - 3 * step))
  expect(rest).toBeGreaterThan(step)
  going.on = false
  await writing
  expect(await never.get('hot')).toMatchObject({ version: commits + 1, state: { n: commits } })
})
