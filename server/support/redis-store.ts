import { inspect } from 'node:util'
import { ContextdError } from '@contextd/protocol'
import { Redis } from 'ioredis'
import { expect, onTestFinished } from 'vitest'
import type { ContextBackend, StoreUser } from '../src/backends/backend.ts'
import { redisAclRules, redisBackend } from '../src/backends/redis/redis.ts'
import type { RedisBackendOptions } from '../src/backends/redis/redis.ts'
import { startRedisServer } from '../src/testing/redis-server.ts'
import type { RedisServer, RedisServerOptions } from '../src/testing/redis-server.ts'

/** Prefixes that begin with this one may be used, and nothing else: by the ACL rules that the documentation names. */
export const limitedTo = (prefix: string): NonNullable<RedisServerOptions['user']> => ({
  name: 'limited',
  password: 'sesame/limited',
  rules: redisAclRules(prefix).replaceAll(`${prefix}:*`, `${prefix}*`).replaceAll(`${prefix}#*`, `${prefix}*`),
})

/** A Redis of one test, stopped with it; its `url` is of a user who may do no more than what is documented. */
export async function redisFor(options: RedisServerOptions = {}): Promise<{ server: RedisServer; admin: Redis }> {
  const server = await startRedisServer({ user: { ...limitedTo('contextd'), rules: redisAclRules() }, ...options })
  const admin = new Redis(server.adminUrl)
  admin.on('error', () => {})
  onTestFinished(async () => {
    admin.disconnect()
    await server.stop()
  })
  return { server, admin }
}

/** An open backend, closed with the test. */
export async function opened(options: string | RedisBackendOptions, user?: StoreUser): Promise<ContextBackend> {
  const backend = redisBackend(options)
  onTestFinished(() => backend.close())
  await backend.open(user)
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

/** What `open()` says of a Redis that cannot be used: one line, without a password (`sesame…`, `guessed…`). */
export async function refusalOf(options: string | RedisBackendOptions, user?: StoreUser): Promise<string> {
  const backend = redisBackend(options)
  onTestFinished(() => backend.close())
  const error = await errorOf(backend.open(user))
  expect(error.code).toBe('backend_unavailable')
  expect(error.message).toMatch(/^[^\n]{20,250}\.$/)
  expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/sesame|guessed/)
  return error.message
}
