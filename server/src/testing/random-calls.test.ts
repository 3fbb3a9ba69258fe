import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { ContextBackend } from '../backends/backend.ts'
import { memoryBackend } from '../backends/memory.ts'
import { sqliteBackend } from '../backends/sqlite.ts'
import { randomCalls } from './random-calls.ts'
import { SharedMemory } from './shared-memory.ts'

// Disks of busy machines are slow.
vi.setConfig({ testTimeout: 120_000 })

/** Kinds of answers that a run must have met, or it proves little. */
const needed = `commit committed · commit conflict · commit conflict, no way · commit repeat · commit gap · commit fenced · commit expired ·
  sync found, same · sync found, since · sync found, known · sync found, stored · sync expired · sync found, stored, rolled back, fenced ·
  sync found, same, fenced · load filled · log filled · log empty · heads filled · list filled · commit locked · lock held · lock locked ·
  unlock done · unlock nothing · locks filled · dump filled · dump empty · restore restored · restore conflict · stale filled ·
  prunable filled · prune some · prune none · prune empty · touch nothing`.split(/\s*·\s*/)

async function temporaryFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'contextd-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return join(folder, 'contexts.db')
}

test('the memory backend answers 20,000 random calls as the store model does', async () => {
  const { calls, answers } = await randomCalls({ seed: 1, calls: 20_000, backends: [memoryBackend()] })
  expect(calls).toBeGreaterThanOrEqual(20_000)
  expect(Object.keys(answers)).toEqual(expect.arrayContaining(needed))
})

test('two handles of a shared memory answer 20,000 random calls as the store model does', async () => {
  const shared = new SharedMemory()
  await expect(randomCalls({ seed: 2, calls: 20_000, backends: [shared.handle(), shared.handle()] })).resolves.toMatchObject({})
})

test('the SQLite backend answers 20,000 random calls as the store model does, with two handles on one file that is reopened in between', async () => {
  const file = await temporaryFile()
  let backends: readonly ContextBackend[] = []
  const reopen = async (): Promise<readonly ContextBackend[]> => {
    for (const backend of backends) await backend.close()
    backends = [sqliteBackend(file), sqliteBackend({ file })]
    for (const backend of backends) await backend.open()
    return backends
  }
  onTestFinished(async () => {
    for (const backend of backends) await backend.close()
  })
  const { calls, answers } = await randomCalls({ seed: 3, calls: 20_000, backends: await reopen(), reopen })
  expect(calls).toBeGreaterThanOrEqual(20_000)
  expect(Object.keys(answers)).toEqual(expect.arrayContaining(needed))
})

test('the same seed makes the same calls', async () => {
  const first = await randomCalls({ seed: 7, calls: 1_000, backends: [memoryBackend()] })
  expect(await randomCalls({ seed: 7, calls: 1_000, backends: [memoryBackend()] })).toEqual(first)
  expect(await randomCalls({ seed: 8, calls: 1_000, backends: [memoryBackend()] })).not.toEqual(first)
})
