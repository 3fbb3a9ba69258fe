// Many writers in a process of their own, which tell what became of each write: node mixed-writer.mjs <what `mixed-writers.ts` hands over, as JSON>
import { setTimeout } from 'node:timers/promises'
import { Contextd, createContexts } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'

const { redis, name, writers, writes, ids, leaseMs } = JSON.parse(process.argv[2])
const contexts = createContexts({ backend: redisBackend(redis) })
// Each has connections of its own: of some contexts only.
const classes = new Map(ids.slice(0, 4).map((id) => [id, new Contextd({ contextKey: id, backend: redisBackend(redis) })]))

// Of the machine, not of the process.
const now = () => Number(process.hrtime.bigint()) / 1e6

/** Makes one write and tells what became of it; false: it was not stored, or that is not known. */
async function tell({ token, contextId, kind }, attempt) {
  const begun = now()
  const told = { type: 'write', token, contextId, kind, begun }
  try {
    const made = await attempt()
    const { version, revision } = made?.context ?? {}
    process.send({ ...told, ended: now(), outcome: 'stored', version, revision })
    return true
  } catch (error) {
    const outcome = error.code === 'timeout' && error.details?.outcome === 'unknown' ? 'unknown' : 'refused'
    process.send({ ...told, ended: now(), outcome, code: error.code, message: String(error.message) })
    return false
  }
}

/** Does something under a lock, and tells how long this process took it for held. `take` tries once: false, while another holds it. */
async function holding({ token, contextId, key }, take, work, release) {
  let asked
  try {
    for (asked = now(); !(await take()); asked = now()) await setTimeout(40)
  } catch (error) {
    if (error.code !== 'backend_unavailable') process.send({ type: 'failed', token, message: `lock: ${error.code}: ${error.message}` })
    return false
  }
  // The clock of Redis goes in whole ms.
  process.send({ type: 'held', token, contextId, key, granted: now(), until: asked + leaseMs - 1 })
  const done = await work()
  process.send({ type: 'freed', token, at: now() })
  // Where it cannot be given back its lease ends it.
  await release().catch(() => {})
  return done
}

const kinds = {
  transact: ({ token, contextId }) =>
    tell({ token, contextId, kind: 'transact' }, () =>
      contexts.transact(
        contextId,
        (draft) => {
          draft.count += 1
          draft.entries.push(token)
        },
        { retries: 10_000 },
      ),
    ),

  update: ({ token, contextId }) =>
    tell({ token, contextId, kind: 'update' }, () => contexts.update(contextId, { marks: { [token]: true } })),

  class: ({ token, contextId, writer }) =>
    tell({ token, contextId, kind: 'class' }, () => classes.get(contextId).updateContext(`own-${name}-${writer}`, token)),

  // Two commits under one lock.
  section: async ({ token, contextId }) => {
    let lock
    const append = (step) =>
      tell({ token: `${token}${step}`, contextId, kind: 'section' }, () => {
        const operation = { type: 'insert', path: ['sections'], values: [`${token}${step} ${lock.token}`], at: 'end' }
        return contexts.apply(contextId, [operation], { lock })
      })
    return await holding(
      { token, contextId, key: 'section' },
      async () => {
        lock = await contexts.lock(contextId, 'section', { ttlMs: leaseMs, maxRetries: 0 }).catch((error) => {
          if (error.code === 'locked') return null
          throw error
        })
        return lock !== null
      },
      async () => {
        if (!(await append('<'))) return false
        await setTimeout(5)
        return await append('>')
      },
      () => lock.release(),
    )
  },

  // Read, computed and written under a lock of the class.
  turn: async ({ token, contextId }) => {
    const context = classes.get(contextId)
    return await holding(
      { token, contextId, key: 'turn' },
      () => context.acquireLock({ key: 'turn', lockTimeout: leaseMs, maxRetries: 0 }),
      async () => {
        const { turn } = await context.getContext()
        return await tell({ token, contextId, kind: 'turn' }, () => context.updateContext('turn', { count: turn.count + 1, token }))
      },
      () => context.releaseLock({ key: 'turn' }),
    )
  },
}
const order = ['transact', 'update', 'class', 'section', 'transact', 'update', 'class', 'turn']

const end = { told: false }

/** Writes what it has to, and goes on without hurry until the end is told: whoever is killed or stopped is in the middle of it. */
async function write(writer) {
  let stored = 0
  for (let n = 0; stored < writes || !end.told; n += 1) {
    if (stored >= writes) await setTimeout(250)
    const kind = order[(writer + stored) % order.length]
    const among = kind === 'class' || kind === 'turn' ? [...classes.keys()] : ids
    const contextId = among[(writer * 3 + (writer >> 3) + stored) % among.length]
    if (await kinds[kind]({ token: `${name}.${writer}.${n}`, writer, contextId })) stored += 1
    else await setTimeout(50)
  }
}

// The store may be away just now.
async function initialize(context) {
  try {
    await context.initialize()
  } catch {
    await setTimeout(50)
    await initialize(context)
  }
}
await Promise.all([...classes.values()].map(initialize))
const told = new Promise((resolve) => {
  process.on('message', (message) => {
    if (message === 'end') end.told = true
    resolve()
  })
})
process.send({ type: 'ready' })
await told
await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)))
await Promise.all([...classes.values()].map((context) => context.close()))
await contexts.close()
process.send({ type: 'done' }, () => process.disconnect())
