import { Redis } from 'ioredis'
import { ChildServer } from './child-server.ts'
import { measure, percentile } from './measure.ts'
import type { Figure, Span } from './measure.ts'
import { RawSocket } from './raw-socket.ts'

const path = '/contextd'

/** F5: acknowledged echoes of a small payload, over some connections with some in flight each; and the round trip of one alone, ms. */
export async function echoFloor(server: ChildServer, span: Span, connections: number, inFlight: number): Promise<Figure> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => RawSocket.connect(server.url, path)))
  let done = 0
  let running = true
  const payload = {
    session: 'a'.repeat(30),
    contextId: 'bench:hot',
    commits: [{ seq: 1, operations: [{ type: 'increment', path: ['n'], by: 1 }] }],
  }
  for (const socket of sockets) {
    const next = (): void => {
      done += 1
      if (running) socket.request('echo', payload, next)
    }
    for (let count = 0; count < inFlight; count += 1) socket.request('echo', payload, next)
  }
  const figure = await measure(server, span, () => done)
  running = false
  for (const socket of sockets) socket.close()
  return figure
}

/** Round trip of one echo at a time, ms. */
export async function echoRoundTrip(server: ChildServer, rounds: number): Promise<{ p50: number; p99: number }> {
  const socket = await RawSocket.connect(server.url, path)
  const samples: number[] = []
  for (let round = 0; round < rounds * 1.2; round += 1) {
    const start = performance.now()
    await socket.call('echo', { n: round })
    if (round > rounds * 0.2) samples.push(performance.now() - start)
  }
  socket.close()
  return { p50: percentile(samples, 0.5), p99: percentile(samples, 0.99) }
}

/** F2: frames delivered when a ready text is broadcast to many, the next as soon as its sender has it. */
export async function broadcastFloor(server: ChildServer, span: Span, subscribers: number): Promise<Figure> {
  const sockets = await Promise.all(Array.from({ length: subscribers }, () => RawSocket.connect(server.url, path)))
  let frames = 0
  let running = true
  const ready = JSON.stringify([
    'bench:hot',
    'i'.repeat(22),
    1,
    'r'.repeat(22),
    't'.repeat(22),
    1,
    [[null, 'a']],
    [[0, 1, [[1, ['n'], 1]]]],
  ])
  for (const [index, socket] of sockets.entries()) {
    socket.on('d', () => {
      frames += 1
      if (index === 0 && running) socket.emit('say', ready)
    })
    await socket.call('join', null)
  }
  sockets[0]!.emit('say', ready)
  const figure = await measure(server, span, () => frames)
  running = false
  for (const socket of sockets) socket.close()
  return figure
}

const floorScript = `redis.call('INCR', KEYS[1]) redis.call('RPUSH', KEYS[2], ARGV[1]) redis.call('SPUBLISH', KEYS[3], ARGV[1]) return 1`

/** What Redis does in pipelined scripts of one increment, one push and one publication each, per second. */
export async function redisFloor(url: string, measureMs: number): Promise<number> {
  const redis = new Redis(url)
  const sha = (await redis.script('LOAD', floorScript)) as string
  const entry = 'x'.repeat(150)
  const start = performance.now()
  let done = 0
  while (performance.now() - start < measureMs) {
    const pipeline = redis.pipeline()
    for (let count = 0; count < 256; count += 1) pipeline.evalsha(sha, 3, '{f}n', '{f}l', '{f}c', entry)
    await pipeline.exec()
    done += 256
    if (done % 65_536 === 0) await redis.del('{f}l')
  }
  const perSecond = done / ((performance.now() - start) / 1_000)
  await redis.del('{f}n', '{f}l')
  redis.disconnect()
  return perSecond
}
