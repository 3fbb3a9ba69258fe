import { defineContext } from '@contextd/protocol'
import type { JsonObject, StandardSchema } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { served } from '../../support/served.ts'
import { engines, storeNames, stores } from '../../support/stores.ts'
import { until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import { silentLogger } from '../logger.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const newStore = stores()
const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as StandardSchema<object>
const migration = (schema: number): object => ({ userId: null, actor: `migration:${schema}` })

type Migrate = (state: JsonObject, from: number) => object
const userSchema = z.looseObject({ first: z.string(), last: z.string() })
/** Version 2 of a user: the name in two parts. */
const split: Migrate = ({ name, ...rest }, _from) => {
  const [first = '', last = ''] = (name as string).split(' ')
  return { ...rest, first, last }
}
const user = (migrate: Migrate = split, version = 2): { contexts: [ReturnType<typeof defineContext>] } => ({
  contexts: [defineContext('user:*', { state: userSchema, version, migrate: migrate as never }) as never],
})

describe.each(storeNames)('a state of an older version of its definition, on %s', (name) => {
  test('is moved on at the first access, by one commit of its own, whatever the access is; nobody moves it twice', async () => {
    const store = newStore(name)
    const old = engine({ backend: store() })
    const accesses: [id: string, access: (contexts: ReturnType<typeof engine>, id: string) => Promise<unknown>][] = [
      ['user:get', (contexts, id) => contexts.get(id)],
      ['user:sync', (contexts, id) => contexts.sync(id, 1)],
      ['user:update', (contexts, id) => contexts.update(id, { age: 36 })],
      ['user:apply', (contexts, id) => contexts.apply(id, [setTo('age', 36)])],
      ['user:transact', (contexts, id) => contexts.transact(id, (draft) => void (draft['age'] = `${draft['first'] as string} 36`))],
    ]
    for (const [id] of accesses) await old.set(id, { name: 'Ada Lovelace', age: 35 })
    const migrate = vi.fn<Migrate>(split)
    const [one, two] = [engine({ backend: store(), ...user(migrate) }), engine({ backend: store(), ...user() })]
    for (const [id, access] of accesses) {
      await access(one, id)
      const { version, state } = (await two.get(id))!
      const writes = /update|apply|transact/.test(id)
      expect([id, version]).toEqual([id, writes ? 3 : 2])
      expect(state).toEqual({ first: 'Ada', last: 'Lovelace', age: id === 'user:transact' ? 'Ada 36' : writes ? 36 : 35 })
      expect((await two.history(id)).map(({ author }) => author).at(writes ? 1 : 0)).toEqual(migration(2))
    }
    expect(migrate.mock.calls).toEqual(accesses.map(() => [{ name: 'Ada Lovelace', age: 35 }, 1]))
  })

  test('is as it was in its history, and deltas lead over the move', async () => {
    const store = newStore(name)
    await engine({ backend: store() }).set('user:1', { name: 'Ada Lovelace' })
    const contexts = engine({ backend: store(), ...user() })
    expect(await contexts.sync('user:1', 1)).toMatchObject({
      type: 'delta',
      delta: {
        baseVersion: 1,
        version: 2,
        changes: expect.arrayContaining([
          { path: ['name'], action: 'removed', oldValue: 'Ada Lovelace' },
          { path: ['first'], action: 'added', value: 'Ada' },
        ]) as unknown,
      },
    })
    expect((await contexts.at('user:1', 1)).state).toEqual({ name: 'Ada Lovelace' })
  })

  test('that many nodes come to at once is moved on once', async () => {
    const store = newStore(name)
    await engine({ backend: store() }).set('user:1', { name: 'Ada Lovelace', n: 0 })
    const nodes = Array.from({ length: 3 }, () => engine({ backend: store(), ...user() }))
    await Promise.all(
      nodes.flatMap((contexts) => [
        contexts.get('user:1'),
        contexts.apply('user:1', [{ type: 'increment', path: ['n'], by: 1 }]),
        contexts.sync('user:1', 1),
        contexts.apply('user:1', [{ type: 'increment', path: ['n'], by: 1 }]),
      ]),
    )
    const { version, state } = (await nodes[0]!.get('user:1'))!
    expect({ version, state }).toEqual({ version: 8, state: { first: 'Ada', last: 'Lovelace', n: 6 } })
    const authors = (await nodes[0]!.history('user:1')).map(({ author }) => author.actor)
    expect(authors.filter((actor) => actor.startsWith('migration'))).toEqual(['migration:2'])
  })

  test('moves on from whatever version it is of, and never back: a node with an older definition leaves it where it is', async () => {
    const store = newStore(name)
    await engine({ backend: store(), contexts: [defineContext('a', { state: anything, version: 3 })] }).set('a', { at: 3 })
    const at = (version: number): ReturnType<typeof engine> =>
      engine({
        backend: store(),
        contexts: [
          defineContext('a', { state: anything, version, migrate: ({ way = [] }, from) => ({ way: [...(way as number[]), from] }) }),
        ],
      })
    const [older, same, newer, newest] = [at(2), at(3), at(5), at(6)]
    for (const contexts of [older, same]) expect(await contexts.get('a')).toMatchObject({ version: 1, state: { at: 3 } })
    await older.update('a', { older: true })
    expect((await newer.get('a'))?.state).toEqual({ way: [3] })
    await older.update('a', { older: true })
    expect((await same.get('a'))?.state).toEqual({ way: [3], older: true })
    expect((await newest.get('a'))?.state).toEqual({ way: [3, 5] })
    expect((await newer.get('a'))?.version).toBe(5)
  })
})

test('a context that is created now is of the newest version, and is not moved on; one that needs no change is marked as moved', async () => {
  const shared = new SharedMemory()
  await engine({ backend: shared.handle() }).set('user:old', { first: 'Ada', last: 'Lovelace' })
  const migrate = vi.fn<Migrate>((state) => state)
  const contexts = engine({ backend: shared.handle(), ...user(migrate) })
  await contexts.set('user:new', { first: 'Bob', last: '' })
  expect(await contexts.get('user:new')).toMatchObject({ version: 1 })
  expect(migrate).not.toHaveBeenCalled()
  for (let n = 0; n < 2; n += 1) expect(await contexts.get('user:old')).toMatchObject({ version: 2, updatedBy: migration(2) })
  expect(migrate).toHaveBeenCalledTimes(1)
  const again = engine({ backend: shared.handle(), ...user(migrate) })
  expect(await again.get('user:old')).toMatchObject({ version: 2 })
  expect(migrate).toHaveBeenCalledTimes(1)
})

test('a context that is deleted and created again is of the newest version', async () => {
  const shared = new SharedMemory()
  await engine({ backend: shared.handle() }).set('user:1', { name: 'Ada Lovelace' })
  const migrate = vi.fn<Migrate>(split)
  const contexts = engine({ backend: shared.handle(), ...user(migrate) })
  await contexts.delete('user:1')
  const calls = migrate.mock.calls.length
  await contexts.set('user:1', { first: 'Bob', last: '' })
  expect(await contexts.get('user:1')).toMatchObject({ version: 1, state: { first: 'Bob' } })
  expect(migrate.mock.calls.length).toBe(calls)
})

test('what a migration does to the state that it is given changes nothing but by what it returns', async () => {
  const shared = new SharedMemory()
  await engine({ backend: shared.handle() }).set('a', { list: [1] })
  const contexts = engine({
    backend: shared.handle(),
    contexts: [
      defineContext('a', {
        state: anything,
        version: 2,
        migrate: (state) => {
          ;(state['list'] as number[]).push(2)
          return state
        },
      }),
    ],
  })
  expect((await contexts.get('a'))?.state).toEqual({ list: [1, 2] })
  expect((await contexts.at('a', 1)).state).toEqual({ list: [1] })
})

describe('a migration that fails', () => {
  const cases: [string, Migrate][] = [
    [
      'throws',
      () => {
        throw new RangeError('mine')
      },
    ],
    ['returns a promise', (() => Promise.reject(new Error('late'))) as unknown as Migrate],
    ['never answers', (() => new Promise(() => {})) as unknown as Migrate],
    ['returns nothing', (() => undefined) as unknown as Migrate],
    ['returns a list', () => []],
    ['returns what is not JSON', () => ({ first: 'a', last: 'b', at: new Date() })],
  ]

  test.each(cases)(
    'since it %s: reads and writes are refused with invalid_state, nothing is written, and it can be put right',
    async (_name, migrate) => {
      const error = vi.fn<(details: object, message: string) => void>()
      const shared = new SharedMemory()
      await engine({ backend: shared.handle() }).set('user:1', { name: 'Ada Lovelace' })
      const contexts = engine({ backend: shared.handle(), logger: { ...silentLogger, error }, ...user(migrate) })
      await expect(contexts.get('user:1')).rejects.toMatchObject({ code: 'invalid_state', contextId: 'user:1' })
      await expect(contexts.sync('user:1', null)).rejects.toEqual(code('invalid_state'))
      await expect(contexts.update('user:1', { n: 1 })).rejects.toEqual(code('invalid_state'))
      await expect(contexts.set('user:1', { first: '', last: '' })).rejects.toEqual(code('invalid_state'))
      await expect(contexts.transact('user:1', () => {})).rejects.toEqual(code('invalid_state'))
      expect(error).toHaveBeenCalledWith(expect.objectContaining({ contextId: 'user:1' }), expect.stringContaining('could not be moved on'))
      // Other contexts are served, and this one is as it was: what failed can be put right.
      await contexts.set('user:2', { first: 'Bob', last: '' })
      const mended = engine({ backend: shared.handle(), ...user() })
      expect(await mended.get('user:1')).toMatchObject({ version: 2, state: { first: 'Ada', last: 'Lovelace' } })
      expect(await contexts.get('user:1')).toMatchObject({ version: 2 })
    },
  )

  test('makes no valid state invalid: it is refused like any other commit', async () => {
    const shared = new SharedMemory()
    await engine({ backend: shared.handle() }).set('user:1', { first: 'Ada', last: 'Lovelace' })
    const contexts = engine({ backend: shared.handle(), ...user(() => ({ first: 7 })) })
    await expect(contexts.get('user:1')).rejects.toEqual(code('invalid_state'))
    expect((await engine({ backend: shared.handle() }).get('user:1'))?.version).toBe(1)
  })

  test('can be gone round by a delete', async () => {
    const shared = new SharedMemory()
    await engine({ backend: shared.handle() }).set('user:1', { name: 'Ada Lovelace' })
    const contexts = engine({ backend: shared.handle(), ...user(cases[0]![1]) })
    await contexts.delete('user:1')
    expect((await contexts.set('user:1', { first: 'Bob', last: '' })).context.version).toBe(1)
  })
})

test('clients and subscribers of a node that knows the new version see the move as a commit like any other', async () => {
  const shared = new SharedMemory()
  const old = await served({}, { backend: shared.handle() })
  await old.contexts.set('user:1', { name: 'Ada Lovelace' })
  const before = await (await old.connect()).attach()
  const { answer } = await before.sync('user:1')
  const { head } = answer as Extract<typeof answer, { type: 'full' }>
  const { contexts, connect } = await served({}, { backend: shared.handle(), ...user() })
  const session = await (await connect()).attach()
  const synced = await session.sync('user:1', head)
  expect(synced.answer).toMatchObject({ type: 'delta', authors: [[null, 'migration:2']] })
  expect(await contexts.get('user:1')).toMatchObject({ version: 2 })
  const told: unknown[] = []
  contexts.subscribe('user:1', (delta, { state }) => told.push([delta.version, state]))
  session.write('user:1', (await contexts.get('user:1'))!.incarnation, [[setTo('first', 'Augusta')]])
  await until(() => told.length === 1)
  expect(told).toEqual([[3, { first: 'Augusta', last: 'Lovelace' }]])
})
