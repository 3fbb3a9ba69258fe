import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll } from 'vitest'
import type { ContextBackend } from '../src/backends/backend.ts'
import { redisBackend } from '../src/backends/redis/redis.ts'
import { sqliteBackend } from '../src/backends/sqlite.ts'
import { contextsWith } from '../src/contexts/contexts.ts'
import type { Contexts } from '../src/contexts/contexts.ts'
import type { Timing } from '../src/engine/timing.ts'
import { startRedisServer } from '../src/testing/redis-server.ts'
import type { RedisServer } from '../src/testing/redis-server.ts'
import { SharedMemory } from '../src/testing/shared-memory.ts'

/** Makes backends on one new store, one for each node. */
export type Handle = () => ContextBackend

/** Names of the stores that engine tests run on. */
export const storeNames = ['memory', 'SQLite', 'Redis'] as const

/** New stores of each kind, for the tests of one file. */
export function stores(): (name: (typeof storeNames)[number]) => Handle {
  let redis: RedisServer
  let directory: string
  let made = 0
  beforeAll(async () => {
    redis = await startRedisServer()
    directory = await mkdtemp(join(tmpdir(), 'contextd-engine-'))
  })
  afterAll(async () => {
    await redis.stop()
    await rm(directory, { recursive: true, force: true })
  })
  return (name) => {
    made += 1
    const shared = new SharedMemory()
    const file = join(directory, `${made}.db`)
    const prefix = `engine${made}`
    if (name === 'memory') return () => shared.handle()
    return name === 'SQLite' ? () => sqliteBackend(file) : () => redisBackend({ url: redis.url, prefix })
  }
}

/** Makes engines that are closed after each test of a file. */
export function engines(): (options?: Parameters<typeof contextsWith>[0], timing?: Partial<Timing>) => Contexts<{}, unknown> {
  const opened: Contexts<{}, unknown>[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((contexts) => contexts.close()))
  })
  return (options = {}, timing = {}) => {
    const contexts = contextsWith({ deltaFormat: 'changes', ...options }, timing)
    opened.push(contexts)
    return contexts
  }
}
