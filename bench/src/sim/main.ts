import { parseArgs } from 'node:util'
import { catchMutant, mutantTable, operationsPerSeed, runSeeds, runWork } from './gate.ts'
import type { Catch } from './gate.ts'
import { bundleWorker } from './bundle.ts'
import { mutants } from './mutants.ts'
import { runSeed } from './simulation.ts'
import { Trace } from './trace.ts'

const usage = `usage: npm run sim -- [options]
  --seeds A..B     run these seeds (default 1..2000)
  --seed N         run one seed and print its trace and the trace's hash, the same each time
  --ops N          writes per seed (default ${operationsPerSeed})
  --threads N      seeds and mutants at one time (default 2)
  --schedules      run the directed schedules
  --mutants [--only TEXT]   switch each rule off in turn, and print what catches it`

/** Ends with 0: every check held; 1: a violation; 2: usage. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '1..2000' },
      seed: { type: 'string' },
      ops: { type: 'string', default: String(operationsPerSeed) },
      threads: { type: 'string', default: '2' },
      schedules: { type: 'boolean', default: false },
      mutants: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
    },
  })
  const operations = whole(values.ops)
  const threads = whole(values.threads)
  if (values.seed !== undefined) return traceSeed(whole(values.seed), operations)
  if (values.mutants) return await gateMutants(threads, values.only)
  if (values.schedules) return await allSchedules()
  const [first, last] = values.seeds.split('..').map(whole)
  return await allSeeds(first!, last ?? first!, operations, threads)
}

function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new TypeError(`not a whole number: ${text}`)
  return Number(text)
}

function traceSeed(seed: number, operations: number): number {
  const trace = new Trace(true)
  const { violation, steps } = runSeed(seed, operations, trace)
  for (const line of trace.lines) console.log(line)
  console.log(`seed ${seed}: ${operations} operations, ${steps} steps, trace ${trace.hash}, ${violation ?? 'no violation'}`)
  return violation === null ? 0 : 1
}

async function allSeeds(first: number, last: number, operations: number, threads: number): Promise<number> {
  const begun = performance.now()
  const { seeds, steps, failed } = await runSeeds(first, last, operations, threads)
  const seconds = ((performance.now() - begun) / 1_000).toFixed(1)
  console.log(`${seeds} seeds, ${seeds * operations} operations, ${steps} steps in ${seconds} s on ${threads} threads`)
  console.log(failed ? `VIOLATION in ${failed.run}: ${failed.violation}` : 'no violation')
  return failed ? 1 : 0
}

async function allSchedules(): Promise<number> {
  const { failed } = await runWork(await bundleWorker(null), {
    schedules: 'all',
    firstSeed: 1,
    lastSeed: 0,
    operations: 0,
    checksOnly: false,
  })
  console.log(failed ? `VIOLATION in ${failed.run}: ${failed.violation}` : 'all schedules hold')
  return failed ? 1 : 0
}

async function gateMutants(threads: number, only: string): Promise<number> {
  const caught = new Map<string, Catch>()
  const chosen = mutants.filter(({ name }) => name.includes(only))
  const waiting = [...chosen]
  const thread = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant; mutant = waiting.shift()) caught.set(mutant.name, await catchMutant(mutant))
  }
  await Promise.all(Array.from({ length: threads }, thread))
  console.log(mutantTable(chosen, caught))
  const missed = chosen.filter(({ name }) => !caught.get(name))
  console.log(`${chosen.length - missed.length} of ${chosen.length} mutants caught`)
  return missed.length === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof TypeError)) throw error
  console.error(`${error.message}\n${usage}`)
  process.exitCode = 2
}
