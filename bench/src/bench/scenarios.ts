import type { Operation } from '@contextd/protocol'
import type { ChildServer } from './child-server.ts'
import { measure, percentile } from './measure.ts'
import type { Figure, Span } from './measure.ts'
import { RawClient } from './raw-client.ts'
import type { RawStream } from './raw-client.ts'

const increment: readonly Operation[] = [{ type: 'increment', path: ['n'], by: 1 }]

/** Makes a context, written by its first session. */
async function create(client: RawClient, contextId: string, initial: { [key: string]: string | number }): Promise<void> {
  const { stream } = await client.open(contextId)
  const stored = new Promise<void>((resolve) => (stream.onAck = resolve))
  stream.write(increment, initial)
  await stored
}

/** Keeps so many commits of a stream unanswered, until `running` says no. */
function keepBusy(stream: RawStream, inFlight: number, running: () => boolean): void {
  stream.onAck = () => {
    if (running()) stream.write(increment)
  }
  for (let count = 0; count < inFlight; count += 1) stream.write(increment)
}

const connect = (server: ChildServer, count: number): Promise<RawClient[]> =>
  Promise.all(Array.from({ length: count }, () => RawClient.connect(server.url)))

/** Acknowledged commits on one context. */
export async function hot(server: ChildServer, span: Span, writers: number, inFlight: number, padding = 0): Promise<Figure> {
  const contextId = `bench:hot-${padding}`
  const creator = await RawClient.connect(server.url)
  await create(creator, contextId, { n: 0, padding: 'x'.repeat(padding) })
  creator.close()
  const clients = await connect(server, writers)
  let running = true
  const streams: RawStream[] = []
  for (const client of clients) streams.push((await client.open(contextId)).stream)
  for (const stream of streams) keepBusy(stream, inFlight, () => running)
  const figure = await measure(server, span, () => streams.reduce((sum, { acked }) => sum + acked, 0))
  running = false
  for (const client of clients) client.close()
  return figure
}

/** Acknowledged commits over many contexts, each written by one session. */
export async function many(server: ChildServer, span: Span, contexts: number, inFlight: number): Promise<Figure> {
  const creator = await RawClient.connect(server.url)
  const clients = await connect(server, 20)
  let running = true
  const streams: RawStream[] = []
  for (let index = 0; index < contexts; index += 1) {
    const contextId = `bench:many-${index}`
    await create(creator, contextId, { n: 0 })
    streams.push((await clients[index % clients.length]!.open(contextId)).stream)
  }
  creator.close()
  for (const stream of streams) keepBusy(stream, inFlight, () => running)
  const figure = await measure(server, span, () => streams.reduce((sum, { acked }) => sum + acked, 0))
  running = false
  for (const client of clients) client.close()
  return figure
}

/** Time from a write to its delta at another client, one at a time, ms. */
export async function latency(server: ChildServer, rounds: number): Promise<{ p50: number; p99: number }> {
  const [writer, reader, creator] = await connect(server, 3)
  await create(creator!, 'bench:latency', { n: 0 })
  const { stream } = await writer!.open('bench:latency')
  await reader!.open('bench:latency')
  const samples: number[] = []
  for (let round = 0; round < rounds * 1.2; round += 1) {
    const start = performance.now()
    const seen = new Promise<void>((resolve) => reader!.socket.on('d', () => resolve()))
    const acked = new Promise<void>((resolve) => (stream.onAck = resolve))
    stream.write(increment)
    await seen
    if (round > rounds * 0.2) samples.push(performance.now() - start)
    await acked
  }
  for (const client of [writer!, reader!, creator!]) client.close()
  return { p50: percentile(samples, 0.5), p99: percentile(samples, 0.99) }
}

/** Frames delivered to many subscribers of one context, the next commit as soon as its writer has the last; and bytes of each. */
export async function broadcast(server: ChildServer, span: Span, subscribers: number): Promise<Figure & { bytes: number }> {
  const creator = await RawClient.connect(server.url)
  await create(creator, 'bench:broadcast', { n: 0 })
  creator.close()
  const writer = await RawClient.connect(server.url)
  const { stream } = await writer.open('bench:broadcast')
  const clients = await connect(server, subscribers - 1)
  let frames = 0
  let bytes = 0
  for (const client of clients) {
    await client.open('bench:broadcast')
    client.socket.on('d', () => {
      frames += 1
    })
  }
  clients[0]!.socket.on('d', (_args, length) => {
    frames += 1
    bytes = length
  })
  let running = true
  stream.onAck = () => {
    frames += 1
    if (running) stream.write(increment)
  }
  stream.write(increment)
  const figure = await measure(server, span, () => frames)
  running = false
  for (const client of [...clients, writer]) client.close()
  return { ...figure, bytes }
}

/** Bytes of the answer to a client that was away for some changes of a large state, and of the whole state. */
export async function catchUp(server: ChildServer, changes: number, stateBytes: number): Promise<{ delta: number; full: number }> {
  const rows = Object.fromEntries(Array.from({ length: Math.round(stateBytes / 100) }, (_, index) => [`row${index}`, 'x'.repeat(88)]))
  const [writer, reader, creator] = await connect(server, 3)
  await create(creator!, 'bench:catch-up', { n: 0, ...rows })
  const { stream } = await writer!.open('bench:catch-up')
  const before = reader!.socket.received
  const { reply } = await reader!.open('bench:catch-up')
  const full = reader!.socket.received - before
  if (reply.answer.type !== 'full') throw new Error(`expected the full state, got ${reply.answer.type}`)
  reader!.close()
  for (let change = 0; change < changes; change += 1) {
    const acked = new Promise<void>((resolve) => (stream.onAck = resolve))
    stream.write([{ type: 'set', path: [`row${change * 7}`], value: `changed ${change}` }])
    await acked
  }
  const back = await RawClient.connect(server.url)
  const start = back.socket.received
  const answer = await back.open('bench:catch-up', reply.answer.head)
  const delta = back.socket.received - start
  if (answer.reply.answer.type !== 'delta') throw new Error(`expected a delta, got ${answer.reply.answer.type}`)
  for (const client of [writer!, creator!, back]) client.close()
  return { delta, full }
}
