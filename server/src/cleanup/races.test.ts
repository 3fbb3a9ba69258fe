import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { engines } from '../../support/stores.ts'
import type { Contexts } from '../contexts/contexts-types.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()
const hour = 3_600_000
/** More than are worked on at once: the last comes in the second step. */
const count = 60
const last = 'c:59'

/** A node that cleans up in slow steps, and what happens in the first of them. */
async function cleaning(
  shared: SharedMemory,
  clock: FakeClock,
  stepMs: number,
  meanwhile: (here: Contexts<{}, unknown>) => void,
): Promise<string[]> {
  const backend = shared.handle()
  const commit = backend.commit.bind(backend)
  let first = true
  backend.commit = async (batch) => {
    if (batch.remove && first) {
      first = false
      meanwhile(here)
    }
    if (batch.remove) await delay(stepMs)
    return commit(batch)
  }
  const here = engine({ backend, clock, contextTtlMs: hour, autoDelete: true })
  for (let n = 0; n < count; n += 1) {
    await here.set(`c:${n}`, {})
    clock.advance(1)
  }
  clock.advance(hour)
  expect(await here.cleanup()).toMatchObject({ contexts: count - 1 })
  return (await here.list()).map(({ contextId }) => contextId)
}

test('a context that this node opens while a cleanup is under way stays', async () => {
  const left = await cleaning(new SharedMemory(), new FakeClock(), 1, (here) => void here.subscribe(last, () => {}))
  expect(left).toEqual([last])
})

test('a context that another node opens while a cleanup is under way stays: what was found long ago is looked for anew', async () => {
  const [shared, clock] = [new SharedMemory(), new FakeClock()]
  const there = engine({ backend: shared.handle(), clock, contextTtlMs: hour, autoDelete: true })
  const left = await cleaning(shared, clock, 250, () => void there.subscribe(last, () => {}))
  expect(left).toEqual([last])
})
