import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { limitedTo } from '../../support/redis-store.ts'
import { served } from '../../support/served.ts'
import type { Served } from '../../support/served.ts'
import { until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import type { WireSession } from '../../support/wire-client.ts'
import { redisBackend } from '../backends/redis/redis.ts'
import { startRedisServer } from '../testing/redis-server.ts'
import type { RedisServer } from '../testing/redis-server.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedisServer({ user: limitedTo('two') })
})
afterAll(() => redis.stop())

let prefixes = 0
/** Two servers over one Redis, apart from those of other tests. */
async function pair(options: Parameters<typeof served>[0] = {}) {
  prefixes += 1
  const prefix = `two${prefixes}`
  const make = () => served(options, { backend: redisBackend({ url: redis.url, prefix }) })
  return { prefix, here: await make(), away: await make() }
}

const counted = (session: WireSession): number => session.client.frames.d.reduce((sum, [, , , , , , , commits]) => sum + commits.length, 0)

test('a commit on one server is the same delta on both, in one order', async () => {
  const { here, away } = await pair()
  const sessions = await Promise.all([here, away, here, away].map(async ({ connect }) => (await connect()).attach()))
  await Promise.all(sessions.map((session) => session.sync('c')))
  sessions[0]?.write('c', '', [[setTo('n', 0)]])
  const incarnations = (await Promise.all(sessions.map((session) => session.client.next('d')))).map(([, incarnation]) => incarnation)
  for (let n = 1; n <= 50; n += 1) {
    sessions.forEach((session, index) => session.write('c', incarnations[index] ?? '', [[{ type: 'increment', path: ['n'], by: 1 }]]))
  }
  await Promise.all(sessions.map((session) => session.client.until(() => counted(session) === 201)))
  const [first, ...others] = sessions.map((session) => session.client.frames.d)
  for (const frames of others) expect(frames).toEqual(first)
  expect(await here.contexts.get('c')).toMatchObject({ version: 201, state: { n: 200 } })
  expect(sessions.map((session) => session.told('c'))).toEqual([[], [], [], []])
})

test('a join loses nothing while others write', async () => {
  const { here, away } = await pair()
  const writer = await (await here.connect()).attach()
  await writer.sync('c')
  writer.write('c', '', [[setTo('n', 0)]])
  const [, incarnation] = await writer.client.next('d')
  let writing = true
  const write = (): void => {
    writer.write('c', incarnation, [[{ type: 'increment', path: ['n'], by: 1 }]])
    void writer.client.next('d').then(() => writing && write())
  }
  write()
  for (let round = 0; round < 20; round += 1) {
    const client = await away.connect()
    const session = await client.attach()
    const { answer } = await session.sync('c')
    const version = answer.type === 'full' ? answer.head.version : -1
    await client.until(() => client.frames.d.some(([, , base]) => base >= version))
    const bases = client.frames.d.map(([, , base]) => base)
    expect(Math.min(...bases)).toBeLessThanOrEqual(version)
    client.close()
  }
  writing = false
})

test('P16: a session that moves to another server is answered there, and its commits stay exactly once', async () => {
  const { here, away } = await pair()
  const old = await (await here.connect()).attach()
  const commits = [{ seq: 1, incarnation: '', operations: [{ type: 'increment', path: ['n'], by: 1 }] }]
  old.send('c', commits)
  const moved = await (await away.connect()).attach(old.id)
  expect(moved.attached.actor).toBe(old.attached.actor)
  moved.send('c', commits)
  expect(await moved.outcome('c', 1)).toMatchObject({ type: 'applied' })
  expect(await away.contexts.get('c')).toMatchObject({ version: 1, state: { n: 1 } })
})

test('a session of another user is refused on every server', async () => {
  const { here, away } = await pair({ authenticate: ({ auth }) => ({ id: auth.token! }) })
  const ada = await (await here.connect({ token: 'ada' })).attach()
  const bob = await away.connect({ token: 'bob' })
  expect(await bob.call('attach', { session: ada.id })).toMatchObject({ error: { code: 'forbidden' } })
})

test('a user is cut off on every server', async () => {
  const { here, away } = await pair({ authenticate: ({ auth }) => ({ id: auth.token! }) })
  const ada = await (await away.connect({ token: 'ada' })).attach()
  await Promise.all([ada.sync('c'), ada.sync('d')])
  await here.server.revoke('ada', 'c')
  expect(await ada.client.next('denied')).toMatchObject(['c', { code: 'forbidden' }])
  const ended = ada.client.ended()
  await here.server.revoke('ada')
  expect(await ended).toBe('transport close')
})

/** Holds back what Redis publishes to the sockets of a server, as a slow subscriber connection does. */
function heldBack({ server }: Served): { readonly held: unknown[]; readonly release: () => void } {
  const adapter = server.io.sockets.adapter as unknown as { onMessage(message: unknown): void }
  const deliver = adapter.onMessage.bind(adapter)
  const held: unknown[] = []
  adapter.onMessage = (message) => void held.push(message)
  return {
    held,
    release: () => {
      adapter.onMessage = deliver
      for (const message of held) deliver(message)
    },
  }
}

test('who leaves before the delta has come by is told by a verdict', async () => {
  const { here } = await pair()
  const session = await (await here.connect()).attach()
  await session.sync('c')
  const { held, release } = heldBack(here)
  session.write('c', '', [[setTo('n', 1)], [setTo('n', 2)]])
  await until(() => held.length > 0)
  // The commit itself is answered by now: another of the same queue is.
  await here.contexts.set('c', { n: 3 })
  expect(session.told('c')).toEqual([])
  session.leave('c')
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'applied', head: { version: 2 } })
  release()
  await session.sync('other')
  expect(session.client.frames.d).toEqual([])
})

test('F26: before a server closes, commits are answered also where their delta has not come by', async () => {
  const { here } = await pair()
  const session = await (await here.connect()).attach()
  await session.sync('c')
  const { held } = heldBack(here)
  for (let n = 1; n <= 25; n += 1) session.write('c', '', [[setTo(`k${n}`, n)]])
  await until(() => held.length > 0)
  await here.server.close()
  expect(session.told('c').map(([seq, { type }]) => [seq, type])).toEqual(Array.from({ length: 25 }, (_, index) => [index + 1, 'applied']))
})

test('a sync is read only once the subscription is confirmed, and nothing in between is lost', async () => {
  const { here, away } = await pair()
  const { publishing } = here.engine.backend
  if (publishing.type !== 'publish') throw new Error('the store does not publish')
  const confirm = publishing.sockets.confirm.bind(publishing.sockets)
  let [asked, go] = [false, (): void => {}]
  publishing.sockets.confirm = async (contextId) => {
    asked = true
    await new Promise<void>((resolve) => (go = resolve))
    await confirm(contextId)
  }
  const session = await (await here.connect()).attach()
  const syncing = session.sync('c')
  await until(() => asked)
  await away.contexts.set('c', { n: 1 })
  go()
  expect(await syncing).toMatchObject({ answer: { type: 'full', head: { version: 1 } } })
  await away.contexts.set('c', { n: 2 })
  await session.client.until(() => session.client.frames.d.some(([, , base]) => base === 1))
  expect(session.client.frames.d.at(-1)?.slice(0, 3)).toEqual(['c', expect.any(String), 1])
})

test('F20: garbage on every channel of the adapter harms nobody', async () => {
  const { here, away } = await pair()
  const sessions = await Promise.all([here, away].map(async ({ connect }) => (await connect()).attach()))
  await Promise.all(sessions.map((session) => session.sync('c')))
  const admin = new Redis(redis.adminUrl)
  const channels = (await admin.call('PUBSUB', 'SHARDCHANNELS')) as string[]
  expect(channels.length).toBeGreaterThan(0)
  const garbage = [
    '',
    'x',
    '{',
    '{}',
    'null',
    '[]',
    '{"type":3}',
    '{"type":3,"nsp":"/","data":null}',
    '{"type":3,"nsp":"/","data":{"packet":null,"opts":{}}}',
  ]
  const more = [
    '{"type":3,"nsp":"/","data":{"packet":{"type":2,"data":["d",null]},"opts":{"rooms":["x"],"except":[]}}}',
    '{"type":5,"nsp":"/","data":{}}',
    '\u0081\u00a1',
  ]
  for (const channel of channels) for (const text of [...garbage, ...more]) await admin.call('SPUBLISH', channel, text)
  admin.disconnect()
  sessions[0]?.write('c', '', [[setTo('n', 1)]])
  for (const session of sessions) expect((await session.client.next('d'))[0]).toBe('c')
})

test('F15: what was published while the subscriber connection was down is made up for', async () => {
  const { here, away } = await pair()
  const [writer, reader] = await Promise.all([(await here.connect()).attach(), (await away.connect()).attach()])
  await Promise.all([writer.sync('c'), reader.sync('c')])
  writer.write('c', '', [[setTo('n', 1)]])
  const [, incarnation] = await reader.client.next('d')
  const admin = new Redis(redis.adminUrl)
  for (let round = 0; round < 5; round += 1) {
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    writer.write('c', incarnation, [[setTo('n', `round ${round}`)]])
  }
  admin.disconnect()
  const stored = async (): Promise<number> => (await here.contexts.get('c'))?.version ?? 0
  while ((await stored()) < 6) await new Promise(setImmediate)
  const heard = (): number =>
    Math.max(
      ...reader.client.frames.h.map(([, , version]) => version),
      ...reader.client.frames.d.map(([, , base, , , , , commits]) => base + commits.length),
    )
  await reader.client.until(() => heard() === 6)
  expect(heard()).toBe(6)
})
