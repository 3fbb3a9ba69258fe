// Increments one counter from a process of its own: node increment.mjs <redis url> <calls>
import { createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'

const [url, calls] = process.argv.slice(2)
const contexts = createContexts({ backend: redisBackend(url) })
const increment = () =>
  contexts.transact(
    'shared:counter',
    (draft) => {
      draft.n += 1
      return draft.n
    },
    { initial: { n: 0 }, retries: 1_000 },
  )
const results = await Promise.all(Array.from({ length: Number(calls) }, increment))
await contexts.close()
process.send(results.map(({ context, result }) => ({ version: context.version, result })))
process.disconnect()
