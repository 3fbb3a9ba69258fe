import { Worker } from 'node:worker_threads'
import { bundleWorker } from './bundle.ts'
import type { Mutant } from './mutant.ts'
import type { Work, WorkResult } from './worker.ts'

/** Runs a piece of work in a thread. */
export function runWork(file: string, work: Work): Promise<WorkResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(file, { workerData: work })
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`the thread ended with ${code} before its work`)))
  })
}

/** Runs seeds on several threads; each takes the next few when it is done with its last. */
export async function runSeeds(first: number, last: number, operations: number, threads: number): Promise<WorkResult> {
  const file = await bundleWorker(null)
  const portion = 50
  let next = first
  let sum: WorkResult = { seeds: 0, steps: 0, failed: null }
  const thread = async (): Promise<void> => {
    while (next <= last && sum.failed === null) {
      const firstSeed = next
      next += portion
      const result = await runWork(file, {
        schedules: [],
        firstSeed,
        lastSeed: Math.min(last, firstSeed + portion - 1),
        operations,
        checksOnly: false,
      })
      sum = { seeds: sum.seeds + result.seeds, steps: sum.steps + result.steps, failed: sum.failed ?? result.failed }
    }
  }
  await Promise.all(Array.from({ length: threads }, thread))
  return sum
}

/** How a mutant was caught; null: it was not. */
export type Catch = WorkResult['failed']

/** Operations of a seed in the mutant gate, as everywhere. */
export const operationsPerSeed = 300
/** Seeds after which a mutant counts as not caught. */
const mostSeeds = 400

/** Tries to catch a mutant where it is known to be caught, and if that fails, everywhere. */
export async function catchMutant(mutant: Mutant, lastSeed: number = mostSeeds): Promise<Catch> {
  const file = await bundleWorker(mutant)
  const known = mutant.caughtBy
  const nothing: Work = { schedules: [], firstSeed: 1, lastSeed: 0, operations: operationsPerSeed, checksOnly: true }
  const there = typeof known === 'number' ? { ...nothing, firstSeed: known, lastSeed: known } : { ...nothing, schedules: [known] }
  const { failed } = await runWork(file, there)
  return failed ?? (await runWork(file, { ...nothing, schedules: 'all', lastSeed })).failed
}

/** The table of mutants and what caught them. */
export function mutantTable(mutants: readonly Mutant[], caught: ReadonlyMap<string, Catch>): string {
  const rows = mutants.map(({ name, rule }) => {
    const by = caught.get(name)
    return [rule, name, by ? by.run : 'NOT CAUGHT', by?.violation.split('\n')[0]?.slice(0, 90) ?? '']
  })
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
