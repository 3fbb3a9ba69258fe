// One of several nodes with one source: node refresh.mjs <redis url> <name> <clock skew, ms> <lease, ms> <interval, ms>
// Tells whether it leads, and ends cleanly when it is told anything. Each row carries who fetched it, the fencing token, and the number of the fetch.
import { setTimeout as pause } from 'node:timers/promises'
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'

const [url, name, ...numbers] = process.argv.slice(2)
const [skew, leaseMs, refreshIntervalMs] = numbers.map(Number)
const contexts = createContexts({
  backend: redisBackend(url),
  leaseMs,
  deltaThreshold: 10_000,
  clock: { now: () => Date.now() + skew },
})
let n = 0
const source = contexts.addSource({
  contextId: 'board',
  params: { rows: 20 },
  fetch: async ({ rows }, { token }) => {
    n += 1
    const fetched = Array.from({ length: rows }, (_, index) => ({ id: `r${index}`, by: name, token, n }))
    // Long enough to be stopped in the middle of.
    await pause(refreshIntervalMs / 4)
    return fetched
  },
  refreshIntervalMs,
  materialize: [
    { key: 'board:list', type: 'list' },
    { key: 'board:hash', type: 'hash', idProp: 'id' },
    { key: 'board:set', type: 'set' },
    { key: 'board:string', type: 'string' },
  ],
})
let told = null
source.subscribe(({ leader }) => {
  if (leader !== told) process.send({ leader })
  told = leader
})
process.once('message', async () => {
  await contexts.close()
  process.disconnect()
})
process.send({ leader: false })
