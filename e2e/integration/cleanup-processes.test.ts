import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, test } from 'vitest'
import { closeAfter, closeAfterEach } from '../support/open-world.ts'
import { until } from '../support/wait.ts'

closeAfterEach()
const script = fileURLToPath(new URL('children/clean-up.mjs', import.meta.url))
const options = { contextTtlMs: 300, autoDelete: true, leaseMs: 2_000 }

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

test('of two processes one cleans up; when it is killed in the middle the other takes over, and commits go on all the while', async () => {
  const redis = await startRedisServer()
  closeAfter(() => redis.stop())
  const contexts = createContexts({ backend: redisBackend(redis.url), ...options })
  closeAfter(() => contexts.close())
  // What somebody has open does not expire.
  const end = contexts.subscribe('hot', () => {})
  const make = async (name: string, length: number): Promise<void> => {
    await Promise.all(Array.from({ length }, (_, n) => contexts.set(`${name}:${n}`, { n })))
  }
  const left = async (name: string): Promise<number> => (await contexts.list({ prefix: `${name}:`, limit: 500 })).length

  await contexts.set('hot', { n: 0 })
  const going = { on: true }
  let commits = 0
  const writing = (async () => {
    closeAfter(async () => void (going.on = false))
    for (; going.on; commits += 1) await contexts.apply('hot', [{ type: 'increment', path: ['n'], by: 1 }])
  })()
  const both = [await cleaning(redis.url), await cleaning(redis.url)]
  await make('first', 100)
  await until('the first contexts are gone', async () => (await left('first')) === 0)
  await until('they are told as removed', () => both.reduce((sum, { removed }) => sum + removed, 0) === 100)
  const [first, second] = both.toSorted((a, b) => b.removed - a.removed) as [Cleaning, Cleaning]
  expect(second.removed).toBe(0)

  await make('second', 500)
  await until('it has begun again', async () => (await left('second')) < 500)
  const before = commits
  await until('it is in the middle', async () => (await left('second')) < 450)
  expect(commits).toBeGreaterThan(before)
  first.child.kill('SIGKILL')
  await once(first.child, 'exit')
  const rest = await left('second')
  // What the killed one had under way may still be done: fifty at most.
  expect(rest).toBeGreaterThan(50)
  await make('third', 100)
  await until('all others are gone', async () => (await left('second')) + (await left('third')) === 0)
  await until('they are told as removed', () => second.removed > 100)
  going.on = false
  await writing
  end()
  expect(await contexts.get('hot')).toMatchObject({ version: commits + 1, state: { n: commits } })
})
