import { expect, test } from 'vitest'
import { Beacon } from './beacon.ts'
import { silentLogger } from './logger.ts'
import { SharedMemory } from './testing/shared-memory.ts'

test('G5: heads that cannot be read yet when the store is back are read soon after, without waiting for the next round', async () => {
  const backend = new SharedMemory().handle()
  await backend.open()
  const heads = backend.heads.bind(backend)
  let calls = 0
  backend.heads = (contextIds) => {
    calls += 1
    return calls < 3 ? Promise.reject(new Error('away')) : heads(contextIds)
  }
  const told = await new Promise<string>((resolve) => {
    const beacon = new Beacon({ backend, logger: silentLogger, intervalMs: 3_600_000, told: resolve })
    beacon.watch('c')
    beacon.readAll()
  })
  expect([told, calls]).toEqual(['c', 3])
})
