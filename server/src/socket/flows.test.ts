import type { Head, SyncReply } from '@contextd/protocol'
import { revisionOf } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { served } from '../../support/served.ts'
import { setTo } from '../../support/wire-client.ts'

const headOf = ({ answer }: SyncReply): Head => {
  if (answer.type === 'same' || answer.type === 'full' || answer.type === 'absent') return answer.head
  throw new Error(`no head in ${answer.type}`)
}

test('P2: a new session gets an id, a tag and what there is to know', async () => {
  const { connect } = await served()
  const client = await connect()
  const { attached } = await client.attach()
  expect(attached).toMatchObject({ userId: null, sessionTtlMs: 604_800_000, messageBytes: 1_048_576 })
  expect(attached.ageMs).toBeLessThan(60_000)
  expect(attached.session).not.toContain(attached.actor)
  const again = await client.attach(attached.session)
  expect(again.attached).toMatchObject({ session: attached.session, actor: attached.actor })
})

test('a context is created by a write on its absence, and both writer and reader see the delta', async () => {
  const { connect } = await served()
  const [writer, reader] = await Promise.all([(await connect()).attach(), (await connect()).attach()])
  const absent = await writer.sync('c')
  expect(absent).toMatchObject({
    answer: { type: 'absent', head: { incarnation: '', version: 0 } },
    record: { epoch: 0, last: 0 },
    access: 'write',
  })
  expect((await reader.sync('c')).answer.type).toBe('absent')

  writer.write('c', '', [[setTo('n', 1)]], { by: 'writer' })
  const frames = await Promise.all([writer.client.next('d'), reader.client.next('d')])
  expect(frames[0]).toEqual(frames[1])
  const [contextId, incarnation, version, , batch, , authors, commits] = frames[0]
  expect([contextId, version, authors]).toEqual(['c', 0, [[null, writer.attached.actor]]])
  expect(commits.map(([author, seq]) => [author, seq])).toEqual([[0, 1]])
  expect((await reader.sync('c')).answer).toMatchObject({
    type: 'full',
    head: { incarnation, version: 1, revision: revisionOf(batch, 0) },
    state: { by: 'writer', n: 1 },
    updatedBy: { userId: null, actor: writer.attached.actor },
  })
})

test('P16: a session that has joined is told of its applied commits by deltas alone, any other by a verdict', async () => {
  const { connect } = await served()
  const [inside, outside] = await Promise.all([(await connect()).attach(), (await connect()).attach()])
  await inside.sync('c')
  inside.write('c', '', [[setTo('a', 1)]])
  const [, incarnation] = await inside.client.next('d')
  outside.write('c', incarnation, [[setTo('b', 2)]])
  expect(await outside.outcome('c', 1)).toMatchObject({ type: 'applied', head: { incarnation, version: 2 } })
  await inside.client.next('d')
  inside.write('c', incarnation, [[setTo('a', 1)]])
  expect(await inside.outcome('c', 2)).toMatchObject({ type: 'nothing', head: { version: 2 } })
  expect(inside.seen('c')).toEqual([1])
  expect(inside.told('c').map(([seq]) => seq)).toEqual([2])
  expect(outside.client.frames.d).toEqual([])
})

test('one frame of many commits is one frame of deltas, a version for each', async () => {
  const { connect } = await served()
  const session = await (await connect()).attach()
  await session.sync('c')
  session.write('c', '', [[setTo('n', 1)]])
  const [, incarnation] = await session.client.next('d')
  session.write('c', incarnation, [[setTo('n', 2)], [setTo('n', 3)], [setTo('n', 4)]])
  const frame = await session.client.next('d')
  expect(frame[7].map(([, seq]) => seq)).toEqual([2, 3, 4])
  expect(headOf(await session.sync('c'))).toMatchObject({ version: 4 })
})

test('P4: a repeat is told its verdict again, and nothing is written twice', async () => {
  const { connect, contexts } = await served()
  const session = await (await connect()).attach()
  await session.sync('c')
  const commit = { seq: 1, incarnation: '', operations: [{ type: 'increment', path: ['n'], by: 1 }] }
  session.send('c', [commit])
  await session.client.next('d')
  session.send('c', [commit])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied', head: { version: 1 } })
  expect(await contexts.get('c')).toMatchObject({ version: 1, state: { n: 1 } })
})

test('P5: a skipped number is a gap, another epoch is fenced, and neither is written', async () => {
  const { connect, contexts } = await served()
  const session = await (await connect()).attach()
  session.send('c', [{ seq: 2, incarnation: '', operations: [setTo('n', 1)] }])
  expect(await session.outcome('c', 2)).toEqual({ type: 'gap' })
  session.send('d', [{ seq: 1, incarnation: '', operations: [setTo('n', 1)] }], { epoch: 3 })
  expect(await session.outcome('d', 1)).toEqual({ type: 'fenced' })
  expect([await contexts.get('c'), await contexts.get('d')]).toEqual([null, null])
})

test('a refused commit takes its number, and the next one goes on', async () => {
  const { connect } = await served()
  const session = await (await connect()).attach()
  await session.sync('c')
  session.write('c', '', [[setTo('n', 1)]])
  const [, incarnation] = await session.client.next('d')
  session.write('c', incarnation, [[{ type: 'test', path: ['n'], value: 5 }, setTo('n', 2)], [setTo('n', 3)]])
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'refused', code: 'conflict' })
  expect((await session.client.next('d'))[7].map(([, seq]) => seq)).toEqual([3])
})

test('P3: an empty commit takes its number', async () => {
  const { connect } = await served()
  const session = await (await connect()).attach()
  session.write('c', '', [[], [setTo('n', 1)]])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'nothing' })
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'applied', head: { version: 1 } })
})

test('a delete is told to the room as a head, and to its session as a verdict', async () => {
  const { connect, contexts } = await served()
  const [session, other] = await Promise.all([(await connect()).attach(), (await connect()).attach()])
  await Promise.all([session.sync('c'), other.sync('c')])
  session.write('c', '', [[setTo('n', 1)]])
  const [, incarnation] = await session.client.next('d')
  session.send('c', [{ seq: 2, incarnation, operations: [], delete: 1 }])
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'applied', head: { version: 0 } })
  const told = await other.client.next('h')
  expect(told.slice(0, 3)).toEqual(['c', '', 0])
  expect(headOf(await other.sync('c')).revision).toBe(told[3])
  expect(await contexts.get('c')).toBe(null)
})

test('P10: who comes back gets the deltas since its head, or that nothing is new', async () => {
  const { connect } = await served()
  const session = await (await connect()).attach()
  await session.sync('c')
  session.write('c', '', [[setTo('text', 'x'.repeat(2_000))]])
  const [, incarnation, , , batch] = await session.client.next('d')
  const first: Head = { incarnation, version: 1, revision: batch }
  session.write('c', incarnation, [[setTo('n', 2)], [setTo('n', 3)]])
  const frame = await session.client.next('d')
  const reader = await (await connect()).attach()
  const { answer } = await reader.sync('c', first)
  expect(answer).toMatchObject({ type: 'delta', authors: [[null, session.attached.actor]] })
  expect(answer.type === 'delta' && answer.commits.map(([revision]) => revision)).toEqual([frame[4], revisionOf(frame[4], 1)])
  const head = { incarnation, version: 3, revision: revisionOf(frame[4], 1) }
  expect((await reader.sync('c', head)).answer).toEqual({ type: 'same', head })
})

test('who has left is told nothing more, and what the session still had open by verdicts', async () => {
  const { connect } = await served()
  const [session, other] = await Promise.all([(await connect()).attach(), (await connect()).attach()])
  await Promise.all([session.sync('c'), other.sync('c')])
  session.leave('c')
  session.write('c', '', [[setTo('n', 1)]])
  await other.client.next('d')
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
  expect(session.client.frames.d).toEqual([])
})

test('P16: two sessions of one connection are told a delta once, until both have left', async () => {
  const { connect } = await served()
  const client = await connect()
  const [first, second] = [await client.attach(), await client.attach()]
  await Promise.all([first.sync('c'), second.sync('c')])
  first.write('c', '', [[setTo('n', 1)]])
  const [, incarnation] = await client.next('d')
  first.leave('c')
  first.write('c', incarnation, [[setTo('n', 2)]])
  expect(await first.outcome('c', 2)).toMatchObject({ type: 'applied' })
  await client.next('d')
  expect(client.frames.d).toHaveLength(2)
  second.leave('c')
  first.write('c', incarnation, [[setTo('n', 3)]])
  expect(await first.outcome('c', 3)).toMatchObject({ type: 'applied' })
  expect(client.frames.d).toHaveLength(2)
})

test('P16: a session that is attached elsewhere leaves its old connection', async () => {
  const { connect } = await served()
  const [old, fresh] = [await connect(), await connect()]
  const session = await old.attach()
  await session.sync('c')
  const moved = await fresh.attach(session.id)
  expect(moved.attached.actor).toBe(session.attached.actor)
  moved.write('c', '', [[setTo('n', 1)]])
  expect(await moved.outcome('c', 1)).toMatchObject({ type: 'applied' })
  expect(await session.sync('c')).toMatchObject({ error: { code: 'closed' } })
  session.write('c', '', [[setTo('n', 9)]])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'held', code: 'closed' })
  expect(old.frames.d).toEqual([])
})

test('P6: a number that is queued when it comes again is answered on the newest connection', async () => {
  const { connect, contexts } = await served()
  const [old, fresh] = [await connect(), await connect()]
  const session = await old.attach()
  await session.sync('c')
  const commits = [{ seq: 1, incarnation: '', operations: [{ type: 'increment', path: ['n'], by: 1 }] }]
  session.send('c', commits)
  const moved = await fresh.attach(session.id)
  moved.send('c', commits)
  expect(await moved.outcome('c', 1)).toMatchObject({ type: 'applied', head: { version: 1 } })
  expect((await contexts.get('c'))?.state).toEqual({ n: 1 })
})

test('a detached session is no longer known on its connection', async () => {
  const { connect } = await served()
  const client = await connect()
  const session = await client.attach()
  await session.sync('c')
  client.socket.emit('detach', { session: session.id })
  expect(await session.sync('c')).toMatchObject({ error: { code: 'closed' } })
})

test('contexts are listed by prefix', async () => {
  const { connect, contexts } = await served()
  for (const id of ['board:2', 'board:1', 'room:1']) await contexts.set(id, { id })
  const client = await connect()
  const list = await client.call<{ contexts: { contextId: string }[] }>('list', { prefix: 'board:' })
  expect(list.contexts.map(({ contextId }) => contextId)).toEqual(['board:1', 'board:2'])
  expect(list.contexts.map((entry) => Object.keys(entry).toSorted())[0]).toEqual([
    'contextId',
    'createdAt',
    'revision',
    'updatedAt',
    'version',
  ])
  expect((await client.call<{ contexts: unknown[] }>('list', { limit: 2 })).contexts).toHaveLength(2)
  expect((await client.call<{ contexts: unknown[] }>('list', { prefix: '%' })).contexts).toEqual([])
})

test('commits of the server itself reach the sockets', async () => {
  const { connect, contexts } = await served()
  const session = await (await connect()).attach()
  await session.sync('c')
  await contexts.set('c', { n: 1 })
  const [, , , , , , authors, commits] = await session.client.next('d')
  expect(authors).toEqual([[null, 'server']])
  expect(commits[0]?.slice(0, 2)).toEqual([0, 0])
})
