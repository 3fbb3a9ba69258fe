import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import path from 'node:path'
import { startRedisServer } from 'contextd/testing'
import { ChildServer } from './child-server.ts'
import type { Role } from './child-server.ts'
import { broadcastFloor, echoFloor, echoRoundTrip, redisFloor } from './floors.ts'
import type { Span } from './measure.ts'
import { broadcast, catchUp, hot, latency, many } from './scenarios.ts'

const writers = 20
const inFlight = 32
const subscribers = 500

interface Floors {
  readonly echo: number
  readonly echoCpuUs: number
  readonly roundTripMs: { readonly p50: number; readonly p99: number }
  readonly frames: number
}
/** Figures of one store, by row of the table. */
type Column = { readonly [row: string]: string }

const ratio = (value: number, floor: number): string => (value / floor).toFixed(2)
const thousands = (value: number): string => Math.round(value).toLocaleString('en')

async function withServer<T>(role: Role, use: (server: ChildServer) => Promise<T>): Promise<T> {
  const server = await ChildServer.start(role)
  try {
    return await use(server)
  } finally {
    await server.stop()
  }
}

async function floors(span: Span): Promise<Floors> {
  const echo = await withServer({ type: 'floor' }, (server) => echoFloor(server, span, writers, inFlight))
  const roundTripMs = await withServer({ type: 'floor' }, (server) => echoRoundTrip(server, 2_000))
  const frames = await withServer({ type: 'floor' }, (server) => broadcastFloor(server, span, subscribers))
  return { echo: echo.perSecond, echoCpuUs: echo.cpuUs, roundTripMs, frames: frames.perSecond }
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
    'hot context, acked commits/s': `${thousands(small.perSecond)} = ${ratio(small.perSecond, floor.echo)} × F5`,
    'hot context, server CPU per commit': `${small.cpuUs.toFixed(1)} µs = ${ratio(small.cpuUs, floor.echoCpuUs)} × F5`,
    '200 contexts, acked commits/s': `${thousands(wide.perSecond)} = ${ratio(wide.perSecond, floor.echo)} × F5`,
    'write → other client, p50': `${seen.p50.toFixed(2)} ms = ${ratio(seen.p50, floor.roundTripMs.p50)} × F5's`,
    'write → other client, p99': `${seen.p99.toFixed(2)} ms = ${ratio(seen.p99, floor.roundTripMs.p99)} × F5's`,
    [`broadcast to ${subscribers}, frames/s`]: `${thousands(fan.perSecond)} = ${ratio(fan.perSecond, floor.frames)} × F2`,
    'bytes of a frame with one small commit': `${fan.bytes}`,
    '1 MB state ÷ 1 KB state, commits/s': ratio(mega.perSecond, kilo.perSecond),
    'back after 100 changes of 100 KB, bytes ÷ full': `${((100 * back.delta) / back.full).toFixed(1)} %`,
  }
}

function print(floor: Floors, redis: number, columns: { readonly [store: string]: Column }): void {
  const stores = Object.keys(columns)
  const lines = [
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${new Date().toISOString().slice(0, 10)}`,
    '',
    `F5, Socket.IO echo with acknowledgement, ${writers} connections × ${inFlight} in flight: ${thousands(floor.echo)}/s, ${floor.echoCpuUs.toFixed(1)} µs of server CPU each; one at a time p50 ${floor.roundTripMs.p50.toFixed(2)} ms, p99 ${floor.roundTripMs.p99.toFixed(2)} ms`,
    `F2, Socket.IO broadcast of a ready text to ${subscribers}: ${thousands(floor.frames)} frames/s`,
    ...(redis > 0 ? [`FR, Redis: pipelined EVALSHA of INCR + RPUSH + SPUBLISH: ${thousands(redis)}/s`] : []),
    '',
    `| | ${stores.join(' | ')} |`,
    `| --- |${' --- |'.repeat(stores.length)}`,
    ...Object.keys(columns[stores[0]!]!).map((row) => `| ${row} | ${stores.map((store) => columns[store]![row]).join(' | ')} |`),
  ]
  console.log(lines.join('\n'))
}

/** What goes over sockets, beside the floors of the same run. */
export async function wireSuite(stores: readonly string[], span: Span): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'contextd-bench-'))
  const redis = stores.includes('redis') ? await startRedisServer() : null
  try {
    const floor = await floors(span)
    const redisPerSecond = redis ? await redisFloor(redis.url, span.measureMs) : 0
    const urls: { readonly [store: string]: string | undefined } = {
      memory: 'memory:',
      sqlite: `sqlite:${path.join(directory, 'bench.db')}`,
      redis: redis?.url,
    }
    const columns: { [store: string]: Column } = {}
    for (const store of stores) columns[store] = await column(urls[store]!, span, floor)
    print(floor, redisPerSecond, columns)
  } finally {
    await redis?.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}
