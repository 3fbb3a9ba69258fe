import { expect, test } from 'vitest'
import { served } from '../../support/served.ts'
import { turn, until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import { memoryBackend } from '../backends/memory.ts'
import type { CommitBatch, CommitResult, ContextBackend } from '../backends/backend.ts'

/** A store whose commits wait until they are let through. */
function gated(): { backend: ContextBackend; pending: () => number; open: () => void } {
  const backend = memoryBackend()
  const commit = backend.commit.bind(backend)
  let waiting: (() => void)[] | null = []
  backend.commit = async (batch: CommitBatch): Promise<CommitResult> => {
    if (waiting) await new Promise<void>((resolve) => waiting!.push(resolve))
    return commit(batch)
  }
  return {
    backend,
    pending: () => waiting?.length ?? 0,
    open: () => {
      for (const go of waiting ?? []) go()
      waiting = null
    },
  }
}

test('F26: 50 commits in flight are answered before the server closes', async () => {
  const { backend, pending, open } = gated()
  const { connect, server, contexts } = await served({}, { backend })
  const [inside, outside] = await Promise.all([(await connect()).attach(), (await connect()).attach()])
  await inside.sync('in')
  for (let n = 1; n <= 25; n += 1) {
    inside.write('in', '', [[setTo(`k${n}`, n)]])
    outside.write('out', '', [[setTo(`k${n}`, n)]])
  }
  await until(() => pending() === 2)
  const closing = server.close()
  await turn()
  open()
  await closing
  expect(inside.seen('in')).toEqual(Array.from({ length: 25 }, (_, index) => index + 1))
  expect(outside.told('out').map(([seq, { type }]) => [seq, type])).toEqual(
    Array.from({ length: 25 }, (_, index) => [index + 1, 'applied']),
  )
  expect([await contexts.get('in'), await contexts.get('out')]).toMatchObject([{ version: 25 }, { version: 25 }])
})

test('clients are told when to come back, each at its own moment, and the connection is closed, not the namespace', async () => {
  const { connect, server } = await served()
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect()))
  const ends = clients.map((client) => client.ended())
  await server.close()
  expect(new Set(await Promise.all(ends))).toEqual(new Set(['transport close']))
  const times = clients.flatMap((client) => client.frames.bye.map(({ retryAfterMs }) => retryAfterMs))
  expect(times).toHaveLength(20)
  expect(new Set(times).size).toBeGreaterThan(10)
  expect(Math.max(...times)).toBeLessThanOrEqual(2_000)
})

test('a commit that comes while the server closes is held, and so is every request', async () => {
  const { backend, pending, open } = gated()
  const { connect, server, url } = await served({}, { backend })
  const session = await (await connect()).attach()
  session.write('c', '', [[setTo('n', 1)]])
  await until(() => pending() === 1)
  const closing = server.close()
  await turn()
  await turn()
  session.write('c', '', [[setTo('n', 2)]])
  expect(await session.outcome('c', 2)).toMatchObject({ type: 'held', code: 'closed' })
  expect(await session.sync('c')).toMatchObject({ error: { code: 'closed' } })
  expect(await session.client.call('attach', { session: null })).toMatchObject({ error: { code: 'closed' } })
  await expect(connect()).rejects.toThrow('websocket error')
  await expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed')
  open()
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
  await closing
})

test('a commit that is never answered does not keep the server from closing', async () => {
  const { backend, pending, open } = gated()
  const { connect, server } = await served({}, { backend })
  const session = await (await connect()).attach()
  session.write('c', '', [[setTo('n', 1)]])
  await until(() => pending() === 1)
  const ended = session.client.ended()
  await server.close({ drainMs: 20 })
  expect(await ended).toBe('transport close')
  open()
})

test('a client that never reads does not keep the server from closing', async () => {
  const { connect, server, contexts } = await served()
  await contexts.set('c', { text: 'x'.repeat(3_000_000) })
  const session = await (await connect()).attach()
  const { ws } = (session.client.socket.io.engine as unknown as { transport: { ws: { pause?(): void } } }).transport
  ws.pause?.()
  session.client.socket.emit('sync', { session: session.id, contextId: 'c', head: null, epoch: 0, told: 0, settled: 0 }, () => {})
  await turn()
  await server.close({ drainMs: 20 })
  expect(server.io.engine.clientsCount).toBe(0)
})

test('the engine stays open, and closing twice is one closing', async () => {
  const { server, contexts } = await served()
  await Promise.all([server.close(), server.close()])
  expect(await contexts.set('c', { n: 1 })).toMatchObject({ context: { version: 1 } })
})

test.each([-1, Number.NaN, '5'])('close refuses drainMs %j', async (drainMs) => {
  const { server } = await served()
  await expect(server.close({ drainMs: drainMs as number })).rejects.toThrow(TypeError)
})
