import { expect, onTestFinished, test } from 'vitest'
import { until } from '../../support/until.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { Beacon } from './beacon.ts'
import { silentLogger } from '../logger.ts'

const intervalMs = 40

/** A beacon, and how often it has asked the store. */
function beacon(answer: () => Promise<void>): { readonly beacon: Beacon; readonly asked: () => number } {
  const backend = new MemoryBackend(new StoreModel())
  const heads = backend.heads.bind(backend)
  let asked = 0
  backend.heads = async (contextIds) => {
    asked += 1
    await answer()
    return heads(contextIds)
  }
  const made = new Beacon({ backend, logger: silentLogger, intervalMs, told: () => {} })
  onTestFinished(() => made.stop())
  return { beacon: made, asked: () => asked }
}

test('a round is as long as the interval when there is little to read, also once many contexts were let go in the middle of one', async () => {
  const { beacon: few, asked } = beacon(() => Promise.resolve())
  const ids = Array.from({ length: 70 }, (_, n) => `c:${n}`)
  for (const id of ids) few.watch(id)
  await until(() => asked() > 3)
  for (const id of ids.slice(1)) few.unwatch(id)
  const before = asked()
  await until(() => asked() > before + 12)
  expect(few.size).toBe(1)
  // A busy machine may be late now and then, but not for good.
  await until(() => few.stretch < 4 || asked() > before + 40)
  expect(few.stretch).toBeLessThan(4)
  few.unwatch('c:0')
  expect(few.stretch).toBe(1)
})

test('a store that is slow makes a round longer', async () => {
  const { beacon: slow } = beacon(
    () =>
      new Promise((resolve) => {
        setTimeout(resolve, 5 * intervalMs)
      }),
  )
  slow.watch('a')
  await until(() => slow.stretch >= 4)
  expect(slow.stretch).toBeGreaterThanOrEqual(4)
})
