import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import { createContexts, openBackend } from 'contextd'
import { BusyLoad } from './busy-load.ts'
import { counted } from './counting-backend.ts'
import { pause } from './measure.ts'

/** One measurement: commits on many contexts in an SQLite file, and the disk alone. */
export interface DiskTask {
  readonly url: string
  readonly contexts: number
  readonly inFlight: number
  readonly warmMs: number
  readonly measureMs: number
}
export interface DiskFigure {
  readonly commitsPerSecond: number
  readonly transactionsPerSecond: number
  /** Bytes that the process wrote for each transaction. */
  readonly bytesPerTransaction: number
  /** CPU time of this process for each commit, µs. */
  readonly cpuUs: number
  /** Writes of as many bytes, each made durable before the next, per second. */
  readonly syncsPerSecond: number
}

const pageBytes = 4_096

/** Runs in a process of its own. */
export async function diskTask({ url, contexts: count, inFlight, warmMs, measureMs }: DiskTask): Promise<DiskFigure> {
  const directory = path.dirname(url.slice('sqlite:'.length))
  const { backend, counts } = counted(openBackend(url))
  const contexts = createContexts({ backend })
  const load = await BusyLoad.start(contexts, count, inFlight)
  await pause(warmMs)
  const before = { ...counts }
  const cpu = process.cpuUsage()
  const written = process.resourceUsage().fsWrite
  const start = performance.now()
  await pause(measureMs)
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  const commits = counts.commits - before.commits
  const transactions = counts.turns - before.turns
  const blocks = process.resourceUsage().fsWrite - written
  await load.stop()
  await contexts.close()
  // Of blocks of 512 bytes; where the system counts none, what was handed over.
  const bytes = blocks > 0 ? blocks * 512 : counts.text - before.text
  const bytesPerTransaction = bytes / transactions
  return {
    commitsPerSecond: commits / seconds,
    transactionsPerSecond: transactions / seconds,
    bytesPerTransaction,
    cpuUs: (user + system) / commits,
    syncsPerSecond: syncsPerSecond(path.join(directory, 'floor'), bytesPerTransaction, measureMs),
  }
}

/** Appends as SQLite does to its log, whole pages, and waits each time until they are on the disk. */
function syncsPerSecond(file: string, bytes: number, forMs: number): number {
  const chunk = Buffer.alloc(Math.max(1, Math.round(bytes / pageBytes)) * pageBytes, 1)
  // As large as SQLite's log becomes before it starts again.
  const size = 1_000 * pageBytes
  const descriptor = openSync(file, 'w')
  const start = performance.now()
  let done = 0
  let at = 0
  while (performance.now() - start < forMs) {
    writeSync(descriptor, chunk, 0, chunk.length, at)
    fsyncSync(descriptor)
    done += 1
    at = at + chunk.length > size ? 0 : at + chunk.length
  }
  const perSecond = done / ((performance.now() - start) / 1_000)
  closeSync(descriptor)
  return perSecond
}
