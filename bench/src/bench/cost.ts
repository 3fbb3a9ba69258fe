import { shapes } from './cost-load.ts'
import type { CostFigure, CostTask, Shape } from './cost-load.ts'
import { digits, progress, spreadOf, spreadText, table } from './report.ts'
import type { Report } from './report.ts'
import { withStore } from './stores.ts'
import type { StoreName } from './stores.ts'
import { inChild } from './task.ts'

const sizes = [1_000, 100_000, 1_000_000, 4_000_000] as const
/** How much more than the cheapest size the dearest may cost. */
const goal = 2

const sizeText = (bytes: number): string => (bytes < 1_000_000 ? `${bytes / 1_000} KB` : `${bytes / 1_000_000} MB`)

/** Medians of the rounds of one store, shape and size. */
interface Cell {
  readonly bytes: number
  readonly snapshots: number
  readonly cpuUs: readonly number[]
  readonly redisUs: number
}

/** What a commit that changes one leaf costs, by the size of the state: bytes to the store, and CPU time. */
export async function costSuite(stores: readonly StoreName[], rounds: number): Promise<Report> {
  const figures = new Map<string, CostFigure[]>()
  for (let round = 1; round <= rounds; round += 1) {
    for (const store of stores) {
      for (const shape of store === 'memory' ? shapes : (['nested'] as const)) {
        for (const bytes of sizes) {
          const task: Omit<CostTask, 'url'> = { shape, bytes, rounds: shape === 'nested' || shape === 'narrow' }
          const figure = await withStore(store, (url) => inChild<CostFigure>('cost', { ...task, url }))
          const name = nameOf(store, shape, bytes)
          progress(`${name}, round ${round} of ${rounds}: ${digits(figure.bytes)} bytes, ${digits(figure.cpuUs)} µs of CPU a commit`)
          figures.set(name, [...(figures.get(name) ?? []), figure])
        }
      }
    }
  }
  return report(stores, rounds, figures)
}

/** Shapes that are measured in memory only. */
const wideNames = { narrow: 'objects of at most 20 keys', flat: 'one object of all rows', list: 'one list of all rows' }

const nameOf = (store: StoreName, shape: Shape, bytes: number): string => `${store} ${shape} ${bytes}`

function cellOf(measured: readonly CostFigure[]): Cell {
  return {
    bytes: spreadOf(measured.map(({ bytes }) => bytes)).median,
    snapshots: spreadOf(measured.map(({ snapshots }) => snapshots)).median,
    cpuUs: measured.map(({ cpuUs }) => cpuUs),
    redisUs: spreadOf(measured.map(({ redisUs }) => redisUs)).median,
  }
}

function report(stores: readonly StoreName[], rounds: number, figures: ReadonlyMap<string, readonly CostFigure[]>): Report {
  const missed: string[] = []
  const rows = [
    ['store', 'state', 'bytes to the store', 'snapshots', 'CPU µs of the node', 'CPU µs of Redis', 'bytes ÷ least', 'CPU ÷ least'],
  ]
  const ratioRows = (store: StoreName, shape: Shape): string[][] => {
    const cells = sizes.map((bytes) => cellOf(figures.get(nameOf(store, shape, bytes))!))
    const cpus = cells.map(({ cpuUs, redisUs }) => spreadOf(cpuUs).median + redisUs)
    const leastBytes = Math.min(...cells.map(({ bytes }) => bytes))
    const leastCpu = Math.min(...cpus)
    return cells.map(({ bytes, snapshots, cpuUs, redisUs }, index) => {
      const size = sizeText(sizes[index]!)
      const ratios = [bytes / leastBytes, cpus[index]! / leastCpu] as const
      if (shape === 'nested' && ratios[0] > goal) missed.push(`${store}, ${size}: ${digits(ratios[0])} × the bytes of the cheapest size`)
      if (shape === 'nested' && ratios[1] > goal) missed.push(`${store}, ${size}: ${digits(ratios[1])} × the CPU time of the cheapest size`)
      const redis = redisUs > 0 ? digits(redisUs) : '–'
      return [store, size, digits(bytes), String(snapshots), spreadText(spreadOf(cpuUs)), redis, ...ratios.map((ratio) => digits(ratio))]
    })
  }
  for (const store of stores) rows.push(...ratioRows(store, 'nested'))
  const wide = stores.includes('memory')
    ? shapes
        .filter((shape): shape is keyof typeof wideNames => shape !== 'nested')
        .map((shape) => {
          const cells = sizes.map((bytes) => cellOf(figures.get(nameOf('memory', shape, bytes))!))
          return [wideNames[shape], ...cells.map(({ cpuUs }) => digits(spreadOf(cpuUs).median))]
        })
    : []
  const speed = spreadOf([...figures.values()].flat().map((figure) => figure.yardstick))
  const notes =
    `Rows of 100 bytes, in objects of at most 100 keys; each commit changes one leaf, 64 in flight. Whole rounds from one snapshot to the next, so that ` +
    `snapshots are part of both columns. Medians of ${rounds} rounds (least–most). Yardstick (10 KB of JSON, written and read): ${spreadText(speed)}/s.`
  const blocks = [table(rows), notes]
  if (wide.length > 0) blocks.push(table([['CPU µs of a commit, memory', ...sizes.map(sizeText)], ...wide]))
  return { blocks, missed }
}
