import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createContexts } from 'contextd'
import type { Contexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { until } from '../support/wait.ts'

const leaseMs = 1_500
const intervalMs = 200
const hour = 3_600_000
const rows = 20
const script = fileURLToPath(new URL('children/refresh.mjs', import.meta.url))

/** What a row says of the fetch that it comes from. */
interface Row {
  readonly id: string
  readonly by: string
  readonly token: number
  readonly n: number
}
/** A version of the context, as it came. */
interface Seen extends Row {
  readonly version: number
  readonly at: number
}

/** A node in a process of its own. */
class SourceNode {
  readonly name: string
  readonly child: ChildProcess
  leads = false

  constructor(url: string, name: string, skewMs: number) {
    this.name = name
    this.child = fork(script, [url, name, String(skewMs), String(leaseMs), String(intervalMs)], { execArgv: [] })
    this.child.on('message', ({ leader }: { leader: boolean }) => (this.leads = leader))
    onTestFinished(() => void this.child.kill('SIGKILL'))
  }

  async ended(): Promise<void> {
    await once(this.child, 'exit')
  }
}

/** Every version of the context as it comes; each must be of one fetch. */
function versionsOf(contexts: Contexts): Seen[] {
  const seen: Seen[] = []
  contexts.subscribe('board', (_, { version, state }) => {
    const { by, token, n } = oneFetch((state as unknown as { items: Row[] }).items)
    seen.push({ id: '', by, token, n, version, at: performance.now() })
  })
  return seen
}

/** What all rows have in common. @throws one is missing, or of another fetch */
function oneFetch(items: readonly Row[]): Row {
  const [first] = items
  if (items.length !== rows || first === undefined) throw new Error(`${items.length} rows`)
  if (items.some(({ by, token, n }) => by !== first.by || token !== first.token || n !== first.n)) throw new Error('rows of two fetches')
  return first
}

/** Reads the four keys as fast as it can, until it is told to end: each fetch that it saw, once, in order. */
async function poll(redis: RedisServer, signal: AbortSignal): Promise<{ reads: number; fetches: Row[] }> {
  const client = new Redis(redis.url)
  const fetches: Row[] = []
  let reads = 0
  const rowsOf = (texts: readonly string[]): Row[] => texts.map((text) => JSON.parse(text) as Row)
  while (!signal.aborted) {
    const replies = await client.multi().lrange('board:list', 0, -1).hgetall('board:hash').smembers('board:set').get('board:string').exec()
    const [list, hash, set, string] = replies!.map(([, reply]) => reply) as [string[], Record<string, string>, string[], string]
    const each = [rowsOf(list), rowsOf(Object.values(hash)), rowsOf(set), JSON.parse(string) as Row[]].map(oneFetch)
    const [first] = each as [Row]
    if (each.some(({ token, n }) => token !== first.token || n !== first.n)) throw new Error('keys of two fetches')
    if (list.some((text, index) => (JSON.parse(text) as Row).id !== `r${index}`)) throw new Error('another order')
    if (fetches.at(-1)?.n !== first.n || fetches.at(-1)?.token !== first.token) fetches.push(first)
    reads += 1
  }
  client.disconnect()
  return { reads, fetches }
}

/** Never two that write: a token never comes again once a higher one came, and is of one node; within it the fetches are in order. */
function expectOneAfterTheOther(writes: readonly Row[]): void {
  const names = new Map<number, string>()
  writes.forEach(({ by, token, n }, index) => {
    const before = writes[index - 1]
    expect(token).toBeGreaterThanOrEqual(before?.token ?? 0)
    expect(n).toBeGreaterThan(before?.token === token ? before.n : 0)
    expect(names.get(token) ?? by).toBe(by)
    names.set(token, by)
  })
}

test('F28, F29: of five nodes with clocks hours apart one refreshes a source; killed, paused beyond its lease or stopped, another takes over, and never do two write', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const contexts = createContexts({ backend: redisBackend(redis.url), deltaThreshold: 10_000, leaseMs })
  onTestFinished(() => contexts.close())
  const seen = versionsOf(contexts)
  const nodes = [0, hour, -hour, hour / 2, -24 * hour].map((skewMs, index) => new SourceNode(redis.url, `node${index}`, skewMs))
  await until('a first version', () => seen.length > 2)
  const reading = new AbortController()
  const polled = poll(redis, reading.signal)
  const last = (): Seen => seen.at(-1)!
  const leader = (): SourceNode => nodes.find(({ name }) => name === last().by)!
  /** Waits for the next one to lead; how long nothing was written, ms. */
  const takenOver = async (from: Seen): Promise<number> => {
    await until('another writes', () => last().token > from.token)
    return seen.find(({ token }) => token > from.token)!.at - seen.findLast(({ token }) => token === from.token)!.at
  }
  const report: Record<string, number> = {}

  const killed = leader()
  const beforeKill = last()
  killed.child.kill('SIGKILL')
  report['killed'] = await takenOver(beforeKill)

  await pause(2 * intervalMs)
  const paused = leader()
  const beforePause = last()
  paused.child.kill('SIGSTOP')
  report['paused'] = await takenOver(beforePause)
  await pause(leaseMs)
  paused.child.kill('SIGCONT')
  const { version } = last()
  await until('it knows that it leads no more', () => !paused.leads)
  await until('others go on', () => last().version > version + 3)
  expect(seen.findLast(({ by }) => by === paused.name)!.token).toBe(beforePause.token)

  const stopped = leader()
  const beforeStop = last()
  stopped.child.send('stop')
  await stopped.ended()
  expect(stopped.child.exitCode).toBe(0)
  report['stopped'] = await takenOver(beforeStop)
  await until('others go on', () => seen.filter(({ token }) => token > beforeStop.token).length > 3)
  reading.abort()
  const { reads, fetches } = await polled

  expectOneAfterTheOther(seen)
  expectOneAfterTheOther(fetches)
  expect(new Set(seen.map(({ token }) => token)).size).toBe(4)
  expect(new Set(fetches.map(({ token }) => token)).size).toBe(4)
  // No version is missing between the first and the last that was told.
  expect(seen.map((each) => each.version)).toEqual(Array.from(seen, (_, index) => seen[0]!.version + index))
  const history = await contexts.history('board', { limit: 50 })
  expect(history.map(({ author }) => author.actor)).toEqual(Array.from(history, () => 'server'))
  expect(reads).toBeGreaterThan(100)
  // The lease, an interval and a fetch; three times as much, for a machine that is busy.
  expect(report['killed']).toBeLessThan(3 * (leaseMs + intervalMs))
  expect(report['paused']).toBeLessThan(3 * (leaseMs + intervalMs))
  // Nobody waits for a lease that was given back.
  expect(report['stopped']).toBeLessThan(leaseMs)
  console.info(`${reads} reads; nothing written for, ms:`, report)
})
