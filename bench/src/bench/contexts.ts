import type { CleanupFigure, ContextsTask, MemoryFigure } from './contexts-load.ts'
import { digits, progress, spreadOf, spreadText, table } from './report.ts'
import type { Report } from './report.ts'
import { withStore } from './stores.ts'
import type { StoreName } from './stores.ts'
import { inChild } from './task.ts'

/** Most bytes of the heap for an open context, and for all that nobody has open: what the heap differs by from one look to the next. */
const openGoal = 20_000
const closedGoal = 2_000_000
/** Least part of the rate of commits that a cleanup leaves. */
const cleanupGoal = 0.8

/** What many contexts cost a node: memory, and the commits of others while they are cleaned up. */
export async function contextsSuite(stores: readonly StoreName[], rounds: number, count: number): Promise<Report> {
  const missed: string[] = []
  const memory: string[][] = []
  const cleanup: string[][] = []
  for (const store of stores) {
    const remembered: MemoryFigure[] = []
    const cleaned: CleanupFigure[] = []
    for (let round = 1; round <= rounds; round += 1) {
      // Memory hardly differs from one round to the next; what is kept in memory is no matter of a store that is memory itself.
      if (round === 1 && store !== 'memory') remembered.push(await run<MemoryFigure>(store, { kind: 'memory', count }))
      cleaned.push(await run<CleanupFigure>(store, { kind: 'cleanup', count }))
      progress(`${store}, round ${round} of ${rounds}: ${digits(partLeft(cleaned.at(-1)!) * 100)} % of the commits beside a cleanup`)
    }
    for (const figure of remembered) memory.push(memoryRow(store, figure, count, missed))
    cleanup.push(cleanupRow(store, cleaned, missed))
  }
  const blocks: string[] = []
  if (memory.length > 0) {
    const head = [
      'heap, bytes a context',
      'stored, nobody has it open',
      'open (`subscribe`)',
      'nobody any more',
      'process with all open, MB',
    ]
    blocks.push(table([head, ...memory]))
  }
  const head = ['', 'commits/s before', 'beside a cleanup', 'after', 'part left', 'contexts expired a second']
  blocks.push(table([head, ...cleanup]))
  blocks.push(
    `${count.toLocaleString('en')} contexts of 1 KB. The commits are those of 200 other contexts with 8 in flight each, beside the first 10 s of a cleanup of all. Medians of ${rounds} rounds (least–most).`,
  )
  return { blocks, missed }
}

const run = <F>(store: StoreName, task: Omit<ContextsTask, 'url'>): Promise<F> =>
  withStore(store, (url) => inChild<F>('contexts', { ...task, url }, ['--expose-gc']))

const partLeft = ({ before, during, after }: CleanupFigure): number => during / ((before + after) / 2)

function memoryRow(store: StoreName, { before, stored, open, left }: MemoryFigure, count: number, missed: string[]): string[] {
  const each = (heap: number): number => (heap - before.heap) / count
  if (stored.heap - before.heap > closedGoal)
    missed.push(`${store}: ${digits(each(stored.heap))} bytes for each context that nobody has open`)
  if (left.heap - before.heap > closedGoal)
    missed.push(`${store}: ${digits(each(left.heap))} bytes for each context that nobody has open any more`)
  if (each(open.heap) > openGoal) missed.push(`${store}: ${digits(each(open.heap))} bytes for each open context`)
  return [store, ...[stored, open, left].map(({ heap }) => digits(each(heap))), digits(open.rss / 1_000_000)]
}

function cleanupRow(store: StoreName, figures: readonly CleanupFigure[], missed: string[]): string[] {
  const left = spreadOf(figures.map(partLeft))
  if (left.median < cleanupGoal) missed.push(`${store}: a cleanup leaves ${digits(left.median * 100)} % of the commits`)
  const of = (figure: (cleaned: CleanupFigure) => number): string => digits(spreadOf(figures.map(figure)).median)
  return [
    store,
    of(({ before }) => before),
    of(({ during }) => during),
    of(({ after }) => after),
    spreadText(left, (part) => `${Math.round(part * 100)} %`),
    of(({ removed, seconds }) => removed / seconds),
  ]
}
