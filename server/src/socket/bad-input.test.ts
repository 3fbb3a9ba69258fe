import { expect, test } from 'vitest'
import { RawSocket } from '../../support/raw-socket.ts'
import { served } from '../../support/served.ts'
import type { Served } from '../../support/served.ts'
import { setTo } from '../../support/wire-client.ts'

/** That the server still serves others, and wrote nothing of what it refused. */
async function expectUnharmed({ connect, contexts }: Served, absent = 'c'): Promise<void> {
  const session = await (await connect()).attach()
  session.write('unharmed', '', [[setTo('n', 1)]])
  expect(await session.outcome('unharmed', 1)).toMatchObject({ type: 'applied' })
  expect(await contexts.get(absent)).toBe(null)
  expect(({} as { polluted?: unknown }).polluted).toBe(undefined)
}

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

test.each([
  ['no packet', 'x'],
  ['an empty packet', ''],
  ['an unknown packet type', '49["attach"]'],
  ['an event that is no list', '42{"attach":1}'],
  ['an event without a name', '42[]'],
  ['an event whose name is an object', '42[{}]'],
  ['broken JSON', '42["attach",{]'],
  ['a reserved event', '42["disconnect"]'],
  ['an acknowledgement that is no list', '431{}'],
  ['a binary event', '451-["attach",{"_placeholder":true,"num":0}]'],
  ['a binary event of many parts', '459999999-["attach"]'],
  ['a binary acknowledgement', '461-1[{"_placeholder":true,"num":0}]'],
  ['a binary frame', Buffer.from([1, 2, 3])],
  ['5,000 brackets', `42["attach",${nested(5_000)}]`],
  ['200,000 objects in each other', `42["attach",${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}]`],
  ['5,000 brackets in an acknowledgement', `431[${nested(5_000)}]`],
  ['an Engine.IO ping in the wrong direction', '2'],
  ['an unknown Engine.IO packet', '9'],
])('a frame that is no message ends its socket and nothing else: %s', async (_, frame) => {
  const server = await served()
  const raw = await RawSocket.open(server.url)
  raw.send(frame)
  await raw.closed
  await expectUnharmed(server)
})

test.each([
  ['before anything else', '42["attach",{"session":null}]'],
  ['another namespace', '42/admin,["attach"]'],
  ['a second greeting', '40{"wire":1}', true],
  ['a greeting of 5,000 brackets', `40{"a":${nested(5_000)}}`],
  ['a greeting that is a list', '40[]'],
])('a message at the wrong time ends its socket and nothing else: %s', async (_, frame, join = false) => {
  const server = await served()
  const raw = await RawSocket.open(server.url, { join })
  raw.send(frame)
  await raw.closed
  await expectUnharmed(server)
})

test('a namespace that nobody made is refused, and the connection goes on', async () => {
  const server = await served()
  const raw = await RawSocket.open(server.url)
  raw.send('40/admin,{"wire":1}')
  expect(await raw.message((text) => text.startsWith('44/admin,'))).toContain('Invalid namespace')
  expect(await raw.call(1, 'attach', { session: null })).toHaveProperty('session')
  await expectUnharmed(server)
})

test('10 MB messages end their socket, and the memory stays flat', async () => {
  const server = await served()
  const session = await (await server.connect()).attach()
  const big = `42${JSON.stringify(['commit', { session: session.id, contextId: 'c', text: 'x'.repeat(10_000_000) }])}`
  const before = process.memoryUsage().rss
  for (let count = 0; count < 10; count += 1) {
    const raw = await RawSocket.open(server.url)
    raw.send(big)
    await raw.closed
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
  await expectUnharmed(server)
})

test('events that nobody listens to are ignored, also those named as methods and properties', async () => {
  const server = await served()
  const raw = await RawSocket.open(server.url)
  for (const event of ['nobody', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'emit', 'on', 'error', '', 7]) {
    raw.send(`42${JSON.stringify([event, { a: 1 }])}`)
    raw.send(`4299${JSON.stringify([event])}`)
  }
  expect(await raw.call(1, 'attach', { session: null })).toHaveProperty('session')
  expect(raw.messages.filter((text) => text.startsWith('4399'))).toEqual([])
  await expectUnharmed(server)
})

test('events of the application’s own work beside ours', async () => {
  const { server, connect } = await served()
  server.io.on('connection', (socket) => socket.on('hello', (name: string, answer: (text: string) => void) => answer(`hello ${name}`)))
  const client = await connect()
  expect(await client.call('hello', 'Ada')).toBe('hello Ada')
  expect(await client.attach()).toHaveProperty('id')
})

const session = 'valid'
const sync = { session, contextId: 'c', head: null, epoch: 0, told: 0, settled: 0 }
const head = { incarnation: 'life', version: 1, revision: 'r' }
const requests: [string, string, unknown][] = [
  ['attach', 'nothing', undefined],
  ['attach', 'null', null],
  ['attach', 'a list', []],
  ['attach', 'a text', 'session'],
  ['attach', 'no session', {}],
  ['attach', 'a number as session', { session: 5 }],
  ['attach', 'an object as session', { session: {} }],
  ['attach', 'a session of 10,000 characters', { session: 'x'.repeat(10_000) }],
  ['sync', 'no session', { ...sync, session: undefined }],
  ['sync', 'no context', { ...sync, contextId: undefined }],
  ['sync', 'a number as context', { ...sync, contextId: 5 }],
  ['sync', 'an id of 10,000 characters', { ...sync, contextId: 'x'.repeat(10_000) }],
  ['sync', 'no head', { ...sync, head: undefined }],
  ['sync', 'a text as head', { ...sync, head: '1-r' }],
  ['sync', 'version -1', { ...sync, head: { ...head, version: -1 } }],
  ['sync', 'version 2^53', { ...sync, head: { ...head, version: 2 ** 53 } }],
  ['sync', 'version 1.5', { ...sync, head: { ...head, version: 1.5 } }],
  ['sync', 'a text as version', { ...sync, head: { ...head, version: '1' } }],
  ['sync', 'null as version (NaN, Infinity)', { ...sync, head: { ...head, version: Number.NaN } }],
  ['sync', 'a number as revision', { ...sync, head: { ...head, revision: 1 } }],
  ['sync', 'a list as incarnation', { ...sync, head: { ...head, incarnation: [] } }],
  ['sync', 'a negative epoch', { ...sync, epoch: -1 }],
  ['sync', 'a text as told', { ...sync, told: '0' }],
  ['sync', 'null as settled', { ...sync, settled: null }],
  ['list', 'a number as prefix', { prefix: 5 }],
  ['list', 'a negative limit', { limit: -1 }],
  ['list', 'limit 0', { limit: 0 }],
  ['list', 'too large a limit', { limit: 1_001 }],
  ['list', 'nothing', undefined],
]
test.each(requests)('a request of wrong shape is answered with a code, and ends its socket: %s with %s', async (event, _, payload) => {
  const server = await served()
  const client = await server.connect()
  const answer = client.call(event, payload)
  const ended = client.ended()
  expect(await answer).toMatchObject({ error: { code: 'invalid_message' } })
  expect(await ended).toBe('io server disconnect')
  await expectUnharmed(server)
})

const commit = { seq: 1, incarnation: '', operations: [setTo('n', 1)] }
const message = { session, contextId: 'c', epoch: 0, settled: 0, commits: [commit] }
const commits: [string, unknown][] = [
  ['nothing', undefined],
  ['a list', []],
  ['no session', { ...message, session: undefined }],
  ['a number as context', { ...message, contextId: 5 }],
  ['a negative epoch', { ...message, epoch: -1 }],
  ['a text as settled', { ...message, settled: '0' }],
  ['an object as commits', { ...message, commits: {} }],
  ['65 commits', { ...message, commits: Array.from({ length: 65 }, (_, index) => ({ ...commit, seq: index + 1 })) }],
  ['null as a commit', { ...message, commits: [null] }],
  ['number 0', { ...message, commits: [{ ...commit, seq: 0 }] }],
  ['number -1', { ...message, commits: [{ ...commit, seq: -1 }] }],
  ['number 2^53', { ...message, commits: [{ ...commit, seq: 2 ** 53 }] }],
  ['a number more than 64 above what is settled', { ...message, settled: 5, commits: [{ ...commit, seq: 70 }] }],
  ['a text as number', { ...message, commits: [{ ...commit, seq: '1' }] }],
  ['no incarnation', { ...message, commits: [{ ...commit, incarnation: undefined }] }],
  ['null as incarnation', { ...message, commits: [{ ...commit, incarnation: null }] }],
  ['a text as operations', { ...message, commits: [{ ...commit, operations: 'set' }] }],
  ['an object as operations', { ...message, commits: [{ ...commit, operations: { length: 1 } }] }],
  ['true as delete', { ...message, commits: [{ ...commit, delete: true }] }],
  ['a text as lock', { ...message, commits: [{ ...commit, lock: 'key' }] }],
]
test.each(commits)('a commit message of wrong shape ends its socket, and nothing of it is written: %s', async (_, payload) => {
  const server = await served()
  const client = await server.connect()
  const attached = await client.attach()
  const named =
    typeof payload === 'object' && payload !== null && 'session' in payload && payload.session === session
      ? { ...payload, session: attached.id }
      : payload
  const ended = client.ended()
  client.socket.emit('commit', named)
  expect(await ended).toBe('io server disconnect')
  await expectUnharmed(server)
})

test('a request that nobody waits for ends its socket', async () => {
  const server = await served()
  const client = await server.connect()
  const ended = client.ended()
  client.socket.emit('attach', { session: null })
  expect(await ended).toBe('io server disconnect')
  await expectUnharmed(server)
})

const invalid: [string, unknown][] = [
  ['null', null],
  ['a text', 'set'],
  ['a list', []],
  ['no type', { path: ['n'], value: 1 }],
  ['an unknown type', { type: 'drop', path: ['n'] }],
  ['a type of the prototype', { type: '__proto__', path: ['n'] }],
  ['no path', { type: 'set', value: 1 }],
  ['a text as path', { type: 'set', path: 'n', value: 1 }],
  ['an object as path', { type: 'set', path: { length: 1, 0: 'n' }, value: 1 }],
  ['a list in a path', { type: 'set', path: [['__proto__'], 'polluted'], value: 1 }],
  ['__proto__ in a path', { type: 'set', path: ['__proto__', 'polluted'], value: 1 }],
  ['constructor in a path', { type: 'set', path: ['constructor', 'prototype', 'polluted'], value: 1 }],
  ['prototype in a path', { type: 'merge', path: ['prototype'], value: { polluted: 1 } }],
  ['no value', { type: 'set', path: ['n'] }],
  ['null as a segment', { type: 'set', path: [null], value: 1 }],
  ['true as a segment', { type: 'set', path: [true], value: 1 }],
  ['a text as by', { type: 'increment', path: ['n'], by: '1' }],
  ['null as by (NaN, Infinity)', { type: 'increment', path: ['n'], by: Number.POSITIVE_INFINITY }],
  ['an object as values', { type: 'insert', path: ['l'], values: { length: 1 }, at: 'end' }],
  ['an unknown anchor', { type: 'insert', path: ['l'], values: [1], at: 'middle' }],
  ['no destination', { type: 'move', from: { path: ['l'], item: { id: 'a' } } }],
  ['an item that is none', { type: 'move', from: { path: ['l'], item: 5 }, to: { path: ['l'], at: 'end' } }],
  ['a value that is nested too deep', { type: 'set', path: ['n'], value: JSON.parse(nested(100)) as never }],
  ['length as an index', { type: 'set', path: ['l', 'length'], value: 4_294_967_295 }],
  ['a negative index', { type: 'set', path: ['l', -1], value: 1 }],
  ['a fraction as index', { type: 'set', path: ['l', 0.5], value: 1 }],
  ['an index of 2^53', { type: 'set', path: ['l', 2 ** 53], value: 1 }],
]
test.each(invalid)('an operation that is none refuses its commit with a code, and the others go on: %s', async (_, operation) => {
  const { connect, contexts } = await served()
  const attached = await (await connect()).attach()
  attached.send('c', [
    { seq: 1, incarnation: '', operations: [setTo('l', [1, 2])] },
    { seq: 2, incarnation: '', operations: [setTo('half', 1), operation] },
    { seq: 3, incarnation: '', operations: [setTo('n', 3)] },
  ])
  expect(await attached.outcome('c', 2)).toMatchObject({ type: 'refused', code: 'invalid_operation' })
  expect(await attached.outcome('c', 3)).toMatchObject({ type: 'applied' })
  expect((await contexts.get('c'))?.state).toEqual({ l: [1, 2], n: 3 })
  expect(({} as { polluted?: unknown }).polluted).toBe(undefined)
})

test.each([
  ['"__proto__":{"polluted":1}', 'invalid_operation'],
  ['"a":{"__proto__":{"polluted":1}}', 'invalid_operation'],
  ['"constructor":{"prototype":{"polluted":1}}', 'invalid_operation'],
  ['"a":[{"prototype":1}]', 'invalid_operation'],
  ['"a":1e400', 'invalid_operation'],
  [String.raw`"a":"\ud800"`, 'invalid_operation'],
  [String.raw`"\udc00":1`, 'invalid_operation'],
])('a value that no state may hold refuses its commit with a code: {%s}', async (members, code) => {
  const server = await served()
  const raw = await RawSocket.open(server.url)
  const { session: id } = await raw.call<{ session: string }>(0, 'attach', { session: null })
  for (const [seq, operation, initial] of [
    [1, `{"type":"set","path":["n"],"value":{${members}}}`, '{}'],
    [2, `{"type":"merge","path":[],"value":{${members}}}`, '{}'],
    [3, `{"type":"insert","path":["n"],"values":[{${members}}],"at":"end"}`, '{}'],
    [4, '{"type":"set","path":["n"],"value":1}', `{${members}}`],
  ] as const) {
    raw.send(
      `42["commit",{"session":"${id}","contextId":"c","epoch":0,"settled":0,"commits":[{"seq":${seq},"incarnation":"","operations":[${operation}],"initial":${initial}}]}]`,
    )
    const told = await raw.message((text) => text.startsWith('42["v"') && text.includes(`[[${seq},`))
    expect(told).toContain(`"refused","code":"${code}"`)
  }
  await expectUnharmed(server)
})

test.each([
  '',
  '.',
  '-a',
  'a b',
  'a/b',
  'a\\b',
  '../../x',
  'a#b',
  '{a}',
  'a*',
  'a?',
  'a[b]',
  'a\0b',
  'é',
  'a\n',
  'ctx:{x}',
  '__proto__',
  'x'.repeat(129),
])('an id that is none is refused with a code, on reading and writing: %j', async (contextId) => {
  const server = await served()
  const attached = await (await server.connect()).attach()
  expect(await attached.sync(contextId)).toMatchObject({ error: { code: 'invalid_operation' } })
  attached.write(contextId, '', [[setTo('n', 1)]])
  expect(await attached.outcome(contextId, 1)).toMatchObject({ type: 'refused', code: 'invalid_operation' })
  expect(await server.contexts.list()).toEqual([])
  await expectUnharmed(server)
})

test.each(['x', '__proto__', `zzzzzzzz-${'a'.repeat(22)}-${'b'.repeat(8)}`, `../${'x'.repeat(40)}`])(
  'a session that the server never gave is refused: %j',
  async (id) => {
    const server = await served()
    const client = await server.connect()
    expect(await client.call('attach', { session: id })).toMatchObject({ error: { code: 'forbidden' } })
    client.socket.emit('commit', { ...message, session: id })
    expect((await client.next('v'))[3]).toMatchObject([[1, { type: 'held', code: 'closed' }]])
    client.socket.emit('leave', { session: id, contextId: 'c' })
    client.socket.emit('detach', { session: id })
    await expectUnharmed(server)
  },
)

const counted = (seq: number): object => ({ seq, incarnation: '', operations: [{ type: 'increment', path: ['n'], by: 1 }] })
test('replayed and skipped numbers are answered from the record, whatever their order', async () => {
  const { connect, contexts } = await served()
  const attached = await (await connect()).attach()
  attached.send('c', [counted(1), counted(1), counted(2)])
  attached.send('c', [counted(2), counted(5), counted(1), counted(3)])
  attached.send('c', [counted(64)])
  expect(await attached.outcome('c', 64)).toEqual({ type: 'gap' })
  expect(await attached.outcome('c', 5)).toEqual({ type: 'gap' })
  await attached.outcome('c', 3)
  const { context } = await contexts.set('after', {})
  expect(context.version).toBe(1)
  const state = (await contexts.get('c'))!
  expect(state.state).toEqual({ n: state.version })
  expect(state.version).toBeLessThanOrEqual(3)
})
