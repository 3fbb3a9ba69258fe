// Cleans up at an interval in a process of its own, and tells each removal: node clean-up.mjs <redis url> <options as JSON>
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'

const [url, options] = process.argv.slice(2)
const told = (details, message) => {
  if (message === 'cleaned up') process.send(details.contexts)
}
const logger = { debug() {}, info: told, warn() {}, error() {} }
const contexts = createContexts({ backend: redisBackend(url), ...JSON.parse(options), logger })
contexts.startCleanup({ intervalMs: 20 })
process.send('started')
