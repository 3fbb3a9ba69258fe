import { createContexts, openBackend } from 'contextd'
import { ChordFloor } from './chord-floor.ts'
import { ChordLoad, chatGroup, deltaThreshold, operationNames } from './chord-load.ts'
import type { OperationName } from './chord-load.ts'
import { digits, progress, spreadOf, spreadText, table } from './report.ts'
import type { Report } from './report.ts'
import { withStore } from './stores.ts'
import type { StoreName } from './stores.ts'
import { inChild, yardstick } from './task.ts'

/** One measurement. */
export interface ChordTask {
  readonly url: string
  readonly operation: OperationName
  /** What does the operations: contextd on contexts that are new or at version 1,000, or a plain program (see {@link ChordFloor}). */
  readonly by: 'fresh' | 'steady' | 'floor'
  readonly warmMs: number
  readonly measureMs: number
}
interface ChordFigure {
  readonly operationsPerSecond: number
  readonly callsPerSecond: number
  /** CPU time of this process for each call, µs. */
  readonly cpuUs: number
  readonly commits: number
  readonly yardstick: number
}

/**
 * Operations per second of Chord 0.2.0 on 2 cores, medians of three, with Redis 7.0 on the same machine and no logging: [stateless, stateful],
 * that is by calls or by one process per context.
 */
const ofChord: { readonly [cell: string]: readonly [number, number] } = {
  'redis fresh single-50': [81.5, 78.3],
  'redis steady single-50': [191, 79.8],
  'memory fresh single-50': [739, 516],
  'memory steady single-50': [649, 467],
  'redis fresh multi-100': [1.38, 1.37],
  'redis steady multi-100': [5.71, 5.4],
  'memory fresh multi-100': [6.96, 5.84],
  'memory steady multi-100': [9.03, 9.06],
}
const stores = ['memory', 'redis'] as const satisfies StoreName[]
const phases = ['fresh', 'steady'] as const
/** How many times Chord's figures: on Redis its stateful ones and its best, in memory its best ones. */
const goals = { redis: { stateful: 10, best: 5 }, memory: { stateful: 0, best: 3 } }

/** Runs in a process of its own. */
export async function chordTask({ url, operation, by, warmMs, measureMs }: ChordTask): Promise<ChordFigure> {
  const load =
    by === 'floor'
      ? new ChordFloor(url, operation)
      : new ChordLoad(createContexts({ backend: openBackend(url), deltaThreshold }), operation, by === 'steady')
  await load.prepare()
  const until = async (end: number): Promise<void> => {
    do await load.run()
    while (performance.now() < end)
  }
  await until(performance.now() + warmMs)
  const speed = yardstick(JSON.stringify(chatGroup('group:0')))
  const { calls, operations } = load
  const cpu = process.cpuUsage()
  const start = performance.now()
  await until(start + measureMs)
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  const commits = await load.close()
  const done = load.calls - calls
  return {
    operationsPerSecond: (load.operations - operations) / seconds,
    callsPerSecond: done / seconds,
    cpuUs: (user + system) / done,
    commits,
    yardstick: speed,
  }
}

/** Chord's four scenarios, on memory and Redis, and the floor on Redis. */
export async function chordSuite(rounds: number, seconds: number, only: string): Promise<Report> {
  const cells = operationNames.flatMap((operation) => [
    ...stores.flatMap((store) => phases.map((by) => ({ operation, store, by }))),
    { operation, store: 'redis' as const, by: 'floor' as const },
  ])
  const chosen = cells.filter(({ operation, store, by }) => `${store} ${by} ${operation}`.includes(only))
  const figures = new Map<string, ChordFigure[]>()
  for (let round = 1; round <= rounds; round += 1) {
    for (const { operation, store, by } of chosen) {
      const name = `${store} ${by} ${operation}`
      const task = { operation, by, warmMs: 2_000, measureMs: seconds * 1_000 }
      const figure = await withStore(store, (url) => inChild<ChordFigure>('chord', { ...task, url }))
      progress(
        `${name}, round ${round} of ${rounds}: ${digits(figure.operationsPerSecond)} operations/s, ${digits(figure.cpuUs)} µs of CPU a call`,
      )
      figures.set(name, [...(figures.get(name) ?? []), figure])
    }
  }
  return report(figures, rounds, seconds)
}

function report(figures: ReadonlyMap<string, readonly ChordFigure[]>, rounds: number, seconds: number): Report {
  const missed: string[] = []
  const rows = [...figures].map(([name, measured]) => {
    const ours = spreadOf(measured.map(({ operationsPerSecond }) => operationsPerSecond))
    const [store, , operation] = name.split(' ') as [(typeof stores)[number], string, OperationName]
    const floors = figures.get(`${store} floor ${operation}`)
    const floor = floors && spreadOf(floors.map(({ operationsPerSecond }) => operationsPerSecond)).median
    const known = ofChord[name]
    const best = known && Math.max(...known)
    if (known && best !== undefined) {
      const [, stateful] = known
      const goal = Math.max(goals[store].stateful * stateful, goals[store].best * best)
      const beyond = floor !== undefined && goal > floor ? `, which is beyond the floor of ${digits(floor)}` : ''
      if (ours.median < goal) missed.push(`${name}: ${digits(ours.median)} operations/s, not ${digits(goal)}${beyond}`)
    }
    return [
      name,
      spreadText(ours),
      digits(spreadOf(measured.map(({ callsPerSecond }) => callsPerSecond)).median),
      digits(spreadOf(measured.map(({ cpuUs }) => cpuUs)).median),
      ...(known && best !== undefined
        ? [digits(known[0]), digits(known[1]), `${digits(ours.median / known[1])} ×`, `${digits(ours.median / best)} ×`]
        : ['–', '–', '–', '–']),
      floor === undefined ? '–' : digits(ours.median / floor),
    ]
  })
  const all = [...figures.values()].flat()
  const kept = all.reduce((sum, { commits }) => sum + commits, 0)
  const speed = spreadOf(all.map((figure) => figure.yardstick))
  const head = ['', 'operations/s', 'calls/s', 'CPU µs a call', 'Chord stateless', 'Chord stateful', '÷ stateful', '÷ best', '÷ floor']
  const notes =
    `Medians of ${rounds} rounds of ${seconds} s after 2 s of warming up (least–most). ${kept.toLocaleString('en')} commits were acknowledged, ` +
    `and the versions of the heads say the same. Yardstick (this state as JSON, written and read): ${spreadText(speed)}/s.`
  return { blocks: [table([head, ...rows]), notes], missed }
}
