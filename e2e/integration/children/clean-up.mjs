// Cleans up at an interval in a process of its own, and tells what each run removed: node clean-up.mjs <redis url> <options as JSON>
// Its clock is ahead by as much as its parent says, ms.
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'

const [url, options] = process.argv.slice(2)
let aheadMs = 0
process.on('message', (ms) => (aheadMs = ms))
const told = (details, message) => {
  if (message === 'cleaned up') process.send(details.contexts)
}
const contexts = createContexts({
  backend: redisBackend(url),
  ...JSON.parse(options),
  clock: { now: () => Date.now() + aheadMs },
  logger: { debug() {}, info: told, warn() {}, error() {} },
})
contexts.startCleanup({ intervalMs: 20 })
process.send('started')
