import type { Operation, Outcome } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { RawSocket } from '../../support/raw-socket.ts'
import { served } from '../../support/served.ts'
import { until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'

const rateLimited = { code: 'rate_limited', details: { retryAfterMs: expect.any(Number) as number } }

/** So many commits, from a number on. */
const numbered = (from: number, count: number): object[] =>
  Array.from({ length: count }, (_, index) => ({ seq: from + index, incarnation: '', operations: [setTo('n', from + index)] }))
const many = (count: number): Operation[] => Array.from({ length: count }, (_, index) => setTo(`k${index}`, index))

test('sessionsPerSocket: at the limit, and one above', async () => {
  const { connect } = await served({ limits: { sessionsPerSocket: 2 } })
  const client = await connect()
  const first = await client.attach()
  await client.attach()
  expect(await client.call('attach', { session: null })).toMatchObject({ error: rateLimited })
  expect((await client.attach(first.id)).id).toBe(first.id)
  client.socket.emit('detach', { session: first.id })
  expect(await client.call('attach', { session: null })).toHaveProperty('session')
})

test('contextsPerSocket: at the limit, and one above, over all sessions of a socket', async () => {
  const { connect } = await served({ limits: { contextsPerSocket: 2 } })
  const client = await connect()
  const [first, second] = [await client.attach(), await client.attach()]
  expect(await first.sync('a')).toHaveProperty('answer')
  expect(await second.sync('b')).toHaveProperty('answer')
  expect(await first.sync('b')).toHaveProperty('answer')
  expect(await first.sync('c')).toMatchObject({ error: rateLimited })
  second.leave('b')
  expect(await second.sync('c')).toMatchObject({ error: rateLimited })
  first.leave('b')
  expect(await second.sync('c')).toHaveProperty('answer')
})

test('messagesPerSecond: a burst of five seconds’ worth at the limit, and one above', async () => {
  const { connect } = await served({ limits: { messagesPerSecond: 1 } })
  const client = await connect()
  const answers = await Promise.all(Array.from({ length: 6 }, () => client.call('attach', { session: null })))
  expect(answers.filter((answer) => 'session' in (answer as object))).toHaveLength(5)
  expect(answers[5]).toMatchObject({ error: rateLimited })
})

test('messagesPerSecond: a commit above it is held, none is lost', async () => {
  const { connect } = await served({ limits: { messagesPerSecond: 1 } })
  const client = await connect()
  const session = await client.attach()
  // One of five was the session's own; it may have come back by now.
  for (let n = 1; n <= 6; n += 1) session.write('c', '', [[setTo('n', n)]])
  expect(await session.outcome('c', 6)).toMatchObject({ type: 'held', ...rateLimited })
  expect(await session.outcome('c', 4)).toMatchObject({ type: 'applied', head: { version: 4 } })
})

test('messagesPerSecond: who goes on against every answer is cut off', async () => {
  const { connect, url } = await served({ limits: { messagesPerSecond: 1 } })
  const flood = await RawSocket.open(url)
  for (let n = 0; n < 11; n += 1) flood.send('42["nobody"]')
  await flood.closed
  expect(await (await connect()).attach()).toHaveProperty('id')
})

test('commitsPerSecond: a burst of five seconds’ worth at the limit, and one above', async () => {
  const { connect, contexts } = await served({ limits: { commitsPerSecond: 1 } })
  const session = await (await connect()).attach()
  session.send('c', numbered(1, 5))
  session.send('c', numbered(6, 1))
  expect(await session.outcome('c', 5)).toMatchObject({ type: 'applied' })
  const outcome = await session.outcome('c', 6)
  expect(outcome).toMatchObject({ type: 'held', ...rateLimited })
  expect((outcome as Outcome & { details: { retryAfterMs: number } }).details.retryAfterMs).toBeLessThanOrEqual(1_000)
  expect(await contexts.get('c')).toMatchObject({ version: 5 })
})

test('commitsPerSecond: a frame is held whole, and later frames behind it, until its numbers come again', async () => {
  // 65 at once, and a second frame of 64 only after almost five seconds.
  const { connect, contexts } = await served({ limits: { commitsPerSecond: 13 } })
  const session = await (await connect()).attach()
  session.send('c', numbered(1, 64))
  expect(await session.outcome('c', 64)).toMatchObject({ type: 'applied' })
  session.send('c', numbered(65, 64), { settled: 64 })
  session.send('c', numbered(129, 1), { settled: 65 })
  expect(await session.outcome('c', 65)).toMatchObject({ type: 'held', ...rateLimited })
  expect(await session.outcome('c', 128)).toMatchObject({ type: 'held' })
  // There is room for one, but it must not overtake.
  expect(await session.outcome('c', 129)).toMatchObject({ type: 'held' })
  session.send('c', numbered(65, 1), { settled: 64 })
  await session.client.until(() => session.told('c').some(([seq, { type }]) => seq === 65 && type === 'applied'))
  expect(await contexts.get('c')).toMatchObject({ version: 65, state: { n: 65 } })
})

test('inFlight: at the limit, and one above', async () => {
  const waiting: (() => void)[] = []
  const { connect } = await served({
    limits: { inFlight: 3 },
    authorize: ({ action }) => (action === 'write' ? new Promise<boolean>((resolve) => waiting.push(() => resolve(true))) : true),
  })
  const session = await (await connect()).attach()
  session.write('c', '', [[setTo('n', 1)], [setTo('n', 2)]])
  session.write('c', '', [[setTo('n', 3)]])
  session.write('c', '', [[setTo('n', 4)]])
  expect(await session.outcome('c', 4)).toMatchObject({ type: 'held', ...rateLimited })
  expect(session.told('c').map(([seq]) => seq)).toEqual([4])
  for (const answer of waiting) answer()
  expect(await session.outcome('c', 3)).toMatchObject({ type: 'applied', head: { version: 3 } })
  session.send('c', [{ seq: 4, incarnation: '', operations: [setTo('n', 4)] }])
  await until(() => waiting.length === 3)
  waiting[2]?.()
  await session.client.until(() => session.told('c').length === 5)
  expect(await session.outcome('c', 4)).toMatchObject({ type: 'applied', head: { version: 4 } })
})

test('messageBytes: a message at the limit, and one byte above', async () => {
  const limit = 2_000
  const { url, contexts } = await served({ limits: { messageBytes: limit } })
  const raw = await RawSocket.open(url)
  const { session, messageBytes } = await raw.call<{ session: string; messageBytes: number }>(0, 'attach', { session: null })
  expect(messageBytes).toBe(limit)
  const message = (seq: number, length: number): string => {
    const text = (value: string): string =>
      `42${JSON.stringify(['commit', { session, contextId: 'c', epoch: 0, settled: 0, commits: [{ seq, incarnation: '', operations: [{ type: 'set', path: ['text'], value }] }] }])}`
    // The Engine.IO packet type before it is no part of the message.
    return text('x'.repeat(length + 1 - text('').length))
  }
  raw.send(message(1, limit))
  raw.send(message(2, limit + 1))
  const told = await raw.message((text) => text.includes('too_large'))
  expect(JSON.parse(told.slice(2))).toMatchObject([
    'v',
    [
      'c',
      expect.any(String),
      0,
      [
        [1, { type: 'applied' }],
        [2, { type: 'refused', code: 'too_large' }],
      ],
    ],
  ])
  expect(await contexts.get('c')).toMatchObject({ version: 1 })
})

test('messageBytes: of a frame above the limit only the commits are refused that are', async () => {
  const { connect } = await served({ limits: { messageBytes: 1_000 } })
  const session = await (await connect()).attach()
  session.write('c', '', [[setTo('a', 'x'.repeat(600))], [setTo('b', 'x'.repeat(1_200))], [setTo('c', 'x'.repeat(600))]])
  expect(await session.outcome('c', 3)).toMatchObject({ type: 'applied', head: { version: 2 } })
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'refused', code: 'too_large' })
})

test('depth: a value at the limit, and one deeper', async () => {
  const { connect } = await served({ limits: { depth: 4 } })
  const session = await (await connect()).attach()
  const nested = (depth: number): never => (depth === 0 ? 1 : [nested(depth - 1)]) as never
  session.write('c', '', [[setTo('a', nested(4))], [setTo('a', nested(5))]])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'refused', code: 'invalid_operation' })
})

test('operations: at the limit, and one above', async () => {
  const { connect } = await served({ limits: { operations: 3 } })
  const session = await (await connect()).attach()
  session.write('c', '', [many(3), many(4)])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'refused', code: 'invalid_operation' })
})

test('stateBytes: a context at the limit, and one byte above', async () => {
  const limit = JSON.stringify({ text: 'x'.repeat(100) }).length
  const { connect } = await served({}, { limits: { stateBytes: limit } })
  const session = await (await connect()).attach()
  session.write('c', '', [[setTo('text', 'x'.repeat(100))], [setTo('text', 'x'.repeat(101))], [setTo('text', 'y'.repeat(100))]])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'refused', code: 'too_large' })
  expect(await session.outcome('c', 3)).toMatchObject({ type: 'applied', head: { version: 2 } })
})

test('idBytes: an id at the limit, and one longer', async () => {
  const { connect } = await served({ limits: { idBytes: 8 } })
  const session = await (await connect()).attach()
  expect(await session.sync('c'.repeat(8))).toHaveProperty('answer')
  expect(await session.sync('c'.repeat(9))).toMatchObject({ error: { code: 'invalid_operation' } })
  session.write('c'.repeat(9), '', [[setTo('n', 1)]])
  expect(await session.outcome('c'.repeat(9), 1)).toMatchObject({ type: 'refused', code: 'invalid_operation' })
})

test('socketsPerAddress: at the limit, and one above', async () => {
  const { connect } = await served({ limits: { socketsPerAddress: 2 } })
  const [first] = [await connect(), await connect()]
  await expect(connect()).rejects.toThrow('websocket error')
  await expect(connect({}, { transports: ['polling'] })).rejects.toThrow('xhr poll error')
  first.close()
  await first.ended()
  const again = async (): Promise<unknown> => connect().catch(again)
  expect(await again()).toHaveProperty('socket')
})

test('socketsPerAddress: of many that come at once no more get in', async () => {
  const { connect, server } = await served({ limits: { socketsPerAddress: 5 } })
  const tried = await Promise.allSettled(Array.from({ length: 20 }, () => connect()))
  expect(tried.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(5)
  expect(server.io.engine.clientsCount).toBeLessThanOrEqual(5)
})

test('0 is no limit', async () => {
  const none = {
    messageBytes: 0,
    sessionsPerSocket: 0,
    contextsPerSocket: 0,
    messagesPerSecond: 0,
    commitsPerSecond: 0,
    inFlight: 0,
    socketsPerAddress: 0,
    socketBufferBytes: 0,
    operations: 0,
    idBytes: 0,
  }
  const { connect } = await served({ limits: none })
  const client = await connect()
  for (let count = 0; count < 40; count += 1) await client.attach()
  const session = await client.attach()
  await Promise.all(Array.from({ length: 1_100 }, (_, index) => session.sync(`c${index}`)))
  for (let frame = 0; frame < 20; frame += 1)
    session.write(
      'c',
      '',
      Array.from({ length: 64 }, () => [setTo('text', 'x'.repeat(1_000))]),
    )
  session.write('c', '', [[setTo('text', 'y'.repeat(2_000_000))]])
  expect(await session.outcome('c', 1_281)).toMatchObject({ type: 'applied' })
})
