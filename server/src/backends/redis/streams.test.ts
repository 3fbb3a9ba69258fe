import { expect, test } from 'vitest'
import { opened, redisFor } from '../../../support/redis-store.ts'
import { batchOf, queryOf, sessionTtlMs, startAt } from '../../testing/contract/kit.ts'
import type { MemberSpec } from '../../testing/contract/kit.ts'
import { Random } from '../../testing/random.ts'
import type { CommitBatch } from '../backend.ts'
import { StoreModel } from '../store-model.ts'

const keys = ['a', 'b', 'a-', 'long-'.repeat(9)]

/** Members of a batch as careless and hostile clients would have them: mostly in order, with repeats, gaps, and numbers settled that never were. */
function membersOf(random: Random, model: StoreModel, contextId: string): MemberSpec[] {
  const { records } = model.copy(contextId)
  const next = new Map(keys.map((key) => [key, (records.get(key)?.last ?? 0) + 1]))
  const oneByOne = random.chance(0.5)
  const careless = random.chance(0.3)
  let key = random.pick(keys)
  return Array.from({ length: 1 + random.below(random.chance(0.2) ? 60 : 6) }, () => {
    if (oneByOne || random.chance(0.2)) key = random.pick(keys)
    const seq = Math.max(1, (next.get(key) ?? 1) + (careless && random.chance(0.2) ? random.below(5) - 3 : 0))
    next.set(key, seq + 1)
    const settled = random.weighted({ few: 6, none: 2, most: 1, ahead: careless ? 2 : 0 })
    const number = { few: Math.max(0, seq - 1 - random.below(20)), none: 0, most: seq - 1, ahead: seq + random.below(3) }[settled]
    const epoch = (records.get(key)?.epoch ?? 0) + (careless && random.chance(0.05) ? 1 : 0)
    const mintedAt = startAt - (careless && random.chance(0.1) ? sessionTtlMs + 1 : 0)
    return { stream: { key, seq, settled: number, epoch, mintedAt }, verdict: random.pick(['applied', 'nothing', 'refused']) }
  })
}

test('P4, P5, P6: whatever numbers clients send and settle, streams are answered as the store model does', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const model = new StoreModel()
  const seed = 11
  const random = new Random(seed)
  const answers = new Set<string>()
  for (let round = 1; round <= 4_000; round += 1) {
    const contextId = random.pick(['one', 'two', 'three'])
    const what = `seed ${seed}, round ${round}`
    const members = membersOf(random, model, contextId)
    const batch: CommitBatch = batchOf({
      contextId,
      base: model.heads([contextId])[0]!,
      members,
      snapshot: true,
      retention: { maxVersions: 50 },
    })
    const expected = model.commit(batch)
    expect({ what, answer: await backend.commit(batch) }).toEqual({ what, answer: expected })
    if (expected.type === 'members') for (const { answer } of expected.answers) answers.add(answer.type)
    if (random.chance(0.7)) continue
    const stream = { key: random.pick(keys), epoch: random.below(3), told: random.below(100), settled: random.below(200) }
    const query = queryOf({
      contextId,
      stream: random.chance(0.1) ? stream : { ...stream, epoch: model.copy(contextId).records.get(stream.key)?.epoch ?? 0, told: 0 },
    })
    expect({ what, answer: await backend.sync(query) }).toEqual({ what, answer: model.sync(query) })
  }
  expect([...answers].toSorted()).toEqual(['expired', 'fenced', 'gap', 'repeat'])
}, 60_000)
