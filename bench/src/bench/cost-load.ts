import { createContexts, openBackend } from 'contextd'
import { counted } from './counting-backend.ts'
import { RedisMeter } from './redis-usage.ts'
import { yardstick } from './task.ts'

/**
 * How the rows of a state lie: in objects of at most 100 keys (`nested`), of at most 20 (`narrow`), all in one object (`flat`), in one list by
 * id (`list`).
 */
export const shapes = ['nested', 'narrow', 'flat', 'list'] as const
export type Shape = (typeof shapes)[number]

/** One measurement: commits that change one leaf each of a state of this size. */
export interface CostTask {
  readonly url: string
  readonly shape: Shape
  readonly bytes: number
  /** True: as many commits as bring whole rounds from one snapshot to the next, since these are part of the cost. */
  readonly rounds: boolean
}
export interface CostFigure {
  readonly stateBytes: number
  readonly commits: number
  readonly snapshots: number
  /** Bytes that went to the store for each commit: on Redis all that it received, else the text that was handed over. */
  readonly bytes: number
  /** CPU time of this process, and of Redis, for each commit, µs. */
  readonly cpuUs: number
  readonly redisUs: number
  readonly yardstick: number
}

type Json = { [key: string]: Json | Json[] | string | number }

const rowBytes = 100
const inFlight = 64
const contextId = 'bench:cost'
const leastCommits = 20_000
const fewCommits = 4_096
const longestMs = 60_000

const row = (index: number): Json => ({ id: `r${index}`, n: 0, text: 'x'.repeat(rowBytes - 40) })
const rowsOf = (bytes: number): number => Math.max(1, Math.round(bytes / rowBytes))
/** The objects that a row lies in. */
const groupsOf: { readonly [shape in Shape]: (index: number) => string[] } = {
  nested: (index) => [`s${Math.floor(index / 100 ** 2)}`, `g${Math.floor(index / 100)}`],
  narrow: (index) => [`t${Math.floor(index / 20 ** 3)}`, `s${Math.floor(index / 20 ** 2)}`, `g${Math.floor(index / 20)}`],
  flat: () => [],
  list: () => [],
}

function stateOf(shape: Shape, bytes: number): Json {
  const rows = Array.from({ length: rowsOf(bytes) }, (_, index) => row(index))
  if (shape === 'list') return { rows }
  const object: Json = {}
  for (const [index, each] of rows.entries()) {
    let at = object
    for (const group of groupsOf[shape](index)) at = (at[group] ??= {}) as Json
    at[`r${index}`] = each
  }
  return { rows: object }
}

function pathOf(shape: Shape, index: number): (string | { id: string })[] {
  const id = `r${index}`
  if (shape === 'list') return ['rows', { id }, 'n']
  return ['rows', ...groupsOf[shape](index), id, 'n']
}

/** Runs in a process of its own. */
export async function costTask({ url, shape, bytes, rounds }: CostTask): Promise<CostFigure> {
  const { backend, counts } = counted(openBackend(url))
  const contexts = createContexts({ backend, limits: { stateBytes: 8_388_608 } })
  const state = stateOf(shape, bytes)
  const rows = rowsOf(bytes)
  await contexts.set(contextId, state)
  let written = 0
  const write = async (): Promise<void> => {
    await Promise.all(
      Array.from({ length: inFlight }, () => {
        written += 1
        return contexts.apply(contextId, [{ type: 'set', path: pathOf(shape, (written * 7) % rows), value: written }])
      }),
    )
  }
  const end = performance.now() + longestMs
  const until = async (done: () => boolean): Promise<void> => {
    do await write()
    while (!done() && performance.now() < end)
  }
  // From just after a snapshot to just after another.
  const started = counts.snapshots
  await until(() => (rounds ? counts.snapshots > started && counts.commits > leastCommits / 4 : counts.commits > fewCommits))
  const meter = url.startsWith('redis') ? new RedisMeter(url) : null
  const used = await meter?.read()
  const before = { ...counts }
  const cpu = process.cpuUsage()
  let at = counts.snapshots
  await until(() => {
    const done = counts.commits - before.commits
    if (!rounds) return done >= fewCommits
    const fresh = counts.snapshots > at
    at = counts.snapshots
    return fresh && done >= leastCommits
  })
  const { user, system } = process.cpuUsage(cpu)
  const after = await meter?.read()
  meter?.close()
  await contexts.close()
  const commits = counts.commits - before.commits
  const received = used && after ? after.inputBytes - used.inputBytes : counts.text - before.text
  return {
    stateBytes: JSON.stringify(state).length,
    commits,
    snapshots: counts.snapshots - before.snapshots,
    bytes: received / commits,
    cpuUs: (user + system) / commits,
    redisUs: used && after ? ((after.cpuMs - used.cpuMs) * 1_000) / commits : 0,
    yardstick: yardstick(JSON.stringify(stateOf('nested', 10_000))),
  }
}
