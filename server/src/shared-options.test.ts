import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/stores.ts'
import { redisBackend } from './backends/redis/redis.ts'
import { Contextd } from './contextd/contextd.ts'
import { silentLogger } from './logger.ts'
import type { ContextsOptions } from './options.ts'
import { startRedisServer } from './testing/redis-server.ts'
import type { RedisServer } from './testing/redis-server.ts'

const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
let redis: RedisServer
let prefixes = 0
beforeAll(async () => {
  redis = await startRedisServer({ appendOnly: 'everysec' })
})
afterAll(() => redis.stop())

/** A logger that keeps its warnings. */
function listening(): { logger: Required<ContextsOptions>['logger']; warnings: string[] } {
  const warnings: string[] = []
  return { warnings, logger: { ...silentLogger, warn: (_details, message) => void warnings.push(message) } }
}

describe('two clusters on one Redis and one prefix', () => {
  test.each<[string, object, string]>([
    ['sessionTtlMs', { sessionTtlMs: 1_000 }, 'sessionTtlMs 604800000 instead of 1000'],
    ['deltaTtlMs', { deltaTtlMs: 1_000 }, 'deltaTtlMs 86400000 instead of 1000'],
    ['contextTtlMs', { contextTtlMs: 1_000, autoDelete: true }, 'contextTtlMs 0 instead of 1000'],
    ['deltaThreshold', { deltaThreshold: 5 }, 'deltaThreshold 0 instead of 5'],
    ['limits.stateBytes', { limits: { stateBytes: 1_000 } }, 'stateBytes 4194304 instead of 1000'],
  ])(
    'that differ in %s: the second is warned at its first call, or, with strict, refused, and writes nothing',
    async (_name, options, difference) => {
      const prefix = `options${(prefixes += 1)}`
      const first = engine({ backend: redisBackend({ url: redis.url, prefix }) })
      await first.set('a', { n: 1 })
      const { logger, warnings } = listening()
      const second = engine({ backend: redisBackend({ url: redis.url, prefix }), logger, ...options })
      expect((await second.get('a'))?.state).toEqual({ n: 1 })
      const message = `has other nodes with the prefix "${prefix}" and ${difference}. Give all of them the same options, or another prefix.`
      expect(warnings).toEqual([expect.stringContaining(message)])

      const strict = engine({ backend: redisBackend({ url: redis.url, prefix, strict: true }), ...options })
      const refused = { code: 'backend_unavailable', message: expect.stringContaining(message) as string }
      await expect(strict.set('a', { n: 2 })).rejects.toMatchObject(refused)
      await expect(strict.get('a')).rejects.toMatchObject(refused)
      await expect(strict.lock('a', 'k')).rejects.toMatchObject(refused)
      expect(await first.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
    },
  )

  test('with the same options, another prefix, or options that are each node’s own: nothing is said', async () => {
    const prefix = `options${(prefixes += 1)}`
    await engine({ backend: redisBackend({ url: redis.url, prefix }) }).set('a', {})
    const { logger, warnings } = listening()
    const others: ContextsOptions<'changes'>[] = [
      { backend: redisBackend({ url: redis.url, prefix, strict: true }) },
      { backend: redisBackend({ url: redis.url, prefix: `${prefix}b`, strict: true }), deltaTtlMs: 5 },
      { backend: redisBackend({ url: redis.url, prefix, strict: true }), leaseMs: 500, limits: { depth: 8 }, deltaFormat: 'changes' },
    ]
    for (const options of others) await engine({ ...options, logger }).get('a')
    expect(warnings).toEqual([])
  })

  test('the class Contextd runs with the defaults: beside nodes with others it is warned, or refused', async () => {
    await engine({ backend: redisBackend(redis.url), deltaThreshold: 5 }).set('a', {})
    const { logger, warnings } = listening()
    const context = new Contextd({ contextKey: 'a', redisUrl: redis.url, logger })
    await context.updateContext('n', 1)
    expect(warnings).toEqual([expect.stringContaining('deltaThreshold 5 instead of 0')])
    await context.close()
    const strict = new Contextd({ contextKey: 'a', backend: redisBackend({ url: redis.url, strict: true }) })
    await expect(strict.updateContext('n', 2)).rejects.toEqual(code('backend_unavailable'))
    await strict.close()
  })
})
