import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { contentOf, errorOf, opened, redisFor } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { at, batchOf, contextId, store, storeMany, synced } from '../../testing/contract/kit.ts'
import type { RedisServer } from '../../testing/redis-server.ts'
import type { ContextBackend } from '../backend.ts'

/** The end of a call: nothing was done, and it may be tried again. */
const held = { code: 'backend_unavailable', retryable: true }

/** Waits until the backend answers again. */
const answers = (backend: ContextBackend): Promise<void> =>
  until(() =>
    backend.heads([contextId]).then(
      () => true,
      () => false,
    ),
  )

/** Whether Redis answers a read with an error of this kind. */
const refusedAs = (client: Redis, reason: string): Promise<boolean> =>
  client.get('x').then(
    () => false,
    (error: Error) => error.message.startsWith(reason),
  )

const caught = (error: unknown): unknown => error

/** A setting of INFO, read until it has a value. */
const untilInfo = (admin: Redis, line: RegExp): Promise<void> => until(async () => line.test(await admin.info()))

test('F5: a Redis that cannot write to its disk takes no commit, reads go on, and commits too once it can', async () => {
  const { server, admin } = await redisFor({ settings: { save: '3600 1' } })
  const backend = await opened(server.url)
  const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
  const inTheWay = join(server.directory, 'dump.rdb')
  await mkdir(join(inTheWay, 'full'), { recursive: true })
  await admin.bgsave()
  await untilInfo(admin, /rdb_last_bgsave_status:err/)
  const before = await contentOf(admin)
  for (const batch of [batchOf({ base, members: [{ stream: at(2) }] }), batchOf({ contextId: 'new' })]) {
    expect(await errorOf(backend.commit(batch))).toMatchObject({ ...held, message: expect.stringContaining('disk') })
  }
  expect((await synced(backend)).row!.head).toEqual(base)
  expect(await contentOf(admin)).toEqual(before)
  await rm(inTheWay, { recursive: true })
  await admin.bgsave()
  await untilInfo(admin, /rdb_last_bgsave_status:ok/)
  await store(backend, { base, members: [{ stream: at(2) }] })
})

/** Repairs an append-only file as an operator does: what comes after the damage goes. */
async function repair(file: string): Promise<void> {
  const program = (process.env['REDIS_SERVER'] || 'redis-server').replace('-server', '-check-aof')
  const child = spawn(program, ['--fix', file], { stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin.end('y\n')
  expect(await once(child, 'exit')).toEqual([0, null])
}

const logFileOf = (server: RedisServer): string => join(server.directory, 'appendonlydir', 'appendonly.aof.1.incr.aof')

test('F5, P11: a Redis whose append-only file is damaged does not start; repaired, it has lost commits, and says so to who saw them', async () => {
  const { server } = await redisFor({ appendOnly: 'always' })
  const backend = await opened(server.url)
  const batches = await storeMany(backend, 3, { pad: 500, members: [{}] })
  const whole = (await readFile(logFileOf(server))).length
  const lost = await store(backend, { base: batches[2]!.head, pad: 500, members: [{ stream: at(1) }] })
  await server.kill()
  const damaged = await readFile(logFileOf(server))
  damaged.fill('?', whole, whole + 60)
  await writeFile(logFileOf(server), damaged)
  await expect(server.restart()).rejects.toThrow('Bad file format')
  expect(await errorOf(backend.load(contextId))).toMatchObject(held)
  expect(await errorOf(backend.commit(batchOf({ base: lost.head })))).toMatchObject(held)
  await repair(logFileOf(server))
  await server.restart()
  await answers(backend)
  const answer = await synced(backend, { head: lost.head, stream: { told: 1 } })
  expect(answer).toMatchObject({ rolledBack: true, row: { head: batches[2]!.head }, record: { epoch: 1 } })
  await store(backend, { base: batches[2]!.head, members: [{ stream: at(1, { epoch: 1 }) }] })
})

test('F10: a primary without enough replicas takes no commit, and nothing of it is stored later', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.config('SET', 'min-replicas-to-write', '1')
  const before = await contentOf(admin)
  expect(await errorOf(backend.commit(batchOf({ base })))).toMatchObject({ ...held, message: expect.stringContaining('replicas') })
  expect(await errorOf(backend.commit(batchOf({ contextId: 'new' })))).toMatchObject(held)
  expect((await backend.load(contextId))!.row.head).toEqual(base)
  expect(await contentOf(admin)).toEqual(before)
  await admin.config('SET', 'min-replicas-to-write', '0')
  await store(backend, { base })
})

test('F11: a Redis that is busy with somebody’s script is a held error, and all goes on when that has ended', async () => {
  const { server, admin } = await redisFor({ settings: { 'busy-reply-threshold': '10' } })
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  const endless = admin.eval('while true do end', 0).catch((error: Error) => error.message)
  const killer = new Redis(server.adminUrl, { enableReadyCheck: false })
  onTestFinished(() => killer.disconnect())
  await until(() => refusedAs(killer, 'BUSY'))
  const calls = [
    () => backend.commit(batchOf({ base, members: [{ stream: at(1) }] })),
    () => backend.load(contextId),
    () => backend.heads([contextId]),
  ]
  for (const call of calls) expect(await errorOf(call())).toMatchObject({ ...held, message: expect.stringContaining('busy') })
  await killer.script('KILL')
  expect(await endless).toContain('SCRIPT KILL')
  await answers(backend)
  expect(await backend.heads([contextId])).toEqual([base])
  await store(backend, { base, members: [{ stream: at(1) }] })
})

test('F11: while Redis is loading its data after a restart no context seems empty, and none can be created anew', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.eval("for n = 1, 100 do redis.call('SET', 'filler' .. n, string.rep('x', 4096)) end", 0)
  await admin.save()
  const restarted = server.restart({ 'key-load-delay': '8000', 'loading-process-events-interval-bytes': '1024' })
  let ended = false
  const end = restarted.then(() => (ended = true))
  const looking = new Redis(server.adminUrl, { enableReadyCheck: false, retryStrategy: () => 5, maxRetriesPerRequest: null })
  looking.on('error', () => {})
  onTestFinished(() => looking.disconnect())
  await until(() => refusedAs(looking, 'LOADING'))
  const later = opened(server.url)
  const loads: unknown[] = []
  const commits: unknown[] = []
  await until(async () => {
    loads.push(await backend.load(contextId).catch(caught))
    commits.push(await backend.commit(batchOf()).catch(caught))
    return ended
  })
  await end
  const refused = loads.filter((loaded) => loaded instanceof Error)
  expect(refused.length).toBeGreaterThan(0)
  for (const error of [...refused, ...commits.filter((answer) => answer instanceof Error)]) expect(error).toMatchObject(held)
  for (const loaded of loads.filter((one) => !(one instanceof Error))) expect(loaded).toMatchObject({ row: { head: base } })
  for (const answer of commits.filter((one) => !(one instanceof Error))) expect(answer).toMatchObject({ type: 'conflict', head: base })
  expect(await (await later).heads([contextId])).toEqual([base])
  await answers(backend)
  await store(backend, { base })
})

test('F43: a user who may no longer publish: what was stored is told as unknown, and found when it is sent again', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.call('ACL', 'SETUSER', 'limited', '-spublish')
  const batch = batchOf({ base, members: [{ stream: at(1) }], message: '["d",1]' })
  expect(await errorOf(backend.commit(batch))).toMatchObject({ code: 'timeout', details: { outcome: 'unknown' } })
  await admin.call('ACL', 'SETUSER', 'limited', '+spublish')
  expect(await backend.commit(batch)).toMatchObject({ type: 'members', answers: [{ answer: { type: 'repeat' } }] })
  expect(await backend.log(contextId, 1)).toEqual(batch.entries)
})

test('F43: a user who is switched off at run time: every call is a held error without a secret, until he is switched on', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head: base } = await store(backend)
  await admin.call('ACL', 'SETUSER', 'limited', 'off')
  await admin.call('CLIENT', 'KILL', 'USER', 'limited')
  await until(async () => (await errorOf(backend.load(contextId))).code === 'backend_unavailable')
  const calls = [backend.load(contextId), backend.commit(batchOf({ base })), backend.heads([contextId])]
  for (const error of await Promise.all(calls.map(errorOf))) {
    expect(error).toMatchObject(held)
    expect(error.message).not.toMatch(/sesame|limited|WRONGPASS/)
  }
  await admin.call('ACL', 'SETUSER', 'limited', 'on')
  await answers(backend)
  await store(backend, { base })
})
