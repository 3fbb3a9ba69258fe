import { availableParallelism } from 'node:os'
import { expect, test } from 'vitest'
import { bundleWorker } from './bundle.ts'
import { operationsPerSeed, runSeeds, runWork } from './gate.ts'
import { runSeed } from './simulation.ts'
import { schedules } from './schedules/all.ts'
import { Trace } from './trace.ts'

const seeds = 2_000

test(`${seeds} seeds of ${operationsPerSeed} operations break no guarantee`, { timeout: 300_000 }, async () => {
  const result = await runSeeds(1, seeds, operationsPerSeed, Math.min(2, availableParallelism()))
  expect(result.failed).toBeNull()
  expect(result.seeds).toBe(seeds)
})

function traceOf(seed: number): Trace {
  const trace = new Trace(true)
  runSeed(seed, 60, trace)
  return trace
}

test('a seed runs the same way each time, to the byte', () => {
  const first = traceOf(7)
  expect(first.lines.length).toBeGreaterThan(100)
  expect(traceOf(7).lines).toEqual(first.lines)
  expect(traceOf(7).hash).toBe(first.hash)
  expect(traceOf(8).hash).not.toBe(first.hash)
})

test.each([...schedules.keys()])('schedule: %s', async (name) => {
  const { failed } = await runWork(await bundleWorker(null), {
    schedules: [name],
    firstSeed: 1,
    lastSeed: 0,
    operations: 0,
    checksOnly: false,
  })
  expect(failed).toBeNull()
})
