import { fork } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import type { Change, Contexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { seeded } from '../support/random.ts'
import { until } from '../support/wait.ts'

const leaseMs = 1_500
const rounds = 2
const script = fileURLToPath(new URL('children/hold-lock.mjs', import.meta.url))
const seed = Number(process.env['SEED'] ?? Math.trunc(Math.random() * 1e9))
const random = seeded(seed)

let redis: RedisServer
beforeAll(async () => {
  console.info(`seed ${seed}`)
  redis = await startRedisServer()
})
afterAll(() => redis.stop())

type Outcome = { readonly refused: string } & { readonly [more: string]: unknown }
type Message = { readonly acknowledged: number } | { readonly outcome: Outcome }

interface Holder {
  /** Number of the last write that it was told is stored; −1: none. */
  readonly acknowledged: () => number
  readonly outcome: Promise<Outcome>
  readonly signal: (name: NodeJS.Signals) => void
}

/** A process that holds the lock of `title`, and writes there as fast as it can. */
function startHolder(id: string, way: string): Holder {
  const child = fork(script, [redis.url, id, way, String(leaseMs)], { execArgv: [] })
  onTestFinished(() => void child.kill('SIGKILL'))
  let last = -1
  const outcome = new Promise<Outcome>((resolve) => {
    child.on('message', (message: Message) => {
      if ('outcome' in message) resolve(message.outcome)
      else last = message.acknowledged
    })
  })
  return { acknowledged: () => last, outcome, signal: (name) => void child.kill(name) }
}

const engine = (): Contexts<{}, Change[]> => createContexts({ backend: redisBackend(redis.url), deltaFormat: 'changes' })

/** What was written, from the second version on, in order. */
async function written(contexts: Contexts<{}, Change[]>, id: string): Promise<unknown[]> {
  const deltas = await contexts.history(id, { limit: 100_000 })
  return deltas
    .toReversed()
    .slice(1)
    .map(({ changes: [change] }) => change!.value)
}

/** Stops a holder in the middle of its writes, until another has written under the lock; then lets it go on. */
async function expectFenced(contexts: Contexts<{}, Change[]>, id: string, way: string, after: object): Promise<void> {
  await contexts.set(id, { title: 'none' })
  const holder = startHolder(id, way)
  await until('it writes', () => holder.acknowledged() > 0)
  await pause(random() * 20)
  holder.signal('SIGSTOP')

  const lock = await contexts.lock(id, 'title', { retryDelayMs: 20, maxRetries: 1_000, ttlMs: 60_000 })
  await contexts.update(id, { title: 'next 1' }, { lock })
  holder.signal('SIGCONT')
  expect(await holder.outcome).toEqual({ refused: 'locked', ...after })
  await contexts.update(id, { title: 'next 2' }, { lock })

  const titles = await written(contexts, id)
  const before = titles.indexOf('next 1')
  expect(titles).toEqual([...Array.from({ length: before }, (_, n) => `stopped ${n}`), 'next 1', 'next 2'])
  // All that was acknowledged, and perhaps one whose answer had not been read.
  expect([holder.acknowledged() + 1, holder.acknowledged() + 2]).toContain(before)
  expect(lock.signal.aborted).toBe(false)
}

const ways = {
  engine: { aborted: true, extend: 'locked', release: 'ok' },
  class: { again: 'locked', release: 'ok' },
}

test('F29: a process that holds a lock, is stopped in the middle of its writes, and goes on when another has the lock, writes nothing any more', async () => {
  const contexts = engine()
  onTestFinished(() => contexts.close())
  const holders = Object.entries(ways).flatMap(([way, after]) => Array.from({ length: rounds }, (_, round) => ({ way, after, round })))
  await Promise.all(holders.map(({ way, after, round }) => expectFenced(contexts, `${way}:${round}`, way, after)))
})
