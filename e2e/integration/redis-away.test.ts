import { createClient } from '@contextd/client'
import { createContexts, createServer } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, test } from 'vitest'
import { until } from '../support/wait.ts'

type Counters = { [id: `counter:${string}`]: { state: { n: number } } }
/** How long Redis is away, ms: longer where one has the time. */
const awayMs = Number(process.env['REDIS_AWAY_MS'] ?? 10_000)

test(
  'F19: Redis gone and back: nobody ends, writes are shown and wait, and each is applied once',
  { timeout: 60_000 + awayMs },
  async () => {
    const redis = await startRedisServer({ appendOnly: 'everysec' })
    const nodes = await Promise.all(
      [0, 1].map(async () => {
        const contexts = createContexts({ backend: redisBackend(redis.url) })
        const server = createServer({ contexts })
        await server.listen({ port: 0 })
        return { contexts, server }
      }),
    )
    const clients = nodes.map(({ server }) => createClient<Counters>({ url: server.url! }))
    const handles = clients.map((client) => client.context('counter:away', { initial: { n: 0 } }))
    for (const handle of handles) handle.subscribe(() => {})
    await Promise.all(handles.map((handle) => handle.at('n').increment(1)))
    await until('both have both', () => handles.every((handle) => handle.get()?.n === 2))

    await redis.kill()
    const gone = performance.now()
    const writes = handles.flatMap((handle) => Array.from({ length: 50 }, () => handle.at('n').increment(1)))
    expect(handles.map((handle) => handle.get()?.n)).toEqual([52, 52])
    const engine = await nodes[0]!.contexts.get('counter:away').then(
      () => null,
      (error: unknown) => error,
    )
    expect(engine).toMatchObject({ code: 'backend_unavailable', retryable: true })
    await until('the time is over', () => performance.now() - gone >= awayMs, 2 * awayMs)
    expect(clients.map((client) => client.pending.get())).toEqual([50, 50])
    await redis.restart()

    await Promise.all(writes)
    await until('both show all', () => handles.every((handle) => handle.get()?.n === 102))
    expect((await nodes[1]!.contexts.get('counter:away'))?.state).toEqual({ n: 102 })
    expect(clients.flatMap((client) => client.rejected.get())).toEqual([])
    await Promise.all(clients.map((client) => client.destroy()))
    for (const { contexts, server } of nodes) {
      await server.close()
      await contexts.close()
    }
    await redis.stop()
  },
)
