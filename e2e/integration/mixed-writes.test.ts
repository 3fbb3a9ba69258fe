import { createClient } from '@contextd/client'
import type { Client, ContextHandle, ContextdError, Write } from '@contextd/client'
import { redisBackend } from 'contextd/backends/redis'
import { createContexts } from 'contextd'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer } from '../support/child.ts'
import type { ServerProcess } from '../support/child.ts'
import { seeded } from '../support/random.ts'
import { until } from '../support/wait.ts'

interface Card {
  id: string
  title: string
}
interface World {
  counter: number
  log: { id: string; client: number; n: number }[]
  map: { [key: string]: { value: number } }
  left: Card[]
  right: Card[]
  tree: { [branch: string]: { leaves: number[]; by: number } }
}
type Worlds = { [id: `world:${string}`]: { state: World } }

const clientCount = 8
const writesPerClient = 900
const cards = Array.from({ length: 12 }, (_, index): Card => ({ id: `card${index}`, title: `Card ${index}` }))
const initial: World = { counter: 0, log: [], map: {}, left: cards, right: [], tree: {} }

let redis: RedisServer
let servers: ServerProcess[]
beforeAll(async () => {
  redis = await startRedisServer({ appendOnly: 'everysec' })
  servers = await Promise.all([startServer(redis.url), startServer(redis.url)])
})
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()))
  await redis.stop()
})

interface Tally {
  increments: number
  appends: number
  writes: Write[]
  /** Those that another client's move may overtake. */
  moves: Set<Write>
}

/** Writes with at most 32 unanswered; what is drawn depends on the seed alone. */
async function write(handle: ContextHandle<World>, client: number, seed: number, tally: Tally, progress: () => void): Promise<void> {
  const random = seeded(seed + client)
  const pick = (count: number): number => Math.floor(random() * count)
  const open = new Set<Write>()
  for (let n = 0; n < writesPerClient; n += 1) {
    const made = one(n)
    tally.writes.push(made)
    open.add(made)
    const leave = (): boolean => open.delete(made)
    made.then(leave, leave)
    progress()
    while (open.size >= 32) await Promise.race([...open].map((waiting) => waiting.catch(() => {})))
  }

  function one(n: number): Write {
    const kind = random()
    if (kind < 0.4) {
      tally.increments += 1
      return handle.at('counter').increment(1)
    }
    if (kind < 0.65) {
      tally.appends += 1
      return handle.at('log').append({ id: `${client}-${n}`, client, n })
    }
    if (kind < 0.8) return handle.at('map', `key${pick(10)}`).set({ value: client * 10_000 + n })
    if (kind < 0.9) return move()
    return handle.at('tree', `branch${pick(5)}`).set({ leaves: [n, pick(100)], by: client })
  }

  function move(): Write {
    const id = `card${pick(cards.length)}`
    const from = handle.get()!.left.some((card) => card.id === id) ? 'left' : 'right'
    const to = random() < 0.5 ? 'left' : 'right'
    const made = handle.at(from).move({ id }, random() < 0.5 ? 'start' : 'end', handle.at(to))
    tally.moves.add(made)
    return made
  }
}

async function disturb(done: () => number): Promise<void> {
  const admin = new Redis(redis.url)
  const total = clientCount * writesPerClient
  await until('a fifth is written', () => done() > total * 0.2, 60_000)
  await servers[1]!.crash()
  await until('more is written meanwhile', () => done() > total * 0.3, 60_000)
  await servers[1]!.restart()
  await until('half is written', () => done() > total * 0.5, 60_000)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await until('most is written', () => done() > total * 0.7, 60_000)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
  admin.disconnect()
}

test(
  'G1 G3 G5: 7,200 mixed writes over two servers survive a killed server and killed Redis connections',
  { timeout: 180_000 },
  async () => {
    const seed = Number(process.env['SEED'] ?? 20_261_125)
    console.info(`seed ${seed}`)
    const errors: ContextdError[] = []
    const clients: Client<Worlds>[] = Array.from({ length: clientCount }, (_, index) =>
      createClient<Worlds>({ url: servers[index % 2]!.url, onError: (error) => errors.push(error) }),
    )
    const handles = clients.map((client) => client.context('world:mixed', { initial }))
    for (const handle of handles) handle.subscribe(() => {})
    const tally: Tally = { increments: 0, appends: 0, writes: [], moves: new Set() }
    await Promise.all(handles.map((handle) => handle.ready({ live: true })))

    let done = 0
    const writing = Promise.all(handles.map((handle, index) => write(handle, index, seed, tally, () => (done += 1))))
    await Promise.all([writing, disturb(() => done)])
    const outcomes = await Promise.allSettled(tally.writes)

    const contexts = createContexts({ backend: redisBackend(redis.url) })
    const stored = (await contexts.get('world:mixed'))!
    const state = stored.state as unknown as World
    await contexts.close()
    await until('every client is at the head', () => handles.every((handle) => handle.status.get().version === stored.version))
    for (const handle of handles) expect(handle.get()).toEqual(state)

    expect(state.counter).toBe(tally.increments)
    expect(state.log).toHaveLength(tally.appends)
    for (let client = 0; client < clientCount; client += 1) {
      const numbers = state.log.filter((entry) => entry.client === client).map(({ n }) => n)
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    }
    expect([...state.left, ...state.right].map(({ id }) => id).toSorted()).toEqual(cards.map(({ id }) => id).toSorted())
    const applied = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value.version] : []))
    const versions = [...new Set(applied)].toSorted((a, b) => a - b)
    expect(versions).toEqual(Array.from({ length: stored.version }, (_, index) => index + 1))
    // Only a move whose card another client has moved away meanwhile is refused; each refusal is told once.
    const refused = tally.writes.filter((_, index) => outcomes[index]!.status === 'rejected')
    expect(refused.filter((made) => !tally.moves.has(made))).toEqual([])
    expect(errors.map(({ code }) => code)).toEqual(refused.map(() => 'conflict'))
    expect(clients.flatMap((client) => client.rejected.get())).toHaveLength(refused.length)
    expect(servers.flatMap((server) => server.failures)).toEqual([])
    await Promise.all(clients.map((client) => client.destroy()))
  },
)
