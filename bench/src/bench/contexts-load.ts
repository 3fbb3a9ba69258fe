import { createContexts, openBackend } from 'contextd'
import { BusyLoad } from './busy-load.ts'
import { pause } from './measure.ts'

/** One measurement over many contexts. */
export interface ContextsTask {
  readonly kind: 'memory' | 'cleanup'
  readonly url: string
  readonly count: number
}
/** Memory of the process, bytes, after a garbage collection. */
interface Memory {
  readonly heap: number
  readonly rss: number
}
export interface MemoryFigure {
  readonly kind: 'memory'
  /** Before any context was there. */
  readonly before: Memory
  /** All are stored, and nobody has one open. */
  readonly stored: Memory
  /** All are open, and were read. */
  readonly open: Memory
  /** Nobody has one open any more. */
  readonly left: Memory
}
export interface CleanupFigure {
  readonly kind: 'cleanup'
  /** Commits per second before, during and after. */
  readonly before: number
  readonly during: number
  readonly after: number
  readonly seconds: number
  readonly removed: number
}

/** Longer than a node keeps a context that nobody has open. */
const graceMs = 6_000
const atOnce = 500
const contextTtlMs = 3_600_000
const foreground = 200
const inFlight = 8
const measureMs = 3_000
/** How long a cleanup is watched, ms; it takes its time when others are busy. */
const cleanupMs = 10_000
const expiredAtOnce = 500

const idOf = (index: number): string => `bench:many-${index}`
const kilobyte = { title: 'One of many', done: false, text: 'x'.repeat(950) }

/** Does something for each number below `count`, some at once. */
async function each(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += atOnce) {
    await Promise.all(Array.from({ length: Math.min(atOnce, count - from) }, (_, index) => work(from + index)))
  }
}

/** Runs in a process of its own, with `--expose-gc`. */
export async function contextsTask({ kind, url, count }: ContextsTask): Promise<MemoryFigure | CleanupFigure> {
  return kind === 'memory' ? await memoryOf(url, count) : await cleanupOf(url, count)
}

async function memoryOf(url: string, count: number): Promise<MemoryFigure> {
  const contexts = createContexts({ backend: openBackend(url) })
  // What is loaded and compiled once is no part of it.
  await each(2_000, (index) => contexts.set(`bench:warm-${index}`, kilobyte))
  const before = await settled()
  await each(count, (index) => contexts.set(idOf(index), kilobyte))
  const stored = await settled()
  const ends: (() => void)[] = []
  await each(count, (index) => {
    ends.push(contexts.subscribe(idOf(index), () => {}))
    return contexts.get(idOf(index))
  })
  const open = await settled()
  for (const end of ends) end()
  ends.length = 0
  const left = await settled()
  await contexts.close()
  return { kind: 'memory', before, stored, open, left }
}

async function settled(): Promise<Memory> {
  await pause(graceMs)
  const { gc } = globalThis as { gc?: () => void }
  if (!gc) throw new Error('run with --expose-gc')
  gc()
  await pause(200)
  gc()
  const { heapUsed: heap, rss } = process.memoryUsage()
  return { heap, rss }
}

async function cleanupOf(url: string, count: number): Promise<CleanupFigure> {
  let later = 0
  const contexts = createContexts({ backend: openBackend(url), contextTtlMs, autoDelete: true, clock: { now: () => Date.now() + later } })
  await each(count, (index) => contexts.set(idOf(index), kilobyte))
  later = contextTtlMs + 60_000
  const load = await BusyLoad.start(contexts, foreground, inFlight)
  await load.rate(() => pause(measureMs))
  const before = await load.rate(() => pause(measureMs))
  let removed = 0
  const start = performance.now()
  const during = await load.rate(async () => {
    while (performance.now() < start + cleanupMs) {
      const { contexts: expired } = await contexts.cleanup({ limit: expiredAtOnce })
      if (expired === 0) break
      removed += expired
    }
  })
  const seconds = (performance.now() - start) / 1_000
  const after = await load.rate(() => pause(measureMs))
  await load.stop()
  await contexts.close()
  if (removed === 0 || removed > count) throw new Error(`${count} contexts were to expire, and ${removed} did`)
  return { kind: 'cleanup', before, during, after, seconds, removed }
}
