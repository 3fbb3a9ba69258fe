import { createClient } from '@contextd/client'
import type { Write } from '@contextd/client'
import { createContexts, createServer } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'
import { until } from '../support/wait.ts'

interface Life {
  life: number
  list: { id: string; life: number }[]
}
type Lives = { [id: `life:${string}`]: { state: Life } }
const id = 'life:many'
const lives = 25

test('F13: writes under way while a context is deleted and created again never reach its next life', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const nodes = await Promise.all(
    [0, 1].map(async () => {
      const contexts = createContexts({ backend: redisBackend(redis.url) })
      const server = createServer({ contexts })
      await server.listen({ port: 0 })
      return { contexts, server }
    }),
  )
  const [{ contexts }] = nodes as [(typeof nodes)[0]]
  await contexts.set(id, { life: 0, list: [] })
  const read = async (): Promise<{ state: Life; version: number }> =>
    (await contexts.get(id)) as unknown as { state: Life; version: number }
  const clients = [0, 1, 0, 1].map((node) => createClient<Lives>({ url: nodes[node]!.server.url! }))
  const handles = clients.map((client) => client.context(id))
  for (const handle of handles) handle.subscribe(() => {})
  await Promise.all(handles.map((handle) => handle.ready({ live: true })))

  const outcomes: { life: number; error: string | null }[] = []
  const over = new AbortController()
  let made = 0
  const writing = handles.map(async (handle) => {
    while (!over.signal.aborted) {
      const life = handle.get()?.life
      const write: Write | null = life === undefined ? null : handle.at('list').append({ id: `${(made += 1)}`, life })
      await write?.then(
        () => outcomes.push({ life: life!, error: null }),
        (error: { code: string }) => outcomes.push({ life: life!, error: error.code }),
      )
      await new Promise(setImmediate)
    }
  })
  const foreign: unknown[] = []
  let kept = 0
  for (let life = 1; life <= lives; life += 1) {
    await until('this life is written to', async () => (await read()).state.list.length >= 3)
    const { state } = await read()
    kept += state.list.length
    foreign.push(...state.list.filter((entry) => entry.life !== state.life))
    await contexts.delete(id)
    await contexts.set(id, { life, list: [] })
  }
  over.abort()
  await Promise.all(writing)
  const last = await read()
  expect(foreign).toEqual([])
  expect(last.state.list.filter((entry) => entry.life !== lives)).toEqual([])
  // What was acknowledged in the last life is there, each once, and nothing else is.
  expect(last.state.list).toHaveLength(outcomes.filter(({ life, error }) => life === lives && error === null).length)
  expect(last.version).toBe(last.state.list.length + 1)
  const applied = outcomes.filter(({ error }) => error === null).length
  expect(applied).toBeGreaterThanOrEqual(kept)
  expect([...new Set(outcomes.map(({ error }) => error))].filter((error) => error !== null)).toEqual(['not_found'])
  await until('all show it', () => handles.every((handle) => handle.get()?.list.length === last.state.list.length))
  await Promise.all(clients.map((client) => client.destroy()))
  for (const node of nodes) {
    await node.server.close()
    await node.contexts.close()
  }
})
