import { ContextdError } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { served } from '../../support/served.ts'
import { setTo } from '../../support/wire-client.ts'
import type { Action, Handshake } from '../authorize.ts'

const authenticate = ({ auth }: Handshake) => (typeof auth.token === 'string' ? { id: auth.token } : null)
/** Allows these actions to everybody, after a while if `slow`. */
function allowing(actions: readonly Action[], slow = false) {
  const asked: string[] = []
  const authorize = ({
    user,
    contextId,
    action,
  }: {
    user: { id: string } | null
    contextId: string
    action: Action
  }): boolean | Promise<boolean> => {
    asked.push(`${user?.id} ${action} ${contextId}`)
    const answer = actions.includes(action)
    return slow ? new Promise((resolve) => setImmediate(() => resolve(answer))) : answer
  }
  return { asked, authorize }
}

test('nobody without a user comes in', async () => {
  const { connect, server } = await served({ authenticate })
  await expect(connect()).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
  expect(server.io.sockets.sockets.size).toBe(0)
  const session = await (await connect({ token: 'ada' })).attach()
  expect(session.attached.userId).toBe('ada')
})

test('a hook that throws does not know the caller, and what it threw stays inside', async () => {
  const { connect } = await served({
    authenticate: () => {
      throw new Error('password=secret')
    },
  })
  const refusal = await connect().catch((error: unknown) => error)
  expect(refusal).toMatchObject({ data: { code: 'unauthenticated' } })
  expect(JSON.stringify([refusal, (refusal as Error).message])).not.toContain('secret')
})

test('a hook may say that it cannot tell now', async () => {
  const { connect } = await served({
    authenticate: () => {
      throw new ContextdError('backend_unavailable', 'The user database is away.')
    },
  })
  await expect(connect()).rejects.toMatchObject({ data: { code: 'backend_unavailable', message: 'The user database is away.' } })
})

test.each([{}, { id: '' }, { id: 5 }, 'ada', { id: 'x'.repeat(257) }, { id: 'ada', expiresAt: 1 }])('%j is no user', async (user) => {
  const { connect } = await served({ authenticate: () => user as { id: string } })
  await expect(connect()).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
})

test('the hook sees the handshake', async () => {
  const seen: Handshake[] = []
  const { connect } = await served({
    authenticate: (handshake) => {
      seen.push(handshake)
      return { id: 'ada' }
    },
  })
  await connect({ token: 't' }, { extraHeaders: { 'x-who': 'ada' }, query: { q: '1' } })
  expect(seen[0]).toMatchObject({
    auth: { token: 't' },
    headers: { 'x-who': 'ada' },
    query: { q: '1' },
    address: '127.0.0.1',
    transport: 'socket',
  })
})

test.each([undefined, 'x', 0, -1, 0.5, null])('a client of wire version %j is to be updated', async (wire) => {
  const { connect } = await served()
  await expect(connect({ wire })).rejects.toMatchObject({ data: { code: 'update_required' } })
})

test('P2: a session of another user is refused', async () => {
  const { connect } = await served({ authenticate })
  const ada = await (await connect({ token: 'ada' })).attach()
  const bob = await connect({ token: 'bob' })
  expect(await bob.call('attach', { session: ada.id })).toMatchObject({ error: { code: 'forbidden' } })
  expect(await bob.call('sync', { session: ada.id, contextId: 'c', head: null, epoch: 0, told: 0, settled: 0 })).toMatchObject({
    error: { code: 'closed' },
  })
})

test('the author of a commit is who authenticated, whatever the message says', async () => {
  const { connect, contexts } = await served({ authenticate })
  const session = await (await connect({ token: 'ada' })).attach()
  session.send('c', [{ seq: 1, incarnation: '', operations: [setTo('n', 1)], author: { userId: 'bob', actor: 'x' }, version: 7 }], {
    user: 'bob',
  })
  await session.outcome('c', 1)
  expect(await contexts.get('c')).toMatchObject({ version: 1, updatedBy: { userId: 'ada', actor: session.attached.actor } })
})

test.each([false, true])(
  'reading is refused before anything is read, the same for ids that exist and that do not (slow: %s)',
  async (slow) => {
    const { connect, contexts } = await served({ authenticate, authorize: allowing(['write'], slow).authorize })
    await contexts.set('there', { n: 1 })
    const session = await (await connect({ token: 'ada' })).attach()
    const answers = await Promise.all([session.sync('there'), session.sync('absent')])
    expect(answers[0]).toMatchObject({ error: { code: 'forbidden' } })
    expect(answers[0]).toEqual(answers[1])
    await contexts.update('there', { n: 2 })
    expect(session.client.frames).toMatchObject({ d: [], denied: [] })
  },
)

test.each([false, true])(
  'writing is refused as a verdict that takes its number, the same for ids that exist and that do not (slow: %s)',
  async (slow) => {
    const { connect, contexts } = await served({ authenticate, authorize: allowing(['read'], slow).authorize })
    const { context } = await contexts.set('there', { n: 1 })
    const session = await (await connect({ token: 'ada' })).attach()
    expect(await session.sync('there')).toMatchObject({ access: 'read' })
    session.write('there', context.incarnation, [[setTo('n', 2)], []])
    session.write('absent', '', [[setTo('n', 2)], []])
    session.write('guess', 'guessed', [[setTo('n', 2)]])
    const outcomes = await Promise.all([session.outcome('there', 1), session.outcome('absent', 1), session.outcome('guess', 1)])
    expect(outcomes[0]).toMatchObject({ type: 'refused', code: 'forbidden' })
    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size).toBe(1)
    expect(await session.outcome('there', 2)).toMatchObject({ type: 'nothing' })
    expect(await session.outcome('absent', 2)).toMatchObject({ type: 'nothing' })
    expect(await contexts.get('there')).toMatchObject({ version: 1, state: { n: 1 } })
    expect(await contexts.get('absent')).toBe(null)
  },
)

test('who may create but not write, and who may write but not create', async () => {
  const creator = await served({ authenticate, authorize: allowing(['read', 'create']).authorize })
  await creator.contexts.set('there', { n: 1 })
  const first = await (await creator.connect({ token: 'ada' })).attach()
  first.write('there', '', [[setTo('n', 2)]])
  first.write('absent', '', [[setTo('n', 2)]])
  expect(await first.outcome('there', 1)).toMatchObject({ type: 'refused', code: 'forbidden' })
  expect(await first.outcome('absent', 1)).toMatchObject({ type: 'applied' })

  const writer = await served({ authenticate, authorize: allowing(['read', 'write']).authorize })
  await writer.contexts.set('there', { n: 1 })
  const second = await (await writer.connect({ token: 'ada' })).attach()
  second.write('there', '', [[setTo('n', 2)]])
  second.write('absent', '', [[setTo('n', 2)]])
  expect(await second.outcome('there', 1)).toMatchObject({ type: 'applied', head: { version: 2 } })
  expect(await second.outcome('absent', 1)).toMatchObject({ type: 'refused', code: 'forbidden' })
})

test('deleting asks for its own permission', async () => {
  const { connect, contexts } = await served({ authenticate, authorize: allowing(['read', 'write', 'create']).authorize })
  const { context } = await contexts.set('c', { n: 1 })
  const session = await (await connect({ token: 'ada' })).attach()
  session.send('c', [{ seq: 1, incarnation: context.incarnation, operations: [], delete: 1 }])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'refused', code: 'forbidden' })
  expect(await contexts.get('c')).not.toBe(null)
})

test('listing asks for the prefix', async () => {
  const { asked, authorize } = allowing([])
  const { connect } = await served({ authenticate, authorize })
  const client = await connect({ token: 'ada' })
  expect(await client.call('list', { prefix: 'board:' })).toMatchObject({ error: { code: 'forbidden' } })
  expect(asked).toEqual(['ada list board:'])
})

test('a frame of many commits asks once', async () => {
  const { asked, authorize } = allowing(['write', 'create'])
  const { connect } = await served({ authenticate, authorize })
  const session = await (await connect({ token: 'ada' })).attach()
  session.write('c', '', [[setTo('n', 1)], [setTo('n', 2)]])
  await session.outcome('c', 2)
  expect(asked).toEqual(['ada write c', 'ada create c'])
})

test('commits do not overtake each other while the application thinks', async () => {
  const waiting: (() => void)[] = []
  const { connect } = await served({
    authenticate,
    authorize: ({ action }) => (action === 'write' ? new Promise<boolean>((resolve) => waiting.push(() => resolve(true))) : true),
  })
  const session = await (await connect({ token: 'ada' })).attach()
  for (let n = 1; n <= 3; n += 1) session.write('c', '', [[setTo('n', n)]])
  await session.client.call('list', {})
  expect(waiting).toHaveLength(3)
  for (const answer of waiting.toReversed()) answer()
  const versions = await Promise.all([1, 2, 3].map((seq) => session.outcome('c', seq)))
  expect(versions).toMatchObject([{ head: { version: 1 } }, { head: { version: 2 } }, { head: { version: 3 } }])
})

test('a hook that fails is no answer: the commit is held, and what it threw stays inside', async () => {
  let broken = true
  const { connect } = await served({
    authenticate,
    authorize: () => {
      if (broken) throw new Error('password=secret')
      return true
    },
  })
  const session = await (await connect({ token: 'ada' })).attach()
  session.send('c', [{ seq: 1, incarnation: '', operations: [setTo('n', 1)] }])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'held', code: 'internal' })
  expect(JSON.stringify(session.told('c'))).not.toContain('secret')
  const failure = await session.sync('c')
  expect(failure).toMatchObject({ error: { code: 'internal' } })
  expect(JSON.stringify(failure)).not.toContain('secret')
  broken = false
  session.send('c', [{ seq: 1, incarnation: '', operations: [setTo('n', 1)] }])
  await session.client.until(() => session.told('c').length === 2)
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
})

test('anything but true refuses', async () => {
  const { connect } = await served({ authorize: () => 1 as unknown as boolean })
  expect(await (await (await connect()).attach()).sync('c')).toMatchObject({ error: { code: 'forbidden' } })
})
