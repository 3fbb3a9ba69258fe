import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { memoryBackend } from '../backends/memory.ts'
import { sqliteBackend } from '../backends/sqlite.ts'
import { backendContract } from './backend-contract.ts'
import type { StoreUnderTest } from './backend-contract.ts'
import { SharedMemory } from './shared-memory.ts'

// Disks of busy machines are slow.
vi.setConfig({ testTimeout: 60_000 })

function createMemory(): StoreUnderTest {
  const backend = memoryBackend()
  return { handle: () => backend }
}

function createSharedMemory(): StoreUnderTest {
  const shared = new SharedMemory()
  return { handle: () => shared.handle() }
}

async function createSqlite(): Promise<StoreUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'contextd-'))
  return { handle: () => sqliteBackend(join(folder, 'contexts.db')), remove: () => rm(folder, { recursive: true }) }
}

const backends = { memory: createMemory, 'shared memory': createSharedMemory, sqlite: createSqlite }
describe.each(Object.entries(backends))('the %s backend keeps the contract', (_, create) => {
  test.each(backendContract({ create }).map(({ name, run }) => [name, run] as const))('%s', async (_name, run) => {
    await expect(run()).resolves.toBeUndefined()
  })
})
