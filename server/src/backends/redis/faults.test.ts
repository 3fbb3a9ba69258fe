import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { ContextdError } from '@contextd/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { FaultyProxy } from '../../../support/faulty-proxy.ts'
import { contentOf, errorOf, opened, redisFor } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { at, batchOf, contextId, everything, queryOf, stateAt, store, storeMany, synced } from '../../testing/contract/kit.ts'
import { noHead } from '../backend.ts'
import type { CommitBatch, CommitResult, ContextBackend } from '../backend.ts'
import { namesOf } from './keys.ts'
import { redisBackend } from './redis.ts'

/** So that what is never answered is given up soon. */
const redisOptions = { commandTimeout: 1_000 }
const keys = namesOf('contextd', 'contextd').context(contextId)
const listAll = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

/** Waits until the backend answers again. */
const answers = (backend: ContextBackend): Promise<void> =>
  until(() =>
    backend.heads([contextId]).then(
      () => true,
      () => false,
    ),
  )

async function proxied(port: number): Promise<FaultyProxy> {
  const proxy = await FaultyProxy.to(port)
  onTestFinished(() => proxy.close())
  return proxy
}

test('F14: scripts that Redis has forgotten are sent again, also when many calls find that at once', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const [, second] = await storeMany(backend, 2)
  const calls = [
    () => store(backend, { base: second!.head }),
    () => synced(backend, { stream: { epoch: 2 } }),
    () => backend.load(contextId),
    () => backend.log(contextId, 0),
    () => store(backend, { contextId: 'other' }),
    () => backend.list(listAll),
  ]
  for (const call of calls) {
    await admin.script('FLUSH')
    await call()
  }
  await admin.script('FLUSH')
  await Promise.all(Array.from({ length: 50 }, (_, index) => store(backend, { contextId: `at-once-${index}` })))
  expect(await backend.list(listAll)).toHaveLength(52)
})

test.each([
  ['of a stream', [{ stream: at(1) }, { stream: at(2) }]],
  ['of the server', [{}, {}]],
])(
  'F2, G3, P6, P7: a batch %s whose answer was lost is told as unknown, and stored once when it is sent again',
  async (_whose, members) => {
    const { server } = await redisFor()
    const proxy = await proxied(server.port)
    const backend = await opened({ url: proxy.url, redisOptions })
    const { head: base } = await store(backend)
    const batch = batchOf({ base, members })
    proxy.mode = 'drop replies'
    expect(await errorOf(backend.commit(batch))).toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
    proxy.mode = 'pass'
    await answers(backend)
    const repeats = batch.members.map(({ verdict }, member) => ({ member, answer: { type: 'repeat', verdict } }))
    const ofStream = { type: 'members', answers: repeats }
    const ofServer = { type: 'conflict', head: batch.head, missed: batch.entries }
    expect(await backend.commit(batch)).toEqual(batch.members[0]!.stream ? ofStream : ofServer)
    expect(await backend.log(contextId, 1)).toEqual(batch.entries)
  },
)

test('F18: what is under way when the connection is cut is told at once, without waiting for its time', async () => {
  const { server, admin } = await redisFor()
  const proxy = await proxied(server.port)
  const backend = await opened({ url: proxy.url, redisOptions: { commandTimeout: 600_000 } })
  const { head: base } = await store(backend)
  proxy.mode = 'drop replies'
  const calls = [backend.commit(batchOf({ base })), backend.load(contextId)]
  const errors = Promise.all(calls.map(errorOf))
  await until(async () => (await admin.llen(keys[2])) === 2)
  proxy.cut()
  expect((await errors).map(({ code }) => code)).toEqual(['timeout', 'backend_unavailable'])
})

test('F18: a commit that is told as not written is never written later', async () => {
  const { server } = await redisFor()
  const proxy = await proxied(server.port)
  const backend = await opened({ url: proxy.url, redisOptions })
  const { head: base } = await store(backend)
  proxy.mode = 'refuse'
  proxy.cut()
  await until(async () => (await errorOf(backend.heads([contextId]))).code === 'backend_unavailable')
  for (let count = 0; count < 20; count += 1) {
    expect(await errorOf(backend.commit(batchOf({ base })))).toMatchObject({ code: 'backend_unavailable' })
  }
  proxy.mode = 'pass'
  await answers(backend)
  expect(await backend.heads([contextId])).toEqual([base])
})

/** Commits a batch, and sends it again for as long as it is not known what became of it. */
async function commitSurely(backend: ContextBackend, batch: CommitBatch): Promise<CommitResult> {
  for (;;) {
    const result = await backend.commit(batch).catch((error: unknown) => error as ContextdError)
    if (!(result instanceof Error)) return result
    if (result.code !== 'timeout' && result.code !== 'backend_unavailable') throw result
    await setTimeout(5)
  }
}

/** Commits one after another on a stream; returns the revisions under which they are stored. */
async function write(backend: ContextBackend, key: string, count: number): Promise<string[]> {
  const stored: string[] = []
  let base = noHead
  while (stored.length < count) {
    const batch = batchOf({ base, members: [{ stream: at(stored.length + 1, { key }) }] })
    const result = await commitSurely(backend, batch)
    if (result.type === 'committed') stored.push(batch.head.revision)
    if (result.type === 'members') stored.push(repeatedRevision(result))
    base = result.type === 'conflict' ? result.head : batch.head
  }
  return stored
}

function repeatedRevision({ answers: [first] }: CommitResult & { type: 'members' }): string {
  const answer = first!.answer
  if (answer.type !== 'repeat' || answer.verdict.type !== 'applied') throw new Error(`A commit was answered ${JSON.stringify(answer)}.`)
  return answer.verdict.head!.revision
}

async function expectOnce(backend: ContextBackend, written: readonly string[][]): Promise<void> {
  const log = await backend.log(contextId, 0)
  expect(log.map(({ version }) => version)).toEqual(Array.from({ length: written.flat().length }, (_, index) => index + 1))
  expect(log.map(({ revision }) => revision).toSorted()).toEqual(written.flat().toSorted())
}

test('F2, G3: connections that are killed while commits are under way lose and double nothing', async () => {
  const { server, admin } = await redisFor()
  const backends = await Promise.all([opened(server.url), opened(server.url)])
  const writers = Promise.all(backends.flatMap((backend, index) => [write(backend, `a${index}`, 60), write(backend, `b${index}`, 60)]))
  let killed = 0
  const killing = new AbortController()
  const killer = (async () => {
    while (!killing.signal.aborted) {
      const clients = (await admin.client('LIST')) as string
      for (const [, id] of clients.matchAll(/^id=(\d+) .* name=contextd /gm)) killed += Number(await admin.client('KILL', 'ID', id!))
      await setTimeout(25)
    }
  })()
  const written = await writers
  killing.abort()
  await killer
  expect(killed).toBeGreaterThan(4)
  await answers(backends[0]!)
  await expectOnce(backends[0]!, written)
}, 60_000)

test('F3, G3, G4: Redis that crashes, is gone, and comes back has every acknowledged commit once', async () => {
  const { server } = await redisFor({ appendOnly: 'always' })
  const backend = await opened(server.url)
  const writers = ['a', 'b', 'c'].map((key) => write(backend, key, 80))
  for (const versions of [20, 90, 170]) {
    await until(async () => ((await backend.heads([contextId]).catch(() => [noHead]))[0]?.version ?? 0) >= versions)
    await server.kill()
    const calls = [backend.heads([contextId]), backend.load(contextId), backend.sync(queryOf()), backend.list(listAll)]
    for (const error of await Promise.all(calls.map(errorOf))) expect(error).toMatchObject({ code: 'backend_unavailable', retryable: true })
    await server.restart()
  }
  await expectOnce(backend, await Promise.all(writers))
}, 60_000)

test('F18: a Redis that hangs is given up, and what was sent to it is told as unknown; the rest fails at once', async () => {
  const { server } = await redisFor()
  const backend = await opened({ url: server.url, redisOptions })
  const { head: base } = await store(backend)
  const batch = batchOf({ base, members: [{ stream: at(1) }] })
  server.freeze()
  expect(await errorOf(backend.commit(batch))).toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
  await until(async () => (await errorOf(backend.load(contextId))).code === 'backend_unavailable')
  expect(await errorOf(backend.commit(batchOf({ base })))).toMatchObject({ code: 'backend_unavailable' })
  server.thaw()
  await answers(backend)
  const again = await backend.commit(batch)
  expect(['committed', 'members']).toContain(again.type)
  expect(await backend.log(contextId, 1)).toEqual(batch.entries)
}, 30_000)

test('F8: out of memory: a commit is refused whole, reads and syncs go on, a delete makes room', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { pad: 20_000, members: [{ stream: at(1) }] })
  const second = await store(backend, { base })
  await admin.config('SET', 'maxmemory', '1')
  const before = await contentOf(admin)
  const trimming = { base: second.head, snapshot: true, retention: { maxVersions: 1 } }
  const refused: CommitBatch[] = [
    batchOf(trimming),
    batchOf({ ...trimming, members: [{ stream: at(2) }] }),
    batchOf({ base: second.head, members: [{ stream: at(2), verdict: 'refused' }] }),
    batchOf({ contextId: 'new' }),
  ]
  for (const batch of refused) expect(await errorOf(backend.commit(batch))).toMatchObject({ code: 'backend_unavailable', retryable: true })
  expect(await errorOf(backend.sync(queryOf({ stream: { epoch: 3 } })))).toMatchObject({ code: 'backend_unavailable' })
  expect(await contentOf(admin)).toEqual(before)

  expect((await synced(backend, { head: base })).way).toBe('since')
  expect((await synced(backend)).snapshot).toBe(stateAt(1, 20_000))
  expect((await backend.load(contextId))!.entries).toEqual(second.entries)
  expect(await backend.log(contextId, 1)).toEqual(second.entries)
  expect(await backend.list(listAll)).toHaveLength(1)
  await store(backend, { base: second.head, remove: true })
  await admin.config('SET', 'maxmemory', '0')
  await store(backend, { contextId: 'new' })
})

test('F10: a primary that has become a replica refuses commits, and takes them when it is primary again', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  const before = await contentOf(admin)
  await admin.call('REPLICAOF', '127.0.0.1', '1')
  let refused = 0
  await until(async () => {
    const error = await errorOf(backend.commit(batchOf({ base, members: [{ stream: at(1) }] })))
    expect(error).toMatchObject({ code: 'backend_unavailable', retryable: true })
    refused += error.message.includes('replica') ? 1 : 0
    return refused > 2
  })
  await answers(backend)
  expect(await backend.heads([contextId])).toEqual([base])
  expect(await contentOf(admin)).toEqual(before)
  await admin.call('REPLICAOF', 'NO', 'ONE')
  await answers(backend)
  await store(backend, { base })
})

test('F43: errors at run time carry no password, no address, no data and no word of Redis', async () => {
  const { server, admin } = await redisFor({ password: 'sesame-1234' })
  const backend = await opened({ url: server.url, redisOptions })
  const { head: base } = await store(backend)
  const errors: ContextdError[] = []
  await admin.config('SET', 'maxmemory', '1')
  errors.push(await errorOf(backend.commit(batchOf({ base, pad: 50 }))))
  await admin.config('SET', 'maxmemory', '0')
  await admin.del(keys[3])
  await admin.set(keys[3], 'x')
  errors.push(await errorOf(backend.commit(batchOf({ base, pad: 50 }))))
  server.freeze()
  errors.push(await errorOf(backend.commit(batchOf({ base, pad: 50 }))))
  server.thaw()
  await server.kill()
  await until(async () => (await errorOf(backend.load(contextId))).code === 'backend_unavailable')
  errors.push(await errorOf(backend.commit(batchOf({ base, pad: 50 }))))
  expect(errors.map(({ code }) => code)).toEqual(['backend_unavailable', 'backend_unavailable', 'timeout', 'backend_unavailable'])
  for (const error of errors) {
    const { message, code, details, cause } = error
    expect(inspect({ message, code, details, cause }, { depth: 10 })).not.toMatch(/sesame|127\.0\.0\.1|xxxx|\bOOM\b|WRONGTYPE|ERR |eval/i)
    expect(Object.values(error)).not.toContainEqual(expect.objectContaining({ command: expect.anything() }))
  }
}, 20_000)

test('calls before open and after close are refused', async () => {
  const { server } = await redisFor()
  const backend = redisBackend(server.url)
  expect(await errorOf(backend.load(contextId))).toMatchObject({ code: 'backend_unavailable', message: expect.stringContaining('open()') })
  await backend.open()
  await store(backend)
  expect(await everything(backend)).toBeDefined()
  await backend.close()
  const calls = [backend.load(contextId), backend.commit(batchOf()), backend.open()]
  for (const error of await Promise.all(calls.map(errorOf))) expect(error).toMatchObject({ code: 'closed' })
  await backend.close()
})
