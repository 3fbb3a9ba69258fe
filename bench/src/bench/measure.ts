import type { ChildServer } from './child-server.ts'

/** What a load did in a measured stretch of time. */
export interface Figure {
  readonly perSecond: number
  /** CPU time of the server for each, µs. */
  readonly cpuUs: number
  readonly count: number
}

/** How long a load runs before it is measured, and how long it is measured, ms. */
export interface Span {
  readonly warmMs: number
  readonly measureMs: number
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Measures a running load: `count` tells how much was done so far. */
export async function measure(server: ChildServer, span: Span, count: () => number): Promise<Figure> {
  await pause(span.warmMs)
  const cpu = await server.cpuMs()
  const before = count()
  const start = performance.now()
  await pause(span.measureMs)
  const seconds = (performance.now() - start) / 1_000
  const done = count() - before
  const used = (await server.cpuMs()) - cpu
  return { perSecond: done / seconds, cpuUs: (used * 1_000) / Math.max(done, 1), count: done }
}

/** The value below which this part of the samples lies. */
export function percentile(samples: readonly number[], part: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
