import type { DiskFigure, DiskTask } from './disk-load.ts'
import { digits, progress, spreadOf, spreadText, table } from './report.ts'
import type { Report } from './report.ts'
import { withStore } from './stores.ts'
import { inChild } from './task.ts'

/** Commits per second that are to be reached, or the part of what the disk could do with as many commits in each sync. */
const goal = 20_000
const partGoal = 0.5
const loads = [8, 32] as const

/** Commits on 200 contexts in an SQLite file with full durability, beside what the disk can do. */
export async function diskSuite(rounds: number, seconds: number): Promise<Report> {
  const figures = new Map<number, DiskFigure[]>()
  for (let round = 1; round <= rounds; round += 1) {
    for (const inFlight of loads) {
      const task: Omit<DiskTask, 'url'> = { contexts: 200, inFlight, warmMs: 1_000, measureMs: seconds * 1_000 }
      const figure = await withStore('sqlite', (url) => inChild<DiskFigure>('disk', { ...task, url }))
      progress(`${inFlight} in flight, round ${round} of ${rounds}: ${digits(figure.commitsPerSecond)} commits/s`)
      figures.set(inFlight, [...(figures.get(inFlight) ?? []), figure])
    }
  }
  const missed: string[] = []
  const rows = [...figures].map(([inFlight, measured]) => {
    const of = (figure: (disk: DiskFigure) => number): number => spreadOf(measured.map(figure)).median
    const commits = spreadOf(measured.map(({ commitsPerSecond }) => commitsPerSecond))
    const limit = of((disk) => (disk.syncsPerSecond * disk.commitsPerSecond) / disk.transactionsPerSecond)
    if (commits.median < goal && commits.median < partGoal * limit)
      missed.push(`${inFlight} in flight: ${digits(commits.median)} commits/s, and the disk alone would allow ${digits(limit)}`)
    return [
      String(inFlight),
      spreadText(commits),
      digits(of(({ cpuUs }) => cpuUs)),
      digits(of(({ transactionsPerSecond }) => transactionsPerSecond)),
      digits(of((disk) => disk.commitsPerSecond / disk.transactionsPerSecond)),
      digits(of(({ bytesPerTransaction }) => bytesPerTransaction / 1_024)),
      spreadText(spreadOf(measured.map(({ syncsPerSecond }) => syncsPerSecond))),
      digits(limit),
    ]
  })
  const head = [
    'in flight on each',
    'commits/s',
    'CPU µs a commit',
    'transactions/s',
    'commits in each',
    'KB in each',
    'such writes with `fsync`, alone, /s',
    'commits/s at that rate',
  ]
  const notes = `200 contexts, SQLite with a sync to the disk for each transaction. Medians of ${rounds} rounds of ${seconds} s (least–most).`
  return { blocks: [table([head, ...rows]), notes], missed }
}
