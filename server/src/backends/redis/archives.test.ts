import type { Head, Verdict } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { contentOf, errorOf, opened, redisFor } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { appliedAt, at, author, batchOf, contextId, refused, sessionTtlMs, startAt, stateAt, store } from '../../testing/contract/kit.ts'
import { noHead } from '../backend.ts'
import type { ContextBackend, RestoreBatch, StoredStream } from '../backend.ts'
import type { StorePublishing } from '../publishing.ts'
import { namesOf } from './keys.ts'

const names = namesOf('contextd', 'contextd')
const keys = names.context(contextId)
const archived: Head = { incarnation: 'i-archive', version: 7, revision: 'r-archive' }
const listAll = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

const restoreOf = (spec: Partial<RestoreBatch> = {}): RestoreBatch => ({
  contextId,
  base: noHead,
  head: archived,
  now: startAt,
  sessionTtlMs,
  createdAt: startAt - 5_000,
  updatedAt: startAt - 1_000,
  updatedBy: author,
  schema: 3,
  snapshot: stateAt(7),
  streams: [],
  message: null,
  ...spec,
})

async function listened(backend: ContextBackend): Promise<string[]> {
  const heard: string[] = []
  const publishing = backend.publishing as StorePublishing
  publishing.subscribe(contextId, (message) => heard.push(message))
  await publishing.sockets.confirm(contextId)
  return heard
}

test('P13: a restore is told to the subscribers of the context by the step that stores it, and one that is refused is not', async () => {
  const { server } = await redisFor()
  const backend = await opened(server.url)
  const heard = await listened(await opened(server.url))
  const told = JSON.stringify(['h', [contextId, ...Object.values(archived)]])
  expect(await backend.restore(restoreOf({ base: { ...archived, version: 1 }, message: '["h","refused"]' }))).toMatchObject({
    type: 'conflict',
  })
  expect(await backend.restore(restoreOf({ message: told }))).toEqual({ type: 'restored' })
  await store(backend, { base: archived, message: '["h","after"]' })
  await until(() => heard.length === 2)
  expect(heard).toEqual([told, '["h","after"]'])
})

test.each([0, 1, 2, 3, 4])('a key of another type (number %i) makes a restore fail whole, and a dump', async (number) => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const heard = await listened(backend)
  await store(backend, { members: [{ stream: at(1) }] })
  await admin.del(keys[number]!)
  if (number === 1) await admin.lpush(keys[number]!, 'x')
  else await admin.set(keys[number]!, 'x')
  const ofContext = async (): Promise<unknown> =>
    Object.entries(await contentOf(admin)).filter(([key]) => (keys as readonly string[]).includes(key))
  const before = await ofContext()
  const streams: StoredStream[] = [{ key: 'stream-2', usedAt: startAt, epoch: 0, last: 1, verdicts: [] }]
  expect(await errorOf(backend.restore(restoreOf({ base: null, streams, message: '["h"]' })))).toMatchObject({
    code: 'backend_unavailable',
    message: expect.stringContaining('damaged'),
  })
  expect(await errorOf(backend.dump(contextId))).toMatchObject({ code: 'backend_unavailable' })
  expect(await ofContext()).toEqual(before)
  expect(heard).toEqual([])
})

test('a context that is damaged is restored when any head will do, and not on a head that cannot be known', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{ stream: at(1) }, { stream: at(2) }] })
  await admin.rpop(keys[2])
  expect(await errorOf(backend.restore(restoreOf({ base: first.head })))).toMatchObject({ message: expect.stringContaining('do not fit') })
  expect(await errorOf(backend.dump(contextId))).toMatchObject({ message: expect.stringContaining('do not fit') })
  expect(await backend.restore(restoreOf({ base: null }))).toEqual({ type: 'restored' })
  expect(await backend.dump(contextId)).toMatchObject({
    stored: { row: { head: archived, restored: true, schema: 3, firstVersion: 8 }, snapshot: stateAt(7), entries: [] },
    streams: [{ key: 'stream-1', last: 2 }],
  })
  await store(backend, { base: archived })
})

test('out of memory: a restore is refused whole', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const { head } = await store(backend, { members: [{ stream: at(1) }] })
  await admin.config('SET', 'maxmemory', '1')
  const before = await contentOf(admin)
  expect(await errorOf(backend.restore(restoreOf({ base: head })))).toMatchObject({ code: 'backend_unavailable' })
  expect(await errorOf(backend.restore(restoreOf({ contextId: 'new' })))).toMatchObject({ code: 'backend_unavailable' })
  expect(await contentOf(admin)).toEqual(before)
  expect(await backend.dump(contextId)).toMatchObject({ stored: { row: { head } } })
})

test('a context is in the index before it is restored: one that cannot be put there is not', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  await admin.set(names.index[0], 'x')
  expect(await errorOf(backend.restore(restoreOf()))).toMatchObject({ code: 'backend_unavailable' })
  expect(await admin.exists(...keys)).toBe(0)
  await admin.del(names.index[0])
  await backend.restore(restoreOf())
  expect(await backend.list(listAll)).toMatchObject([{ contextId, version: 7, updatedAt: startAt - 1_000 }])
})

test('P14: what is left of a deleted context no longer expires once it is restored', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const first = await store(backend, { members: [{ stream: at(1) }] })
  const gone = await store(backend, { base: first.head, remove: true, members: [{ stream: at(2) }] })
  await backend.restore(restoreOf({ base: gone!.head }))
  expect(await Promise.all(keys.map((key) => admin.pttl(key)))).toEqual([-1, -1, -2, -1, -1, -2])
})

test('P13, P14: thousands of streams with their verdicts go from one store to another, and old ones are removed a few at a time', async () => {
  const [one, two] = await Promise.all([0, 1].map(async () => opened((await redisFor()).server.url)))
  const old = startAt - sessionTtlMs - 86_400_001
  const streams = Array.from({ length: 3_000 }, (_, index): StoredStream => {
    const last = 1 + (index % 70)
    const verdicts = [last - 5, last - 1, last]
      .filter((seq) => seq > 0)
      .map((seq): [number, Verdict] => [seq, seq % 2 ? refused : appliedAt(archived)])
    return {
      key: `s${String(index).padStart(4, '0')}`,
      usedAt: index < 20 ? old : startAt - index,
      epoch: index % 3,
      last,
      verdicts: index % 4 ? verdicts : [],
    }
  })
  await one!.restore(restoreOf({ streams }))
  const dump = await one!.dump(contextId)
  expect(dump!.streams).toEqual(streams.slice(8))
  await two!.restore(restoreOf({ streams: dump!.streams.map((stream) => ({ ...stream, usedAt: startAt })) }))
  expect((await two!.dump(contextId))!.streams).toEqual(streams.slice(8).map((stream) => ({ ...stream, usedAt: startAt })))
  const [{ key, last, epoch, verdicts }] = streams.slice(2_001) as [StoredStream]
  const batch = batchOf({ base: archived, members: [{ stream: at(last, { key, epoch }) }, { stream: at(last + 1, { key, epoch }) }] })
  expect(await two!.commit(batch)).toEqual({
    type: 'members',
    answers: [{ member: 0, answer: { type: 'repeat', verdict: verdicts.at(-1)![1] } }],
  })
  await store(two!, { base: archived, members: [{ stream: at(last + 1, { key, epoch, settled: last }) }] })
  expect((await two!.dump(contextId))!.streams.find((stream) => stream.key === key)!.verdicts.map(([seq]) => seq)).toEqual([last + 1])
}, 30_000)

test('a stream whose key would be read as another is a mistake of the program', async () => {
  const { server, admin } = await redisFor()
  const backend = await opened(server.url)
  const streams = [{ key: 'a 1', usedAt: startAt, epoch: 0, last: 1, verdicts: [] }]
  await expect(backend.restore(restoreOf({ streams }))).rejects.toBeInstanceOf(TypeError)
  expect(await admin.exists(...keys)).toBe(0)
})
