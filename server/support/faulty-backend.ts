import { setTimeout as delay } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { ContextBackend } from '../src/backends/backend.ts'

/** Calls whose answer may be lost; the others only read, or are not waited for. */
const writes: ReadonlySet<PropertyKey> = new Set<keyof ContextBackend>(['commit', 'restore', 'lock', 'unlock'])
const calls: ReadonlySet<PropertyKey> = new Set<keyof ContextBackend>([
  'commit',
  'restore',
  'lock',
  'unlock',
  'load',
  'log',
  'heads',
  'sync',
  'dump',
  'touch',
  'stale',
  'prunable',
  'prune',
])

/** How often calls fail: parts of 1. */
export interface Faults {
  rate: number
}

/** A backend whose calls take a while, and fail now and then as a store does: before they are done, unheard, or done and unheard. */
export function faultyBackend(backend: ContextBackend, random: () => number, faults: Faults): ContextBackend {
  const call = async (name: PropertyKey, work: () => unknown): Promise<unknown> => {
    const [luck, isWrite] = [random(), writes.has(name)]
    if (random() < 0.3) await delay(random() * 3)
    if (luck < faults.rate) throw new ContextdError('backend_unavailable', 'The store is away.')
    if (isWrite && luck < faults.rate * 2) throw unheard()
    const result = await work()
    if (random() < 0.3) await delay(random() * 3)
    if (isWrite && luck < faults.rate * 4) throw unheard()
    return result
  }
  return new Proxy(backend, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const method = value.bind(target) as (...args: unknown[]) => unknown
      return calls.has(name) ? (...args: unknown[]) => call(name, () => method(...args)) : method
    },
  })
}

const unheard = (): ContextdError => new ContextdError('timeout', 'Nobody knows what came of it.', { details: { outcome: 'unknown' } })
