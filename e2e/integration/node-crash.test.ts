import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'
import { seeded } from '../support/random.ts'

const kills = 40
const atOnce = 4
const writers = 8
const ids = ['list:a', 'list:b']
const script = fileURLToPath(new URL('children/append.mjs', import.meta.url))

/** Runs a node until it is killed in the middle of its commits; the number of the last acknowledged one of each writer. */
async function crash(url: string, id: string, name: string, afterMs: number): Promise<number[]> {
  const child = fork(script, [url, id, name, String(writers)], { execArgv: [] })
  const acknowledged = Array.from({ length: writers }, () => -1)
  child.on('message', (message) => {
    const [writer, n] = message as [number, number]
    acknowledged[writer] = n
  })
  const ended = once(child, 'exit')
  await Promise.race([once(child, 'message'), ended])
  setTimeout(() => child.kill('SIGKILL'), afterMs)
  expect(await ended).toEqual([null, 'SIGKILL'])
  // What it sent before is told until then.
  if (child.connected) await once(child, 'disconnect')
  return acknowledged
}

test('F1, G3: nodes that are killed in the middle of commits: what was acknowledged is there once, what was not once or not at all', async () => {
  const seed = Number(process.env['SEED'] ?? Math.trunc(Math.random() * 1e9))
  console.info(`seed ${seed}`)
  const random = seeded(seed)
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const contexts = createContexts({ backend: redisBackend(redis.url) })
  for (const id of ids) await contexts.set(id, { list: [] })

  const acknowledged = new Map<string, number[]>()
  const delays = Array.from({ length: kills }, () => random() * 40)
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < kills) {
      const number = (next += 1) - 1
      const id = ids[number % ids.length]!
      acknowledged.set(`${id} ${number}`, await crash(redis.url, id, String(number), delays[number]!))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))

  let total = 0
  for (const id of ids) {
    const { state, version } = (await contexts.get(id)) as unknown as { state: { list: string[] }; version: number }
    expect(version).toBe(state.list.length + 1)
    const stored = new Map<string, number[]>()
    for (const token of state.list) {
      const [name, writer, n] = token.split('-').map(Number)
      const key = `${name}-${writer}`
      stored.set(key, [...(stored.get(key) ?? []), n!])
    }
    for (const [key, numbers] of acknowledged) {
      const [of, name] = key.split(' ')
      if (of !== id) continue
      for (const [writer, last] of numbers.entries()) {
        const there = stored.get(`${name}-${writer}`) ?? []
        stored.delete(`${name}-${writer}`)
        // In order, each once, all that were acknowledged; one more was on its way.
        expect(there).toEqual(Array.from(there, (_, n) => n))
        expect([last + 1, last + 2]).toContain(there.length)
        total += last + 1
      }
    }
    expect([...stored]).toEqual([])
  }
  expect(total).toBeGreaterThan(kills)
  await contexts.close()
})
