import { setImmediate as turn } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { code, create, increment } from '../../support/contexts.ts'
import { memoryBackend } from '../backends/memory.ts'
import { createContexts } from './contexts.ts'
import { engineOf } from '../engine/engine.ts'

describe('bad input', () => {
  const circular: { [key: string]: unknown } = {}
  circular['self'] = circular
  test.each<[string, unknown]>([
    ['a Date', { at: new Date(0) }],
    ['a Map', { at: new Map() }],
    ['NaN', { n: Number.NaN }],
    ['Infinity', { n: Infinity }],
    ['undefined', { n: undefined }],
    ['a function', { n: () => 1 }],
    ['a bigint', { n: 1n }],
    ['a hole', { list: [1, , 2] }], // oxlint-disable-line no-sparse-arrays
    ['a lone surrogate', { t: '\ud800' }],
    ['__proto__', JSON.parse('{"__proto__":{"x":1}}')],
    ['constructor', { constructor: 1 }],
    ['itself', circular],
  ])('set refuses %s at once', async (_name, state) => {
    const contexts = create()
    await expect(contexts.set('a', state as object)).rejects.toThrow(TypeError)
    expect(await contexts.get('a')).toBeNull()
  })

  test.each([[null], [[]], ['text'], [5]])('set refuses %j as a state, and update as a patch', async (state) => {
    const contexts = create()
    await expect(contexts.set('a', state as never)).rejects.toEqual(code('invalid_state'))
    await expect(contexts.update('a', state as never)).rejects.toThrow(TypeError)
  })

  test('values are as deep as the limit, and no deeper', async () => {
    const contexts = create({ limits: { depth: 3 } })
    await contexts.set('a', { b: { c: {} } })
    await expect(contexts.set('a', { b: { c: { d: {} } } })).rejects.toEqual(code('invalid_operation'))
  })

  test.each<[unknown]>([['__proto__'], ['{a}'], ['a#'], ['a*'], ['a/b'], ['..'], ['a b'], ['a\0'], [''], ['x'.repeat(129)], [7], [null]])(
    '%j is no context id',
    async (id) => {
      const contexts = create()
      await expect(contexts.set(id as string, {})).rejects.toEqual(code('invalid_operation'))
      await expect(contexts.get(id as string)).rejects.toEqual(code('invalid_operation'))
      expect(() => contexts.subscribe(id as string, () => {})).toThrow(ContextdError)
    },
  )

  test('operations are looked through', async () => {
    const contexts = create()
    await contexts.set('a', { list: [1] })
    for (const operation of [
      { type: 'fly' },
      { type: 'set', path: ['__proto__', 'x'], value: 1 },
      { type: 'set', path: ['list', 'length'], value: 0 },
      { type: 'increment', path: ['n'], by: Number.NaN },
    ]) {
      await expect(contexts.apply('a', [operation as never])).rejects.toEqual(code('invalid_operation'))
    }
    await expect(contexts.apply('a', Array(1_001).fill(increment[0]) as never)).rejects.toEqual(code('invalid_operation'))
  })

  test.each<[object]>([
    [{ unknown: 1 }],
    [{ archive: {} }],
    [{ backend: {} }],
    [{ deltaFormat: 'xml' }],
    [{ clock: {} }],
    [{ deltaTtlMs: -1 }],
    [{ deltaThreshold: 0 }],
    [{ sessionTtlMs: '1' }],
    [{ limits: { depth: '3' } }],
    [{ limits: { nope: 1 } }],
    [{ logger: {} }],
    [{ contexts: {} }],
    [{ contexts: [{}] }],
  ])('createContexts refuses %o', (options) => {
    expect(() => createContexts(options as never)).toThrow(TypeError)
  })

  test('options of calls are looked through', async () => {
    const contexts = create({ backend: memoryBackend() })
    await expect(contexts.set('a', {}, { nope: 1 } as never)).rejects.toThrow(TypeError)
    await expect(contexts.set('a', {}, { ifVersion: 1.5 })).rejects.toThrow(TypeError)
    await expect(contexts.set('a', {}, { user: { id: 7 } } as never)).rejects.toThrow(TypeError)
    await expect(contexts.list({ limit: 0 })).rejects.toThrow(TypeError)
    await expect(contexts.list({ order: 'up' } as never)).rejects.toThrow(TypeError)
    expect(() => contexts.subscribe('a', null as never)).toThrow(TypeError)
    expect(() => engineOf({})).toThrow(TypeError)
  })

  test('a function of transact that is asynchronous is refused, and its failure later ends nothing', async () => {
    const rejections: unknown[] = []
    const unhandled = (reason: unknown): void => void rejections.push(reason)
    process.on('unhandledRejection', unhandled)
    const contexts = create()
    await contexts.set('a', { n: 1 })
    const late = contexts.transact('a', (async (draft: JsonObject): Promise<void> => {
      await turn()
      draft['n'] = 2
      throw new Error('late')
    }) as never)
    await expect(late).rejects.toThrow('The function of transact must be synchronous: await first, then transact.')
    await turn()
    await turn()
    process.off('unhandledRejection', unhandled)
    expect(rejections).toEqual([])
    expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
  })
})

describe('an id that would be twice in a list', () => {
  const list = [{ id: 'x', n: 1 }, { id: 'y' }]
  const twice: [string, Operation[]][] = [
    ['an insert', [{ type: 'insert', path: ['list'], values: [{ id: 'x' }], at: 'end' }]],
    ['an insert of two', [{ type: 'insert', path: ['list'], values: [{ id: 'z' }, { id: 'z' }], at: 'start' }]],
    ['an item that is given another id', [{ type: 'set', path: ['list', { id: 'y' }, 'id'], value: 'x' }]],
    ['an item that is replaced', [{ type: 'set', path: ['list', { id: 'y' }], value: { id: 'x' } }]],
    ['a move', [{ type: 'move', from: { path: ['other'], item: { id: 'x' } }, to: { path: ['list'], at: 'end' } }]],
  ]

  test.each(twice)('by %s is a coded error, and nothing of its commit is stored', async (_name, operations) => {
    const contexts = create()
    await contexts.set('a', { list, other: [{ id: 'x' }] })
    const outcomes = await Promise.allSettled([
      contexts.apply('a', [{ type: 'set', path: ['first'], value: true }]),
      contexts.apply('a', [
        { type: 'set', path: ['half'], value: true },
        { type: 'increment', path: ['list', { id: 'x' }, 'n'], by: 1 },
        ...operations,
      ]),
      contexts.apply('a', [{ type: 'set', path: ['last'], value: true }]),
    ])
    expect(outcomes).toMatchObject([
      { status: 'fulfilled' },
      {
        status: 'rejected',
        reason: {
          code: 'invalid_operation',
          contextId: 'a',
          message: expect.stringMatching(/^list has an item with the id "[xz]" already/) as string,
        },
      },
      { status: 'fulfilled' },
    ])
    expect(await contexts.get('a')).toMatchObject({ version: 3, state: { list, other: [{ id: 'x' }], first: true, last: true } })
    expect((await contexts.get('a'))?.state).not.toHaveProperty('half')
  })

  test('in a value that is set whole is stored as it is: such a list has no keys, and is replaced as a whole', async () => {
    const contexts = create()
    const same = [{ id: 'x' }, { id: 'x' }]
    await contexts.set('a', { list: same })
    await contexts.transact('a', (draft) => void (draft['list'] as JsonObject[]).push({ id: 'x', n: 3 }))
    expect((await contexts.get('a'))?.state).toEqual({ list: [...same, { id: 'x', n: 3 }] })
    expect((await contexts.history('a', { limit: 1 }))[0]?.changes).toMatchObject([{ path: ['list', 2], action: 'added' }])
    await contexts.update('a', { list })
    await contexts.apply('a', [{ type: 'increment', path: ['list', { id: 'x' }, 'n'], by: 1 }])
    expect((await contexts.get('a'))?.state).toEqual({ list: [{ id: 'x', n: 2 }, { id: 'y' }] })
  })
})
