import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { startRedisServer } from './redis-server.ts'

async function ask<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await work(redis)
  } finally {
    redis.disconnect()
  }
}

test('a server answers on its port, and two servers do not share data', async () => {
  const [one, two] = await Promise.all([startRedisServer(), startRedisServer({ password: 'p@ss/word' })])
  try {
    expect(await ask(one.url, (redis) => redis.set('a', '1'))).toBe('OK')
    expect(await ask(two.url, (redis) => redis.get('a'))).toBe(null)
    await expect(ask(`redis://127.0.0.1:${two.port}`, (redis) => redis.get('a'))).rejects.toThrow('Connection is closed')
  } finally {
    await Promise.all([one.stop(), two.stop()])
  }
  await expect(ask(one.url, (redis) => redis.get('a'))).rejects.toThrow('Connection is closed')
})

test('data outlives a crash with an append-only file, and not without', async () => {
  for (const appendOnly of ['always', undefined] as const) {
    const server = await startRedisServer(appendOnly ? { appendOnly } : {})
    try {
      await ask(server.url, (redis) => redis.set('a', '1'))
      const { port, pid } = server
      await server.kill()
      await expect(ask(server.url, (redis) => redis.get('a'))).rejects.toThrow('Connection is closed')
      await server.restart()
      expect(server.port).toBe(port)
      expect(server.pid).not.toBe(pid)
      expect(await ask(server.url, (redis) => redis.get('a'))).toBe(appendOnly ? '1' : null)
    } finally {
      await server.stop()
    }
  }
})

test('a server that does not start says why', async () => {
  await expect(startRedisServer({ settings: { 'no-such-setting': '1' } })).rejects.toThrow(/no-such-setting/)
})
