import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startRedisServer } from 'contextd/testing'

export const storeNames = ['memory', 'sqlite', 'redis'] as const
export type StoreName = (typeof storeNames)[number]

/** Runs with a store that is empty, and takes it away afterwards: a URL for `openBackend`. */
export async function withStore<R>(name: StoreName, use: (url: string) => Promise<R>): Promise<R> {
  if (name === 'memory') return await use('memory:')
  if (name === 'sqlite') {
    const directory = mkdtempSync(path.join(tmpdir(), 'contextd-bench-'))
    try {
      return await use(`sqlite:${path.join(directory, 'bench.db')}`)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }
  const redis = await startRedisServer()
  try {
    return await use(redis.url)
  } finally {
    await redis.stop()
  }
}
