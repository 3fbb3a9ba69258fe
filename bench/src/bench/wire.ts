import { ChildServer } from './child-server.ts'
import type { Role } from './child-server.ts'
import { broadcastFloor, echoFloor, echoRoundTrip, redisFloor } from './floors.ts'
import type { Span } from './measure.ts'
import { digits, progress, spreadOf, spreadText, table } from './report.ts'
import type { Report } from './report.ts'
import { broadcast, catchUp, hot, latency, many } from './scenarios.ts'
import { withStore } from './stores.ts'
import type { StoreName } from './stores.ts'

const writers = 20
const inFlight = 32
const subscribers = 500

/** What plain Socket.IO and plain Redis do. */
interface Floors {
  readonly echo: number
  readonly echoCpuUs: number
  readonly p50: number
  readonly p99: number
  readonly frames: number
  /** 0: not measured. */
  readonly redis: number
}
/** One figure of a store. */
interface Figure {
  readonly value: number
  readonly unit: string
  /** What it is a multiple of, in the same round; null: it stands for itself. */
  readonly floor: { readonly name: string; readonly value: number } | null
}
/** The figures of a store in one round, by row of the table. */
type Column = { readonly [row: string]: Figure }

async function withServer<T>(role: Role, use: (server: ChildServer) => Promise<T>): Promise<T> {
  const server = await ChildServer.start(role)
  try {
    return await use(server)
  } finally {
    await server.stop()
  }
}

async function floors(span: Span): Promise<Omit<Floors, 'redis'>> {
  const echo = await withServer({ type: 'floor' }, (server) => echoFloor(server, span, writers, inFlight))
  const { p50, p99 } = await withServer({ type: 'floor' }, (server) => echoRoundTrip(server, 2_000))
  const frames = await withServer({ type: 'floor' }, (server) => broadcastFloor(server, span, subscribers))
  return { echo: echo.perSecond, echoCpuUs: echo.cpuUs, p50, p99, frames: frames.perSecond }
}

function figure(value: number, unit: string, name?: string, base = 0): Figure {
  return { value, unit, floor: name === undefined ? null : { name, value: base } }
}

async function column(store: string, span: Span, floor: Floors): Promise<Column> {
  const on = <T>(use: (server: ChildServer) => Promise<T>): Promise<T> => withServer({ type: 'contextd', store }, use)
  const small = await on((server) => hot(server, span, writers, inFlight))
  const wide = await on((server) => many(server, span, 200, 8))
  const seen = await on((server) => latency(server, 2_000))
  const fan = await on((server) => broadcast(server, span, subscribers))
  const kilo = await on((server) => hot(server, span, writers, inFlight, 1_000))
  const mega = await on((server) => hot(server, span, writers, inFlight, 1_000_000))
  const back = await on((server) => catchUp(server, 100, 100_000))
  return {
    'hot context, acked commits/s': figure(small.perSecond, '', 'F5', floor.echo),
    'hot context, server CPU per commit': figure(small.cpuUs, ' µs', 'F5', floor.echoCpuUs),
    '200 contexts, acked commits/s': figure(wide.perSecond, '', 'F5', floor.echo),
    'write → other client, p50': figure(seen.p50, ' ms', "F5's", floor.p50),
    'write → other client, p99': figure(seen.p99, ' ms', "F5's", floor.p99),
    [`broadcast to ${subscribers}, frames/s`]: figure(fan.perSecond, '', 'F2', floor.frames),
    'bytes of a frame with one small commit': figure(fan.bytes, ''),
    '1 MB state ÷ 1 KB state, commits/s': figure(mega.perSecond / kilo.perSecond, ''),
    'back after 100 changes of 100 KB, bytes ÷ full': figure((100 * back.delta) / back.full, ' %'),
  }
}

function cellOf(figures: readonly Figure[]): string {
  const { unit, floor } = figures[0]!
  const text = `${digits(spreadOf(figures.map(({ value }) => value)).median)}${unit}`
  if (floor === null) return text
  const ratios = spreadOf(figures.map(({ value, floor: base }) => value / base!.value))
  return `${text} = ${figures.length > 1 ? spreadText(ratios) : digits(ratios.median)} × ${floor.name}`
}

function report(rounds: readonly { readonly floor: Floors; readonly columns: ReadonlyMap<StoreName, Column> }[]): Report {
  const of = (read: (floor: Floors) => number): string => digits(spreadOf(rounds.map(({ floor }) => read(floor))).median)
  const stores = [...rounds[0]!.columns.keys()]
  const rows = Object.keys(rounds[0]!.columns.get(stores[0]!)!).map((row) => [
    row,
    ...stores.map((store) => cellOf(rounds.map(({ columns }) => columns.get(store)![row]!))),
  ])
  const lines = [
    `F5: ${of(({ echo }) => echo)}/s, ${of(({ echoCpuUs }) => echoCpuUs)} µs of server CPU each; one at a time p50 ${of(({ p50 }) => p50)} ms, p99 ${of(({ p99 }) => p99)} ms`,
    `F2: ${of(({ frames }) => frames)} frames/s`,
    ...(rounds[0]!.floor.redis > 0 ? [`FR: ${of(({ redis }) => redis)}/s`] : []),
  ]
  const notes = rounds.length > 1 ? [`Medians of ${rounds.length} rounds (least–most of the ratios), each with its own floors.`] : []
  return { blocks: [lines.join(' · '), table([['', ...stores], ...rows]), ...notes], missed: [] }
}

/** What goes over sockets, beside the floors of the same round. */
export async function wireSuite(stores: readonly StoreName[], rounds: number, seconds: number): Promise<Report> {
  const span: Span = { warmMs: 1_000, measureMs: seconds * 1_000 }
  const done: { floor: Floors; columns: Map<StoreName, Column> }[] = []
  for (let round = 1; round <= rounds; round += 1) {
    const redis = stores.includes('redis') ? await withStore('redis', (url) => redisFloor(url, span.measureMs)) : 0
    const floor = { ...(await floors(span)), redis }
    const columns = new Map<StoreName, Column>()
    for (const store of stores) {
      columns.set(store, await withStore(store, (url) => column(url, span, floor)))
      progress(`${store}, round ${round} of ${rounds}`)
    }
    done.push({ floor, columns })
  }
  return report(done)
}
