import { setTimeout as delay } from 'node:timers/promises'
import { isContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { faultyBackend } from '../support/faulty-backend.ts'
import { engines, storeNames, stores } from '../support/stores.ts'
import { until } from '../support/until.ts'
import { memoryBackend } from './backends/memory.ts'
import type { Contexts } from './contexts/contexts-types.ts'
import { FakeClock } from './testing/fake-clock.ts'
import { Random } from './testing/random.ts'

const newStore = stores()
const engine = engines()

type Node = Contexts<{}, unknown>
const ids = ['a', 'b', 'c']
const workers = 8
const turns = 50
const lifeMs = 3_600_000
const leaseMs = 60_000

/** A list that was appended to, and when that began. */
interface Appended {
  readonly id: string
  readonly token: string
  readonly began: number
}

/** What was done, so that it is known what must be there. */
class Deeds {
  readonly appended: Appended[] = []
  /** What takes from a list what was appended to it before, by context: until when, as far as is known. */
  readonly #resets = new Map<string, { until: number }[]>()
  #time = 0
  counted = 0

  now(): number {
    return (this.#time += 1)
  }

  /** Does what takes from lists what was appended to them before. What nobody knows the end of may be done at any time. */
  async reset(contextIds: readonly string[], work: () => Promise<unknown>): Promise<void> {
    const reset = { until: Number.POSITIVE_INFINITY }
    for (const id of contextIds) this.#resets.set(id, [...(this.#resets.get(id) ?? []), reset])
    try {
      await work()
    } catch (error) {
      if (isContextdError(error, 'timeout')) throw error
      reset.until = this.now()
      throw error
    }
    reset.until = this.now()
  }

  /** What must be in a list. */
  lasting(contextId: string): string[] {
    const since = Math.max(0, ...(this.#resets.get(contextId) ?? []).map(({ until: end }) => end))
    return this.appended.filter(({ id, began }) => id === contextId && began > since).map(({ token }) => token)
  }
}

async function append(node: Node, id: string, token: string, recipe: boolean): Promise<void> {
  const initial = { list: [] }
  if (recipe) await node.transact(id, (draft: { list?: string[] }) => void draft.list?.push(token), { initial, retries: 50 })
  else await node.apply(id, [{ type: 'insert', path: ['list'], values: [token], at: 'end' }], { initial })
}

/** Reads a number and writes the next one: whoever holds the lock is alone. */
async function count(node: Node, random: Random, deeds: Deeds): Promise<void> {
  const lock = await node.lock('counted', 'turn', { ttlMs: leaseMs, maxRetries: 20, retryDelayMs: 3 })
  try {
    const found = await node.get('counted')
    const { n = 0 } = (found?.state ?? {}) as { n?: number }
    await delay(random.next() * 5)
    await node.set('counted', { n: n + 1 }, { lock })
    deeds.counted += 1
  } finally {
    await lock.release().catch(() => {})
  }
}

/** What a turn of a worker is made in, on one of the nodes. */
interface World {
  readonly node: Node
  readonly cleaner: Node
  readonly random: Random
  readonly deeds: Deeds
  readonly clock: FakeClock
}

/** One turn of a worker. */
async function turn({ node, cleaner, random, deeds, clock }: World, token: string): Promise<void> {
  const id = random.pick(ids)
  const luck = random.next()
  if (luck < 0.6) {
    const began = deeds.now()
    await append(node, id, token, luck < 0.3)
    deeds.appended.push({ id, token, began })
  } else if (luck < 0.8) await count(node, random, deeds)
  else if (luck < 0.83) {
    // Leases are over, though their holders go on.
    clock.advance(leaseMs)
  } else if (luck < 0.86) await node.get(id)
  else if (luck < 0.9) await node.sync(id, null)
  else if (luck < 0.94) await node.history(id)
  else if (luck < 0.985) await node.export(id)
  else if (luck < 0.99) await deeds.reset([id], () => node.delete(id))
  else if (luck < 0.995) await deeds.reset([id], () => node.restore(id))
  else {
    clock.advance(lifeMs + 1)
    await deeds.reset(ids, () => cleaner.cleanup())
  }
}

test.each(storeNames)(
  'G1, G3, G5: three engines on one store of %s that fails now and then lose and double nothing, over deletes, expiry and archives; locks are held by one',
  async (name) => {
    const seed = Number(process.env['SEED'] ?? Math.trunc(Math.random() * 1e9))
    const told = `SEED=${seed}`
    const [random, clock, deeds, store] = [new Random(seed), new FakeClock(Date.now()), new Deeds(), newStore(name)]
    const faults = { rate: 0.02 }
    const options = { clock, archive: memoryBackend(), contextTtlMs: lifeMs, autoDelete: true }
    const nodes = [1, 2, 3].map(() =>
      engine({ backend: faultyBackend(store(), () => random.next(), faults), ...options }, { beaconMs: 20 }),
    )
    // The node that cleans up has none of the lists open: they expire.
    const cleaner = nodes[2]!
    const seen = [0, 1].map(() => new Map<string, JsonObject | null>())
    cleaner.subscribe('counted', () => {})
    for (const [index, node] of nodes.slice(0, 2).entries()) {
      for (const id of ids) {
        const gone = (): unknown => seen[index]!.set(id, null)
        node.subscribe(id, (_, { state }) => seen[index]!.set(id, state as JsonObject), { onDelete: gone })
      }
    }
    const work = async (worker: number): Promise<void> => {
      for (let step = 0; step < turns; step += 1) {
        await turn({ node: random.pick(nodes), cleaner, random, deeds, clock }, `${worker}-${step}`).catch((error: unknown) => {
          if (!isContextdError(error) || ['internal', 'invalid_state'].includes(error.code)) throw error
        })
      }
    }
    await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)))
    faults.rate = 0

    const plain = store()
    await plain.open()
    onTestFinished(() => plain.close())
    for (const id of ids) {
      const [first, ...others] = await Promise.all(nodes.map((node) => node.get(id)))
      for (const other of others) expect(other, told).toEqual(first)
      const list = (first?.state as { list: string[] } | undefined)?.list ?? []
      expect(new Set(list).size, told).toBe(list.length)
      expect(list, told).toEqual(expect.arrayContaining(deeds.lasting(id)))
      const log = await plain.log(id, 0)
      log.slice(1).forEach(({ baseRevision }, index) => expect(baseRevision, told).toBe(log[index]!.revision))
      for (const states of seen) await until(() => JSON.stringify(states.get(id) ?? null) === JSON.stringify(first?.state ?? null))
    }
    const { n = 0 } = ((await nodes[0]!.get('counted'))?.state ?? {}) as { n?: number }
    expect(n, told).toBe(deeds.counted)
    expect(deeds.appended.length).toBeGreaterThan(workers)
  },
)
