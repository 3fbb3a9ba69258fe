import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, test } from 'vitest'

const processes = 4
const calls = 16
const script = fileURLToPath(new URL('children/increment.mjs', import.meta.url))

test(
  'G1: concurrent transactions of four processes on one counter are all kept, at versions without gap or repeat',
  { timeout: 60_000 },
  async () => {
    const redis = await startRedisServer()
    const children = Array.from({ length: processes }, () => fork(script, [redis.url, String(calls)], { execArgv: [] }))
    const results = (await Promise.all(children.map(async (child) => (await once(child, 'message'))[0]))) as {
      version: number
      result: number
    }[][]
    const contexts = createContexts({ backend: redisBackend(redis.url) })
    const stored = await contexts.get('shared:counter')
    await contexts.close()
    await redis.stop()

    const upTo = Array.from({ length: processes * calls }, (_, index) => index + 1)
    expect(stored).toMatchObject({ version: processes * calls, state: { n: processes * calls } })
    const all = results.flat()
    expect(all.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(upTo)
    expect(all.map(({ result }) => result).toSorted((a, b) => a - b)).toEqual(upTo)
  },
)
