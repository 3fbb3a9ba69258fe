import { parentPort, workerData } from 'node:worker_threads'
import { runSchedule, schedules } from './schedules/all.ts'
import { runSeed } from './simulation.ts'

/** What a thread is to run: schedules first, then seeds, up to the first violation. */
export interface Work {
  readonly schedules: 'all' | readonly string[]
  readonly firstSeed: number
  /** Below `firstSeed`: no seeds. */
  readonly lastSeed: number
  readonly operations: number
  /** A rule is switched off: only a check that fails ends the work, not a core that breaks down or a schedule that goes another way. */
  readonly checksOnly: boolean
}

/** What a thread reports: after each run, or in the end. */
export interface WorkResult {
  readonly seeds: number
  readonly steps: number
  /** The first run that failed; null: none. */
  readonly failed: { readonly run: string; readonly violation: string } | null
}

function work({ schedules: names, firstSeed, lastSeed, operations, checksOnly }: Work): WorkResult {
  let steps = 0
  const ends = (violation: string | null): violation is string =>
    violation !== null && !(checksOnly && (violation.startsWith('crashed') || violation.startsWith('schedule')))
  for (const name of names === 'all' ? schedules.keys() : names) {
    const violation = runSchedule(name)
    if (ends(violation)) return { seeds: 0, steps, failed: { run: `schedule "${name}"`, violation } }
  }
  for (let seed = firstSeed; seed <= lastSeed; seed += 1) {
    const result = runSeed(seed, operations)
    steps += result.steps
    if (result.violation !== null)
      return { seeds: seed - firstSeed + 1, steps, failed: { run: `seed ${seed}`, violation: result.violation } }
  }
  return { seeds: lastSeed - firstSeed + 1, steps, failed: null }
}

// Refusals are errors by the thousand here, and nobody looks at where they come from.
Error.stackTraceLimit = 0
parentPort?.postMessage(work(workerData as Work))
