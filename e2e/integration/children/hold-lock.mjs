// Takes the lock of a key, and writes to it, one write after the other, until one is refused:
// node hold-lock.mjs <redis url> <context> <engine|class> <lease, ms>
import { Contextd, createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'

const [url, id, way, lease] = process.argv.slice(2)
const code = (promise) => promise.then(() => 'ok').catch((error) => error.code)

const ways = {
  async engine() {
    const contexts = createContexts({ backend: redisBackend(url) })
    const lock = await contexts.lock(id, 'title', { ttlMs: Number(lease) })
    return {
      write: (title) => contexts.update(id, { title }, { lock }),
      after: async () => ({ aborted: lock.signal.aborted, extend: await code(lock.extend()), release: await code(lock.release()) }),
      close: () => contexts.close(),
    }
  },
  async class() {
    const context = new Contextd({ contextKey: id, redisUrl: url })
    await context.acquireLock({ key: 'title', lockTimeout: Number(lease) })
    return {
      write: (title) => context.updateContext('title', title),
      after: async () => ({
        again: await code(context.updateContext('title', 'stale')),
        release: await code(context.releaseLock({ key: 'title' })),
      }),
      close: () => context.close(),
    }
  },
}

const holder = await ways[way]()
try {
  for (let n = 0; ; n += 1) {
    await holder.write(`stopped ${n}`)
    process.send({ acknowledged: n })
  }
} catch (error) {
  process.send({ outcome: { refused: error.code, ...(await holder.after()) } })
}
await holder.close()
process.disconnect()
