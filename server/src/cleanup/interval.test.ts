import { describe, expect, test, vi } from 'vitest'
import { engines } from '../../support/stores.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'
import { createContexts } from '../contexts/contexts.ts'

const engine = engines()
const hour = 3_600_000

describe('the interval', () => {
  test('R17: started twice it is updated; update merges and begins anew at once; update and stop when stopped do nothing', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const limits: number[] = []
      const contexts = recording(limits)
      const ticks = async (ms: number): Promise<number> => {
        const before = limits.length
        await vi.advanceTimersByTimeAsync(ms)
        return limits.length - before
      }
      contexts.updateCleanup({ intervalMs: 1 })
      contexts.stopCleanup()
      expect(await ticks(10_000)).toBe(0)
      contexts.startCleanup()
      expect(await ticks(hour - 2_000)).toBe(0)
      expect(await ticks(3_000)).toBe(1)
      expect(limits.at(-1)).toBe(1_000)
      await ticks(hour - 10_000)
      contexts.startCleanup({ intervalMs: 5_000 })
      expect(await ticks(4_000)).toBe(0)
      expect(await ticks(2_000)).toBe(1)
      contexts.updateCleanup({ limit: 7 })
      expect(await ticks(4_000)).toBe(0)
      expect(await ticks(1_000)).toBe(1)
      expect(limits.at(-1)).toBe(7)
      contexts.updateCleanup({ intervalMs: 60_000 })
      expect(await ticks(59_000)).toBe(0)
      expect(await ticks(2_000)).toBe(1)
      expect(limits.at(-1)).toBe(7)
      contexts.stopCleanup()
      contexts.stopCleanup()
      expect(await ticks(hour)).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  test.each<[object]>([
    [{ limit: 0 }],
    [{ limit: 1.5 }],
    [{ limit: -1 }],
    [{ intervalMs: 0 }],
    [{ intervalMs: -5 }],
    [{ intervalMs: 2 ** 31 }],
    [{ interval: 5 }],
  ])('options are looked through: %o', async (options) => {
    const contexts = engine()
    expect(() => contexts.startCleanup(options)).toThrow(TypeError)
    expect(() => contexts.updateCleanup(options)).toThrow(TypeError)
    await expect(contexts.cleanup(options)).rejects.toThrow(TypeError)
  })

  test('cleanup() takes no interval', async () => {
    await expect(engine().cleanup({ intervalMs: 5 } as never)).rejects.toThrow(TypeError)
  })

  test.each<[object]>([
    [{ contextTtlMs: -1 }],
    [{ contextTtlMs: 0 }],
    [{ contextTtlMs: '1' }],
    [{ contextTtlMs: Number.NaN }],
    [{ deltaTtlMs: -1 }],
    [{ deltaThreshold: -1 }],
    [{ autoDelete: 1 }],
    [{ context_ttl: 1 }],
  ])('createContexts refuses %o', (options) => {
    expect(() => createContexts(options as never)).toThrow(TypeError)
  })
})

/** An engine that notes the limit of each of its cleanups. */
function recording(limits: number[]): ReturnType<typeof engine> {
  const backend = new MemoryBackend(new StoreModel())
  backend.stale = async (_before, limit) => {
    limits.push(limit)
    return []
  }
  return engine({ backend, contextTtlMs: 1, autoDelete: true })
}
