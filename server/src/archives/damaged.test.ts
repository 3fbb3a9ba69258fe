import { ContextdError } from '@contextd/protocol'
import { describe, expect, test, vi } from 'vitest'
import { engines } from '../../support/stores.ts'
import type { Contexts } from '../contexts/contexts.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const sound = { version: 3, state: { n: 3 } }
const record = ['key', 5, 0, 1, [[1, { type: 'nothing', head: { incarnation: 'i', version: 1, revision: 'r' } }]]]
const circular: { [key: string]: unknown } = {}
circular['self'] = circular
const unreadable = new Proxy(
  {},
  {
    ownKeys() {
      throw new Error('no')
    },
  },
)
const nested = (depth: number): unknown => (depth === 0 ? 1 : { in: nested(depth - 1) })

/** An engine whose archive gives this, with a context that is there. */
async function withArchive(restore: () => unknown, more: object = {}): Promise<Contexts<{}, unknown>> {
  const contexts = engine({ archive: { export: () => {}, restore: restore as never }, ...more }, { archiveMs: 50 })
  await contexts.set('a', { n: 1 })
  return contexts
}

describe('what an archive gives may be anything', () => {
  test.each<[string, unknown]>([
    ['no object', 7],
    ['a text', JSON.stringify(sound)],
    ['a list', []],
    ['nothing in it', {}],
    ['what cannot be read', unreadable],
    ['version 0', { ...sound, version: 0 }],
    ['a negative version', { ...sound, version: -1 }],
    ['a version with a fraction', { ...sound, version: 1.5 }],
    ['a version that is a text', { ...sound, version: '3' }],
    ['a version without room for commits', { ...sound, version: Number.MAX_SAFE_INTEGER }],
    ['no state', { version: 3 }],
    ['a state that is null', { ...sound, state: null }],
    ['a state that is a list', { ...sound, state: [1] }],
    ['a state with a function', { ...sound, state: { f: () => 1 } }],
    ['a state with a Date', { ...sound, state: { at: new Date(0) } }],
    ['a state with NaN', { ...sound, state: { n: Number.NaN } }],
    ['a state with undefined', { ...sound, state: { n: undefined } }],
    ['a state with __proto__', { ...sound, state: JSON.parse('{"__proto__":{"x":1}}') as object }],
    ['a state that contains itself', { ...sound, state: circular }],
    ['a state nested too deep', { ...sound, state: nested(65) }],
    ['another context', { ...sound, contextId: 'b' }],
    ['an incarnation that is no token', { ...sound, incarnation: 5 }],
    ['an empty incarnation', { ...sound, incarnation: '' }],
    ['a long incarnation', { ...sound, incarnation: 'x'.repeat(65) }],
    ['a time that is none', { ...sound, updatedAt: 'yesterday' }],
    ['a time before all times', { ...sound, createdAt: -1 }],
    ['an author that is none', { ...sound, updatedBy: 'ada' }],
    ['streams that are none', { ...sound, streams: 'opaque' }],
    ['streams of another kind', { ...sound, streams: {} }],
    ['streams with no list', { ...sound, streams: { schema: 0, records: {} } }],
    ['streams with a schema that is none', { ...sound, streams: { schema: -1, records: [] } }],
    ['a record that is none', { ...sound, streams: { schema: 0, records: [null] } }],
    ['a record with a bad key', { ...sound, streams: { schema: 0, records: [['a b', ...record.slice(1)]] } }],
    ['a record with a bad verdict', { ...sound, streams: { schema: 0, records: [[...record.slice(0, 4), [[1, { type: 'maybe' }]]]] } }],
    ['a record with a verdict above its last number', { ...sound, streams: { schema: 0, records: [['k', 5, 0, 0, record[4]]] } }],
    [
      'a record with numbers out of order',
      {
        ...sound,
        streams: {
          schema: 0,
          records: [
            [
              'k',
              5,
              0,
              9,
              [
                [2, { type: 'applied', head: null }],
                [1, { type: 'applied', head: null }],
              ],
            ],
          ],
        },
      },
    ],
    ['two records of one stream', { ...sound, streams: { schema: 0, records: [record, record] } }],
    ['a function in the streams', { ...sound, streams: { schema: 0, records: [[() => 1, 5, 0, 0, []]] } }],
  ])('%s: invalid_state, and what is there stays', async (_name, given) => {
    const contexts = await withArchive(() => given)
    const before = await contexts.get('a')
    await expect(contexts.restore('a')).rejects.toMatchObject({ code: 'invalid_state', contextId: 'a' })
    expect(await contexts.get('a')).toEqual(before)
    expect(await contexts.history('a')).toHaveLength(1)
  })

  test('a state at the limit comes back, one byte more is too_large', async () => {
    const given = { version: 1, state: { t: 'x'.repeat(92) } }
    const contexts = await withArchive(() => given, { limits: { stateBytes: 100 } })
    await contexts.restore('a')
    given.state.t += 'x'
    await expect(contexts.restore('a')).rejects.toEqual(code('too_large'))
    given.state.t = 'é'.repeat(47)
    await expect(contexts.restore('a')).rejects.toEqual(code('too_large'))
    expect(await contexts.get('a')).toMatchObject({ state: { t: 'x'.repeat(92) } })
  })

  test('times that have not come yet are now', async () => {
    const clock = new FakeClock()
    const streams = { schema: 0, records: [['key', 10 ** 15, 0, 0, []]] }
    const contexts = await withArchive(() => ({ ...sound, streams, createdAt: 10 ** 15, updatedAt: 10 ** 14 }), { clock })
    expect(await contexts.restore('a')).toMatchObject({ createdAt: clock.now(), updatedAt: clock.now() })
  })

  test('what it gave is copied: what it does to it later reaches nobody', async () => {
    const given = { version: 1, state: { list: [1] } }
    const contexts = await withArchive(() => given)
    await contexts.restore('a')
    given.state.list.push(2)
    expect(await contexts.get('a')).toMatchObject({ state: { list: [1] } })
  })
})

describe('what an archive does may be anything', () => {
  test.each<[string, () => unknown, string]>([
    ['throws', () => { throw new Error('mine') }, 'backend_unavailable'], // oxfmt-ignore
    ['rejects', () => Promise.reject(new Error('mine')), 'backend_unavailable'],
    ['refuses', () => Promise.reject(new ContextdError('forbidden', 'not yours')), 'forbidden'],
    ['never answers', () => new Promise(() => {}), 'timeout'],
  ])('one that %s is a coded error, of export as of restore', async (_name, does, expected) => {
    const error = vi.fn<() => void>()
    const logger = { debug: () => {}, info: () => {}, warn: () => {}, error }
    const contexts = engine({ archive: { export: does as never, restore: does as never }, logger }, { archiveMs: 50 })
    const { context } = await contexts.set('a', { n: 1 })
    await expect(contexts.export('a')).rejects.toEqual(code(expected))
    await expect(contexts.restore('a')).rejects.toEqual(code(expected))
    expect(await contexts.get('a')).toEqual(context)
    expect(error).toHaveBeenCalledTimes(expected === 'backend_unavailable' ? 2 : 0)
  })

  test('what it is given is frozen', async () => {
    const contexts = engine({
      archive: {
        export: ({ state }) => {
          state['n'] = 2
        },
        restore: () => null,
      },
    })
    await contexts.set('a', { n: 1 })
    await expect(contexts.export('a')).rejects.toMatchObject({ code: 'backend_unavailable', cause: expect.any(TypeError) as TypeError })
    expect(await contexts.get('a')).toMatchObject({ state: { n: 1 } })
  })

  test('undefined is nothing, as null is', async () => {
    const contexts = await withArchive(() => {})
    await expect(contexts.restore('a')).rejects.toEqual(code('not_found'))
  })
})

test.each([
  ['a snapshot that is cut off', '{"n":'],
  ['a snapshot that is no object', '[1]'],
  ['no snapshot', null],
])('a backend that has %s as an archive: invalid_state, and what is there stays', async (_name, snapshot) => {
  const shared = new SharedMemory()
  const contexts = engine({ archive: shared.handle() })
  const { context } = await contexts.set('a', { n: 1 })
  await contexts.export('a')
  shared.store.putBack({ ...shared.store.copy('a'), snapshot })
  await expect(contexts.restore('a')).rejects.toMatchObject({
    code: 'invalid_state',
    contextId: 'a',
    message: expect.stringContaining('damaged') as string,
  })
  expect(await contexts.get('a')).toEqual(context)
  // Who exports again mends it.
  await contexts.export('a')
  expect(await contexts.restore('a')).toMatchObject({ version: 1, state: { n: 1 } })
})
