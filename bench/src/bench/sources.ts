import { percentile } from './measure.ts'
import { RawClient } from './raw-client.ts'
import { RawSocket } from './raw-socket.ts'
import { digits, progress, spreadOf, spreadText, table } from './report.ts'
import type { Report } from './report.ts'
import { SourcesServer, contextId } from './sources-load.ts'
import { withStore } from './stores.ts'
import type { StoreName } from './stores.ts'

const rows = 5_000
/** One row in so many changes. */
const every = 100
const subscribers = 200
const warmRefreshes = 5
const refreshes = 30
/** How much less of it a source sends than a broadcast of all, at least. */
const goal = 20

/** What one refresh came to. */
interface Figure {
  /** Bytes to each subscriber. */
  readonly bytes: number
  /** CPU time of the process that fetches and serves, ms. */
  readonly cpuMs: number
  /** From the beginning of the fetch to the last subscriber that has it, ms. */
  readonly seenMs: number
}

/** A dashboard of rows of which few change, refreshed for many subscribers: as a source, and whole through a room of plain Socket.IO. */
export async function sourcesSuite(stores: readonly StoreName[], rounds: number): Promise<Report> {
  const figures = new Map<string, Figure[]>()
  const note = (name: string, figure: Figure, round: number): void => {
    figures.set(name, [...(figures.get(name) ?? []), figure])
    progress(`${name}, round ${round} of ${rounds}: ${digits(figure.bytes)} bytes, ${digits(figure.cpuMs)} ms of CPU a refresh`)
  }
  for (let round = 1; round <= rounds; round += 1) {
    note(whole, await measured(null), round)
    for (const store of stores) note(store, await withStore(store, (url) => measured(url)), round)
  }
  return report(figures, rounds)
}

const whole = 'all of it, plain Socket.IO'

async function measured(store: string | null): Promise<Figure> {
  const server = await SourcesServer.start({ store, rows, every })
  const sockets: RawSocket[] = []
  for (let count = 0; count < subscribers; count += 1) sockets.push(await subscriber(server.url, store !== null))
  const received = (): number => sockets.reduce((sum, socket) => sum + socket.received, 0)
  for (let refresh = 0; refresh < warmRefreshes; refresh += 1) await seenRefresh(server, sockets)
  await server.cpuMs()
  const before = received()
  const seen: number[] = []
  for (let refresh = 0; refresh < refreshes; refresh += 1) seen.push(await seenRefresh(server, sockets))
  const cpuMs = (await server.cpuMs()) / refreshes
  const bytes = (received() - before) / refreshes / subscribers
  for (const socket of sockets) socket.close()
  await server.stop()
  return { bytes, cpuMs, seenMs: percentile(seen, 0.5) }
}

/** Refreshes, and waits until all have seen it. @returns how long that took, ms */
async function seenRefresh(server: SourcesServer, sockets: readonly RawSocket[]): Promise<number> {
  const start = performance.now()
  const arrived = Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.on('d', () => resolve()))))
  server.refresh()
  await arrived
  return performance.now() - start
}

/** One who sees each refresh. */
async function subscriber(url: string, isSource: boolean): Promise<RawSocket> {
  if (!isSource) {
    const socket = await RawSocket.connect(url, '/contextd')
    await socket.call('join', null)
    return socket
  }
  const client = await RawClient.connect(url)
  await client.open(contextId)
  return client.socket
}

function report(figures: ReadonlyMap<string, readonly Figure[]>, rounds: number): Report {
  const floor = figures.get(whole)!
  const spread = (all: readonly Figure[], read: (figure: Figure) => number): string => {
    const text = spreadText(spreadOf(all.map(read)))
    if (all === floor) return text
    return `${text} = ${digits(spreadOf(all.map((figure, round) => read(figure) / read(floor[round]!))).median)} ×`
  }
  const body = [...figures].map(([name, all]) => [
    name === whole ? name : `source, ${name}`,
    spread(all, ({ bytes }) => bytes),
    spread(all, ({ cpuMs }) => cpuMs),
    spread(all, ({ seenMs }) => seenMs),
  ])
  const head = ['', 'bytes per subscriber and refresh', 'CPU ms of the node per refresh', 'fetch → the last of them has it, ms']
  const missed = [...figures].flatMap(([name, all]) => {
    const ratio = spreadOf(all.map(({ bytes }, round) => floor[round]!.bytes / bytes)).median
    return name === whole || ratio >= goal
      ? []
      : [`${name}: a source sends 1/${digits(ratio)} of what a broadcast of all sends, not 1/${goal}`]
  })
  const notes =
    `${rows.toLocaleString('en')} rows of about 110 bytes, of which ${100 / every} % change in two keys with each refresh; ${subscribers} subscribers; one process fetches and serves them. ` +
    `Means of ${refreshes} refreshes (the time: their median), medians of ${rounds} rounds (least–most); × is to the first line, in the same round.`
  return { blocks: [table([head, ...body]), notes], missed }
}
