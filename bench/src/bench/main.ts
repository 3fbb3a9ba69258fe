import { parseArgs } from 'node:util'
import { serve } from './child-server.ts'
import type { Role } from './child-server.ts'
import { chordSuite, chordTask } from './chord.ts'
import type { ChordTask } from './chord.ts'
import { contextsSuite } from './contexts.ts'
import { contextsTask } from './contexts-load.ts'
import type { ContextsTask } from './contexts-load.ts'
import { costSuite } from './cost.ts'
import { costTask } from './cost-load.ts'
import type { CostTask } from './cost-load.ts'
import { diskSuite } from './disk.ts'
import { diskTask } from './disk-load.ts'
import type { DiskTask } from './disk-load.ts'
import { print } from './report.ts'
import type { Report } from './report.ts'
import { sourcesSuite } from './sources.ts'
import { serveSources } from './sources-load.ts'
import type { SourcesTask } from './sources-load.ts'
import { storeNames } from './stores.ts'
import type { StoreName } from './stores.ts'
import { answerTask } from './task.ts'
import { wireSuite } from './wire.ts'

const usage = `usage: npm run bench -- [suite] [options]

suites    wire      commits, latency and fan-out over sockets, beside plain Socket.IO (default)     --stores --seconds --rounds
          chord     Chord's four scenarios in memory and on Redis                                   --seconds --rounds --only
          cost      what a small commit costs, by the size of the state                             --stores --rounds
          contexts  memory of many contexts, and commits beside a cleanup                           --stores --rounds --count
          disk      commits on 200 contexts in SQLite, beside what the disk can do                  --seconds --rounds
          sources   a refreshed dashboard to 200 clients, beside a broadcast of all of it           --stores --rounds
          all       each of them in turn
options   --stores memory,sqlite,redis   --seconds N   --rounds N   --only 'redis steady'   --count N
          --markdown  tables only        --write  also into docs/benchmarks.md`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    serve: { type: 'string' },
    task: { type: 'string' },
    stores: { type: 'string', default: storeNames.join(',') },
    seconds: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string', default: '' },
    count: { type: 'string', default: '100000' },
    markdown: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const stores = values.stores.split(',') as StoreName[]
const seconds = (fallback: number): number => Number(values.seconds ?? fallback)
const rounds = (fallback: number): number => Number(values.rounds ?? fallback)

const suites: { readonly [name: string]: () => Promise<Report> } = {
  wire: () => wireSuite(stores, rounds(1), seconds(4)),
  chord: () => chordSuite(rounds(3), seconds(5), values.only),
  cost: () => costSuite(stores, rounds(3)),
  contexts: () => contextsSuite(stores, rounds(3), Number(values.count)),
  disk: () => diskSuite(rounds(3), seconds(5)),
  sources: () => sourcesSuite(stores, rounds(3)),
}

async function runTask(text: string): Promise<void> {
  const { suite, task } = JSON.parse(text) as { suite: string; task: unknown }
  if (suite === 'chord') await answerTask(await chordTask(task as ChordTask))
  if (suite === 'cost') await answerTask(await costTask(task as CostTask))
  if (suite === 'contexts') await answerTask(await contextsTask(task as ContextsTask))
  if (suite === 'disk') await answerTask(await diskTask(task as DiskTask))
  if (suite === 'sources') await serveSources(task as SourcesTask)
}

async function runSuites(names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (names.length > 1) console.log(`\n## ${name}\n`)
    print(name, await suites[name]!(), values)
  }
}

const [suite = 'wire'] = positionals
const valid =
  positionals.length <= 1 &&
  (suite === 'all' || Object.hasOwn(suites, suite)) &&
  stores.every((store) => storeNames.includes(store)) &&
  seconds(1) > 0 &&
  seconds(1) <= 60 &&
  Number.isInteger(rounds(1)) &&
  rounds(1) > 0 &&
  Number(values.count) >= 1_000
if (values.serve !== undefined) await serve(JSON.parse(values.serve) as Role)
else if (values.task !== undefined) await runTask(values.task)
else if (valid) await runSuites(suite === 'all' ? Object.keys(suites) : [suite])
else {
  console.error(usage)
  process.exitCode = 2
}
