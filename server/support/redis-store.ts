import { ContextdError } from '@contextd/protocol'
import { Redis } from 'ioredis'
import { expect, onTestFinished } from 'vitest'
import type { ContextBackend } from '../src/backends/backend.ts'
import { redisBackend } from '../src/backends/redis/redis.ts'
import type { RedisBackendOptions } from '../src/backends/redis/redis.ts'
import { startRedisServer } from '../src/testing/redis-server.ts'
import type { RedisServer, RedisServerOptions } from '../src/testing/redis-server.ts'

/** A Redis of one test, stopped with it. */
export async function redisFor(options: RedisServerOptions = {}): Promise<{ server: RedisServer; admin: Redis }> {
  const server = await startRedisServer(options)
  const admin = new Redis(server.url)
  admin.on('error', () => {})
  onTestFinished(async () => {
    admin.disconnect()
    await server.stop()
  })
  return { server, admin }
}

/** An open backend, closed with the test. */
export async function opened(options: string | RedisBackendOptions): Promise<ContextBackend> {
  const backend = redisBackend(options)
  onTestFinished(() => backend.close())
  await backend.open()
  return backend
}

/** All that Redis holds, by key. */
export async function contentOf(admin: Redis): Promise<Record<string, string>> {
  const keys = (await admin.keys('*')).toSorted()
  const dumps = await Promise.all(keys.map((key) => admin.dumpBuffer(key)))
  return Object.fromEntries(keys.map((key, index) => [key, dumps[index]!.toString('base64')]))
}

/** The error that a call ends with. */
export async function errorOf(call: Promise<unknown>): Promise<ContextdError> {
  const error: unknown = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ContextdError)
  return error as ContextdError
}
