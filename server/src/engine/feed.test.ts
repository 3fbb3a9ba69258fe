import { expect, test } from 'vitest'
import { createContexts } from '../contexts/contexts.ts'
import { Feed } from './feed.ts'
import { fromStored } from '../commits/known-context.ts'
import { silentLogger } from '../logger.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

/** A feed of a context, what it was told, and how often it has read; reads show what was there when they began, and end on `answer`. */
async function feedOf(contextId: string): Promise<{
  commit: () => Promise<string>
  feed: Feed
  told: number[]
  reads: (() => void)[]
}> {
  const backend = new SharedMemory().handle()
  const messages: string[] = []
  const store = backend.commit.bind(backend)
  backend.commit = async (batch) => {
    if (batch.message !== null) messages.push(batch.message)
    return await store(batch)
  }
  const contexts = createContexts({ backend })
  await contexts.set(contextId, { n: 0 })
  const reads: (() => void)[] = []
  const fresh = async (): Promise<ReturnType<typeof fromStored>> => {
    const stored = fromStored(await backend.load(contextId), (text) => text.length)
    await new Promise<void>((resolve) => reads.push(resolve))
    return stored
  }
  const feed = new Feed({ contextId, itemKey: 'id', logger: silentLogger, fresh, log: (after) => backend.log(contextId, after) })
  const told: number[] = []
  feed.listeners.add({ step: ({ delta }) => told.push(delta.version), gone: () => {} })
  const commit = async (): Promise<string> => {
    await contexts.apply(contextId, [{ type: 'increment', path: ['n'], by: 1 }])
    return messages.at(-1)!
  }
  return { commit, feed, told, reads }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('what is published during a read is told after it, and needs no other: a feed of a context that is written all the time is at head', async () => {
  const { commit, feed, told, reads } = await feedOf('c')
  await turn()
  const first = feed.catchUp()
  for (let n = 0; n < 3; n += 1) feed.published(await commit())
  reads[0]!()
  await turn()
  for (let n = 0; n < 3; n += 1) feed.published(await commit())
  reads[1]!()
  expect(await first).toBe(true)
  await turn()
  expect([reads.length, told, feed.at?.head.version]).toEqual([2, [2, 3, 4, 5, 6, 7], 7])
})

test('a publication that does not follow on what was read is read after', async () => {
  const { commit, feed, told, reads } = await feedOf('c')
  await turn()
  await commit()
  feed.published(await commit())
  reads[0]!()
  await turn()
  expect(told).toEqual([])
  reads[1]!()
  await turn()
  expect([reads.length, told]).toEqual([2, [2, 3]])
})

test('whoever asks during a read is answered by the one after it', async () => {
  const { commit, feed, reads } = await feedOf('c')
  await turn()
  const answers: boolean[] = []
  const asked = Promise.all([feed.catchUp(), feed.catchUp()]).then((all) => answers.push(...all))
  await commit()
  reads[0]!()
  await turn()
  expect([answers, reads.length, feed.at?.head.version]).toEqual([[], 2, 1])
  reads[1]!()
  await asked
  expect([answers, reads.length, feed.at?.head.version]).toEqual([[true, true], 2, 2])
})
