import { parseArgs } from 'node:util'
import { serve } from './child-server.ts'
import type { Role } from './child-server.ts'
import { chordSuite, chordTask } from './chord.ts'
import type { ChordTask } from './chord.ts'
import { costSuite } from './cost.ts'
import { costTask } from './cost-load.ts'
import type { CostTask } from './cost-load.ts'
import { print } from './report.ts'
import type { Report } from './report.ts'
import { storeNames } from './stores.ts'
import type { StoreName } from './stores.ts'
import { answerTask } from './task.ts'
import { wireSuite } from './wire.ts'

const usage = `usage: npm run bench -- [suite] [options]

suites: wire      commits, latency and fan-out over sockets, beside plain Socket.IO (default; --stores, --seconds)
        chord     Chord's four scenarios in memory and on Redis (--rounds, --seconds, --only)
        cost      what a small commit costs, by the size of the state (--rounds, --stores)
options: --stores memory,sqlite,redis   --seconds N   --rounds N   --only TEXT   --markdown`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    serve: { type: 'string' },
    task: { type: 'string' },
    stores: { type: 'string', default: storeNames.join(',') },
    seconds: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    markdown: { type: 'boolean', default: false },
  },
})
const stores = values.stores.split(',')
const rounds = Number(values.rounds)
const seconds = (fallback: number): number => Number(values.seconds ?? fallback)

/** The suites that measure in this process and its children, by name. */
const suites: { readonly [name: string]: () => Promise<Report> } = {
  chord: () => chordSuite(rounds, seconds(5), values.only),
  cost: () => costSuite(stores as StoreName[], rounds),
}

async function runTask(text: string): Promise<void> {
  const { suite, task } = JSON.parse(text) as { suite: string; task: unknown }
  if (suite === 'chord') await answerTask(await chordTask(task as ChordTask))
  if (suite === 'cost') await answerTask(await costTask(task as CostTask))
}

const [suite = 'wire'] = positionals
const valid =
  positionals.length <= 1 &&
  stores.every((store) => (storeNames as readonly string[]).includes(store)) &&
  seconds(1) > 0 &&
  seconds(1) <= 60 &&
  Number.isInteger(rounds) &&
  rounds > 0
if (values.serve !== undefined) await serve(JSON.parse(values.serve) as Role)
else if (values.task !== undefined) await runTask(values.task)
else if (valid && suite === 'wire') await wireSuite(stores, { warmMs: 1_000, measureMs: seconds(4) * 1_000 })
else if (valid && Object.hasOwn(suites, suite)) print(await suites[suite]!(), values.markdown)
else {
  console.error(usage)
  process.exitCode = 2
}
