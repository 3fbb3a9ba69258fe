import { setTimeout as pause } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { served } from '../../support/served.ts'
import { engines } from '../../support/stores.ts'
import { turn, until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import type { Contexts } from '../contexts/contexts-types.ts'
import type { Hooks } from './hooks.ts'
import { silentLogger } from '../logger.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
type Reviewed = Parameters<NonNullable<Hooks['beforeCommit']>>[0]
type Told = Parameters<NonNullable<Hooks['afterCommit']>>[0]

const author = (userId: string | null): object => ({ userId, actor: 'server' })

/** A logger that keeps what is an error. */
function errors(): { logger: typeof silentLogger; logged: [details: object, message: string][] } {
  const logged: [details: object, message: string][] = []
  return { logged, logger: { ...silentLogger, error: (details, message) => void logged.push([details, message]) } }
}

describe('beforeCommit', () => {
  test('is told who wants what, the state before and after, of every commit that changes something, and of no delete', async () => {
    const beforeCommit = vi.fn<(commit: Reviewed) => void>()
    const contexts = engine({ hooks: { beforeCommit } })
    const ada = { id: 'ada', admin: true }
    await contexts.set('a', { n: 1 }, { user: ada })
    await contexts.set('a', { n: 1 })
    await contexts.apply('a', [{ type: 'increment', path: ['n'], by: 2 }])
    await contexts.delete('a')
    expect(beforeCommit.mock.calls).toEqual([
      [{ user: ada, contextId: 'a', operations: [{ type: 'set', path: [], value: { n: 1 } }], before: null, after: { n: 1 } }],
      [{ user: null, contextId: 'a', operations: [{ type: 'increment', path: ['n'], by: 2 }], before: { n: 1 }, after: { n: 3 } }],
    ])
  })

  test.each<[string, (reason: ContextdError) => void | Promise<void>]>([
    [
      'at once',
      (reason) => {
        throw reason
      },
    ],
    ['later', (reason) => pause(1).then(() => Promise.reject(reason))],
  ])('refuses a commit with its own error, %s: nothing is stored, and nobody is told', async (_when, refuse) => {
    const { logger, logged } = errors()
    const reason = new ContextdError('forbidden', 'Not after midnight.', { details: { until: '06:00' } })
    const shared = new SharedMemory()
    const told = vi.fn<() => void>()
    const contexts = engine({
      backend: shared.handle(),
      logger,
      hooks: { beforeCommit: ({ after }) => (after['late'] === true ? refuse(reason) : undefined), afterCommit: told },
    })
    await contexts.set('a', { n: 1 })
    contexts.subscribe('a', told)
    await expect(contexts.update('a', { late: true, n: 2 })).rejects.toMatchObject({
      code: 'forbidden',
      message: 'Not after midnight.',
      contextId: 'a',
      details: { until: '06:00' },
    })
    await expect(contexts.transact('a', (draft) => void (draft['late'] = true))).rejects.toEqual(code('forbidden'))
    expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
    expect([told.mock.calls.length, shared.store.log('a', 0)?.length, logged]).toEqual([1, 1, []])
  })

  test('is told the user of a client, and of a request over HTTP, as authenticate gave it; so is afterCommit', async () => {
    const seen: unknown[] = []
    const { connect, url } = await served(
      { authenticate: ({ auth, transport }) => ({ id: `${auth.token}`, via: transport }) },
      { hooks: { beforeCommit: ({ user }) => void seen.push(user), afterCommit: ({ user }) => void seen.push(user) } },
    )
    const session = await (await connect({ token: 'ada' })).attach()
    await session.sync('a')
    session.write('a', '', [[setTo('n', 1)]])
    await session.client.until(() => session.seen('a').length === 1)
    const headers = { authorization: 'Bearer bob', 'content-type': 'application/json' }
    expect((await fetch(`${url}/v1/contexts/b`, { method: 'PUT', headers, body: '{}' })).status).toBe(201)
    const [ada, bob] = [
      { id: 'ada', via: 'socket' },
      { id: 'bob', via: 'http' },
    ]
    expect(seen).toEqual([ada, ada, bob, bob])
  })

  test('that refuses one commit of a batch lets the others pass, each on the state that it gets then', async () => {
    const seen: (JsonObject | null)[] = []
    const contexts = engine({
      hooks: {
        beforeCommit: async ({ operations: [first], before }) => {
          seen.push(before)
          if (first?.type === 'increment' && first.by === 10) throw new ContextdError('forbidden', 'no')
        },
      },
    })
    await contexts.set('a', { n: 0 })
    const add = (by: number): Promise<unknown> => contexts.apply('a', [{ type: 'increment', path: ['n'], by }])
    const outcomes = await Promise.allSettled([add(1), add(10), add(100)])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await contexts.get('a')).toMatchObject({ version: 3, state: { n: 101 } })
    // The one after the refused one was asked about again: on the state without it.
    expect(seen.slice(-2)).toEqual([{ n: 0 }, { n: 1 }])
  })

  test('is asked again about a commit that others overtook, and decides on what is there then', async () => {
    const shared = new SharedMemory()
    const rival = engine({ backend: shared.handle() })
    const befores: unknown[] = []
    const mine = engine({
      backend: shared.handle(),
      hooks: {
        beforeCommit: async ({ before, after }) => {
          befores.push(before)
          if (befores.length === 1) await rival.update('a', { stock: 0 })
          if ((after['stock'] as number) < 0) throw new ContextdError('conflict', 'Sold out.')
        },
      },
    })
    await rival.set('a', { stock: 1 })
    await expect(mine.apply('a', [{ type: 'increment', path: ['stock'], by: -1 }])).rejects.toMatchObject({ message: 'Sold out.' })
    expect(befores).toEqual([{ stock: 1 }, { stock: 0 }])
    expect((await rival.get('a'))?.state).toEqual({ stock: 0 })
  })

  test('cannot change what is committed', async () => {
    const tried: unknown[] = []
    const change = (what: () => void): void => {
      try {
        what()
      } catch (error) {
        tried.push(error)
      }
    }
    const shared = new SharedMemory()
    await engine({ backend: shared.handle() }).set('a', { n: 0 })
    const contexts = engine({
      backend: shared.handle(),
      hooks: {
        beforeCommit: ({ operations, before, after }) => {
          change(() => void (after['n'] = 7))
          change(() => void ((after['deep'] as JsonObject)['m'] = 7))
          change(() => void (before!['n'] = 7))
          change(() => void (operations as unknown[]).pop())
          change(() => void ((operations[0] as unknown as JsonObject)['value'] = { n: 7 }))
        },
      },
    })
    await contexts.set('a', { n: 1, deep: { m: 1 } })
    await contexts.apply('a', [setTo('more', true)])
    expect((await contexts.get('a'))?.state).toEqual({ n: 1, deep: { m: 1 }, more: true })
    expect(tried.every((error) => error instanceof TypeError)).toBe(true)
    expect(tried).toHaveLength(10)
  })

  test('that throws something of its own refuses with that, and a client with a final code and no word of it; both are logged', async () => {
    const { logger, logged } = errors()
    const mine = new RangeError('mine')
    const hooks: Hooks = {
      beforeCommit: () => {
        throw mine
      },
    }
    const { contexts, connect } = await served({}, { hooks, logger })
    await expect(contexts.set('a', { n: 1 })).rejects.toBe(mine)
    const session = await (await connect()).attach()
    await session.sync('a')
    session.write('a', '', [[setTo('n', 1)]], {})
    const outcome = await session.outcome('a', 1)
    expect(outcome).toMatchObject({ type: 'refused', code: 'aborted' })
    expect(JSON.stringify(outcome)).not.toContain('mine')
    expect(logged.filter(([, message]) => message === 'the hook beforeCommit failed')).toMatchObject([
      [{ contextId: 'a', error: { message: 'mine' } }, 'the hook beforeCommit failed'],
      [{ contextId: 'a', error: { message: 'mine' } }, 'the hook beforeCommit failed'],
    ])
    expect(await contexts.get('a')).toBeNull()
  })

  test('that throws a held code refuses all the same: a verdict is final', async () => {
    const { logger, logged } = errors()
    const held = new ContextdError('backend_unavailable', 'The shop is closed.')
    const { contexts, connect } = await served({}, { logger, hooks: { beforeCommit: () => Promise.reject(held) } })
    await expect(contexts.set('a', {})).rejects.toMatchObject({ code: 'backend_unavailable', cause: held })
    const session = await (await connect()).attach()
    await session.sync('a')
    session.write('a', '', [[setTo('n', 1)]], {})
    expect(await session.outcome('a', 1)).toMatchObject({ type: 'refused', code: 'aborted' })
    expect(logged.length).toBeGreaterThan(0)
  })

  test('that never answers refuses with aborted in its time; other contexts do not wait, and the context goes on', async () => {
    const { logger, logged } = errors()
    let hangs = true
    const contexts = engine(
      { logger, hooks: { beforeCommit: ({ contextId }) => (hangs && contextId === 'a' ? new Promise(() => {}) : undefined) } },
      { hookMs: 30 },
    )
    const stuck = contexts.set('a', { n: 1 }).catch((error: unknown) => error)
    await contexts.set('b', { n: 1 })
    expect(await stuck).toMatchObject({ code: 'aborted', message: 'The hook beforeCommit did not answer within 30 ms.' })
    hangs = false
    await contexts.set('a', { n: 2 })
    expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 2 } })
    expect(logged).toEqual([])
  })

  test('that waits for a write to the same context waits for itself: it is refused in its time, and the other write is stored', async () => {
    const shared = new SharedMemory()
    await engine({ backend: shared.handle() }).set('a', { n: 1 })
    const inner: Promise<unknown>[] = []
    const contexts: Contexts<{}, unknown> = engine(
      {
        backend: shared.handle(),
        hooks: {
          beforeCommit: async ({ after }) => {
            if (after['outer'] !== true) return
            inner.push(contexts.update('a', { inner: true }))
            await inner[0]
          },
        },
      },
      { hookMs: 30 },
    )
    await expect(contexts.update('a', { outer: true })).rejects.toEqual(code('aborted'))
    await inner[0]
    expect(await contexts.get('a')).toMatchObject({ version: 2, state: { n: 1, inner: true } })
  })

  test('that rejects after its time is over ends nothing', async () => {
    const contexts = engine({ hooks: { beforeCommit: () => pause(20).then(() => Promise.reject(new Error('late'))) } }, { hookMs: 5 })
    await expect(contexts.set('a', {})).rejects.toEqual(code('aborted'))
    await pause(30)
    expect(await contexts.get('a')).toBeNull()
  })

  test('that hangs when the engine closes: what waits for it is told so, and is not stored when it answers then', async () => {
    const shared = new SharedMemory()
    const asked: (() => void)[] = []
    const hooks: Hooks = { beforeCommit: () => new Promise<void>((resolve) => void asked.push(resolve)) }
    const contexts = engine({ backend: shared.handle(), hooks }, { drainMs: 10, hookMs: 60_000 })
    const write = contexts.set('a', {}).catch((error: unknown) => error)
    await until(() => asked.length === 1)
    await contexts.close()
    expect(await write).toEqual(code('closed'))
    asked[0]!()
    await turn()
    expect(shared.store.load('a')?.snapshot ?? null).toBeNull()
  })
})

describe('afterCommit', () => {
  test('is told each stored commit once and in order, with its user and its changes as they are on the wire', async () => {
    const told: Told[] = []
    const shared = new SharedMemory()
    const contexts = engine({
      backend: shared.handle(),
      deltaFormat: 'verbose',
      hooks: { afterCommit: (commit) => void told.push(commit) },
    })
    const other = engine({ backend: shared.handle() })
    await contexts.set('a', { n: 1 }, { user: { id: 'ada' } })
    await Promise.all([contexts.update('a', { n: 2 }), contexts.update('a', { n: 2 }), contexts.update('a', { m: 1 })])
    await expect(contexts.update('a', { n: 3 }, { ifVersion: 1 })).rejects.toEqual(code('conflict'))
    await other.update('a', { n: 9 })
    await contexts.delete('a')
    expect(told).toMatchObject([
      {
        user: { id: 'ada' },
        contextId: 'a',
        delta: { baseVersion: 0, version: 1, author: author('ada'), changes: [{ path: ['n'], action: 'added', value: 1 }] },
        after: { n: 1 },
      },
      {
        user: null,
        delta: { version: 2, author: author(null), changes: [{ path: ['n'], action: 'modified', value: 2, oldValue: 1 }] },
        after: { n: 2 },
      },
      { delta: { version: 3, changes: [{ path: ['m'], action: 'added', value: 1 }] }, after: { n: 2, m: 1 } },
    ])
    expect(told).toHaveLength(3)
    expect(() => void (told[0]!.after['n'] = 7)).toThrow(TypeError)
  })

  test.each<[string, () => void | Promise<void>]>([
    [
      'throws',
      () => {
        throw new RangeError('mine')
      },
    ],
    ['rejects', () => Promise.reject(new RangeError('mine'))],
  ])('that %s is logged, and changes nothing', async (_name, afterCommit) => {
    const { logger, logged } = errors()
    const contexts = engine({ logger, hooks: { afterCommit } })
    expect((await contexts.set('a', { n: 1 })).context.version).toBe(1)
    await until(() => logged.length === 1)
    expect(logged).toMatchObject([[{ contextId: 'a', error: { message: 'mine' } }, 'the hook afterCommit failed']])
    expect(await contexts.get('a')).toMatchObject({ version: 1 })
  })

  test('that never answers keeps nobody waiting, at the end of the engine neither', async () => {
    const contexts = engine({ hooks: { afterCommit: () => new Promise(() => {}) } })
    await contexts.set('a', { n: 1 })
    await contexts.set('a', { n: 2 })
    expect((await contexts.get('a'))?.version).toBe(2)
    await contexts.close()
  })
})
