import { defineContext } from '@contextd/protocol'
import type { ContextDefinition, JsonObject, Operation, StandardSchema } from '@contextd/protocol'
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { z } from 'zod'
import { served } from '../../support/served.ts'
import { engines } from '../../support/stores.ts'
import { silentLogger } from '../logger.ts'
import { SharedMemory } from '../testing/shared-memory.ts'

const engine = engines()
const code = (expected: string): object => expect.objectContaining({ name: 'ContextdError', code: expected })
const set = (path: (string | number)[], value: JsonObject[string]): Operation => ({ type: 'set', path, value })

/** A schema that does this. */
const schemaOf = (validate: (value: unknown) => unknown): StandardSchema<object> => ({
  '~standard': { version: 1, vendor: 'test', validate },
})
const anything = schemaOf((value) => ({ value }))
const named = (name: string): { state: StandardSchema<object>; initial: JsonObject } => ({ state: anything, initial: { of: name } })

/** Rejections that nobody took care of: they would end the process. */
function unhandled(): unknown[] {
  const found: unknown[] = []
  const listener = (reason: unknown): void => void found.push(reason)
  process.on('unhandledRejection', listener)
  onTestFinished(() => void process.off('unhandledRejection', listener))
  return found
}

interface Note {
  title: string
  tags: string[]
  author?: { name: string }
}
const libraries: { [name: string]: StandardSchema<Note> } = {
  zod: z.object({ title: z.string().min(1), tags: z.array(z.string()), author: z.exactOptional(z.object({ name: z.string() })) }),
  valibot: v.object({
    title: v.pipe(v.string(), v.minLength(1)),
    tags: v.array(v.string()),
    author: v.exactOptional(v.object({ name: v.string() })),
  }),
  arktype: type({ title: 'string > 0', tags: 'string[]', 'author?': { name: 'string' } }),
}

describe.each(Object.keys(libraries))('a schema of %s', (name) => {
  const note = defineContext('note:*', { state: libraries[name]!, initial: { title: 'New', tags: [] } })

  test('refuses what makes a valid state invalid, by whichever call, and says where and why; nothing of it is stored', async () => {
    const contexts = engine({ contexts: [note] })
    await expect(contexts.set('note:1', { title: '', tags: [] })).rejects.toEqual(code('invalid_state'))
    await expect(contexts.apply('note:1', [set(['title'], 1)])).rejects.toEqual(code('invalid_state'))
    await expect(contexts.update('note:1', {}, { initial: { title: 'x' } })).rejects.toEqual(code('invalid_state'))
    expect(await contexts.get('note:1')).toBeNull()
    const valid = { title: 'Plan', tags: ['a'], author: { name: 'Ada' } }
    await contexts.set('note:1', valid)
    await expect(contexts.update('note:1', { title: null })).rejects.toEqual(code('invalid_state'))
    await expect(contexts.set('note:1', {})).rejects.toEqual(code('invalid_state'))
    // A commit is refused whole: also what would have been valid in it.
    await expect(contexts.apply('note:1', [set(['title'], 'Other'), set(['author', 'name'], 7)])).rejects.toMatchObject({
      code: 'invalid_state',
      contextId: 'note:1',
      message: expect.stringMatching(/^The schema of note:\* refuses the state at author\.name: ./) as string,
      details: { issues: [{ path: ['author', 'name'], message: expect.any(String) as string }] },
    })
    await expect(contexts.transact('note:1', (draft) => void (draft['tags'] as unknown[]).push(1))).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringMatching(/ at tags\.1: ./) as string,
    })
    expect(await contexts.get('note:1')).toMatchObject({ version: 1, state: valid })
  })

  test('lets what is valid pass, and what is no business of it', async () => {
    const contexts = engine({ contexts: [note] })
    expect((await contexts.update('note:1', { tags: ['a'] })).context.state).toEqual({ title: 'New', tags: ['a'] })
    await contexts.transact('note:1', (draft) => void (draft['author'] = { name: 'Ada' }))
    // The schemas say nothing of other keys, and nothing of contexts with other ids.
    await contexts.update('note:1', { more: true })
    await contexts.set('other:1', { title: 7 })
    expect((await contexts.get('note:1'))?.state).toEqual({ title: 'New', tags: ['a'], author: { name: 'Ada' }, more: true })
  })

  test('a state that is invalid already takes every commit, until it is repaired; from then on it is kept valid', async () => {
    const shared = new SharedMemory()
    await engine({ backend: shared.handle() }).set('note:1', { title: 7, tags: 'a', n: 1 })
    const contexts = engine({ backend: shared.handle(), contexts: [note] })
    expect((await contexts.update('note:1', { n: 2 })).context.state).toEqual({ title: 7, tags: 'a', n: 2 })
    // Half a repair is one too.
    await contexts.update('note:1', { title: 'Plan' })
    await contexts.update('note:1', { tags: [] })
    await expect(contexts.update('note:1', { tags: 'a' })).rejects.toEqual(code('invalid_state'))
    expect(await contexts.get('note:1')).toMatchObject({ version: 4, state: { title: 'Plan', tags: [], n: 2 } })
  })

  test('refuses a commit in the middle of a batch, and the others of the batch are stored', async () => {
    const contexts = engine({ contexts: [note] })
    await contexts.set('note:1', { title: 'Plan', tags: [] })
    const outcomes = await Promise.allSettled([
      contexts.update('note:1', { a: 1 }),
      contexts.update('note:1', { title: 5 }),
      contexts.update('note:1', { b: 1 }),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await contexts.get('note:1')).toMatchObject({ version: 3, state: { title: 'Plan', tags: [], a: 1, b: 1 } })
  })

  test('refuses a client the same, with its issues', async () => {
    const { connect, contexts } = await served({}, { contexts: [note] })
    const session = await (await connect()).attach()
    await session.sync('note:1')
    session.write('note:1', '', [[set(['title'], '')], [set(['title'], 'Mine')]], { title: 'New', tags: [] })
    expect(await session.outcome('note:1', 1)).toMatchObject({
      type: 'refused',
      code: 'invalid_state',
      details: { issues: [{ path: ['title'] }] },
    })
    await session.client.until(() => session.seen('note:1').includes(2))
    expect((await contexts.get('note:1'))?.state).toEqual({ title: 'Mine', tags: [] })
  })
})

test.each<[string, StandardSchema<{ level?: number | undefined; name: string }>]>([
  ['zod', z.object({ level: z.number().default(1), name: z.string().transform((text) => text.trim() as string) }).strip()],
  ['valibot', v.object({ level: v.optional(v.number(), 1), name: v.pipe(v.string(), v.trim()) })],
  ['arktype', type({ level: 'number = 1', name: 'string.trim', '+': 'delete' })],
])('what a schema of %s makes of a state – defaults, transforms, keys it drops – is not stored', async (_name, state) => {
  const contexts = engine({ contexts: [defineContext('player', { state })] })
  const written = { name: ' Ada ', other: 1 }
  expect((await contexts.set('player', written)).context.state).toEqual(written)
  expect((await contexts.update('player', { other: 2 })).context.state).toEqual({ name: ' Ada ', other: 2 })
  expect((await contexts.get('player'))?.state).toEqual({ name: ' Ada ', other: 2 })
})

test('what a schema writes into the state that it is given is not stored', async () => {
  const state = schemaOf((value) => {
    ;(value as { n: number; at: { m: number } }).n = 7
    ;(value as { n: number; at: { m: number } }).at.m = 7
    return { value }
  })
  const contexts = engine({ contexts: [defineContext('a', { state })] })
  await contexts.set('a', { n: 1, at: { m: 1 } })
  expect((await contexts.update('a', { more: true })).context.state).toEqual({ n: 1, at: { m: 1 }, more: true })
  expect((await contexts.get('a'))?.state).toEqual({ n: 1, at: { m: 1 }, more: true })
})

describe('a schema that is wrong', () => {
  const thrown = new RangeError('mine')
  const cases: [string, StandardSchema<object>, unknown][] = [
    ['is asynchronous in zod', z.object({}).refine(async () => true), expect.any(TypeError)],
    [
      'is asynchronous in valibot',
      v.pipeAsync(
        v.looseObject({}),
        v.checkAsync(async () => true),
      ),
      expect.any(TypeError),
    ],
    ['never answers', schemaOf(() => new Promise(() => {})), expect.any(TypeError)],
    ['fails later', schemaOf(() => Promise.reject(thrown)), expect.any(TypeError)],
    [
      'throws',
      schemaOf(() => {
        throw thrown
      }),
      thrown,
    ],
    ['answers nothing', schemaOf(() => undefined), new TypeError('The schema of bad must return { value } or { issues }.')],
    ['answers something else', schemaOf(() => true), expect.any(TypeError)],
  ]

  test.each(cases)('and %s refuses the commit at once, tells its caller, and harms nothing else', async (_name, state, error) => {
    const rejections = unhandled()
    const contexts = engine({ contexts: [defineContext('bad', { state })] })
    await expect(contexts.set('bad', { n: 1 })).rejects.toEqual(error)
    expect(await contexts.get('bad')).toBeNull()
    await contexts.set('good', { n: 1 })
    await new Promise(setImmediate)
    expect(rejections).toEqual([])
  })

  test.each(cases)('and %s refuses a client with a final code, without a word of the error; the log has it', async (_name, state) => {
    const error = vi.fn<(details: object, message: string) => void>()
    const { connect, contexts } = await served({}, { contexts: [defineContext('bad', { state })], logger: { ...silentLogger, error } })
    const session = await (await connect()).attach()
    await session.sync('bad')
    session.write('bad', '', [[set(['n'], 1)]], {})
    const outcome = await session.outcome('bad', 1)
    expect(outcome).toMatchObject({ type: 'refused', code: 'aborted' })
    expect(JSON.stringify(outcome)).not.toMatch(/mine|schema|bad/)
    expect(error).toHaveBeenCalledTimes(1)
    expect(await contexts.get('bad')).toBeNull()
  })

  test('a path of an issue may hold keys as objects do, and ten issues are told', async () => {
    const issues = Array.from({ length: 12 }, (_, index) => ({ message: `no ${index}`, path: [{ key: 'list' }, index, Symbol.for('x')] }))
    const contexts = engine({ contexts: [defineContext('a', { state: schemaOf(() => ({ issues })) })] })
    const error = await contexts.set('a', {}).catch((refused: unknown) => refused as { details: { issues: unknown[] } })
    expect(error).toEqual(code('invalid_state'))
    const told = (error as { details: { issues: unknown[] } }).details.issues
    expect([told.length, told[0]]).toEqual([10, { message: 'no 0', path: ['list', 0, 'Symbol(x)'] }])
  })
})

describe('what a definition says beside its schema', () => {
  test('initial is what the first write creates from, asked once for it, also where its function is asked', async () => {
    const initial = vi.fn<(id: string) => JsonObject>((id) => ({ id, n: 0 }))
    const contexts = engine({ contexts: [defineContext('a:*', { state: anything, initial })] })
    expect(await contexts.get('a:1')).toBeNull()
    expect(initial).not.toHaveBeenCalled()
    expect((await contexts.apply('a:1', [{ type: 'increment', path: ['n'], by: 2 }])).context.state).toEqual({ id: 'a:1', n: 2 })
    expect((await contexts.transact('a:2', ({ id }) => id)).result).toBe('a:2')
    expect(initial.mock.calls).toEqual([['a:1'], ['a:2']])
    // The call's own comes first, and a whole state needs none.
    expect((await contexts.update('a:3', { m: 1 }, { initial: { own: true } })).context.state).toEqual({ own: true, m: 1 })
    expect((await contexts.set('a:4', {})).context.state).toEqual({})
  })

  test('what an initial began as is not changed by what is written', async () => {
    const initial = { list: [] as string[] }
    const contexts = engine({ contexts: [defineContext('a:*', { state: anything, initial })] })
    await contexts.transact('a:1', (draft) => void (draft['list'] as string[]).push('x'))
    expect((await contexts.transact('a:2', ({ list }) => list)).result).toEqual([])
    expect(initial).toEqual({ list: [] })
  })

  test.each<[string, () => unknown, unknown]>([
    [
      'throws',
      () => {
        throw new RangeError('mine')
      },
      new RangeError('mine'),
    ],
    ['is a promise', () => Promise.reject(new Error('late')), expect.any(TypeError)],
    ['is no object', () => [], code('invalid_state')],
    ['is not JSON', () => ({ at: new Date() }), expect.any(TypeError)],
    ['is refused by the schema', () => ({ wrong: true }), code('invalid_state')],
  ])('an initial that %s refuses the write that needs it', async (_name, initial, error) => {
    const state = schemaOf((value) => ('wrong' in (value as object) ? { issues: [{ message: 'wrong' }] } : { value }))
    const contexts = engine({ contexts: [defineContext('a', { state, initial: initial as () => JsonObject })] })
    await expect(contexts.update('a', { n: 1 })).rejects.toEqual(error)
    await expect(contexts.transact('a', () => {})).rejects.toEqual(error)
    expect(await contexts.get('a')).toBeNull()
    await contexts.set('a', { n: 1 })
  })

  test('itemKey is what items of lists are found by, and what is there once', async () => {
    const contexts = engine({ contexts: [defineContext('a', { state: anything, itemKey: 'key' })] })
    await contexts.set('a', { list: [{ key: 'x', n: 1 }, { key: 'y' }] })
    await contexts.apply('a', [{ type: 'increment', path: ['list', { id: 'x' }, 'n'], by: 1 }])
    await contexts.apply('a', [{ type: 'move', from: { path: ['list'], item: { id: 'x' } }, to: { path: ['list'], at: 'end' } }])
    expect((await contexts.get('a'))?.state).toEqual({ list: [{ key: 'y' }, { key: 'x', n: 2 }] })
    await expect(contexts.apply('a', [{ type: 'insert', path: ['list'], values: [{ key: 'x' }], at: 'end' }])).rejects.toEqual(
      code('invalid_operation'),
    )
  })

  test('a whole id comes before patterns, an earlier pattern before a later one, and * stands for any text', async () => {
    const contexts = engine({
      contexts: [
        defineContext('a:b.c:*', named('narrow')),
        defineContext('a:*', named('wide')),
        defineContext('a:1', named('whole')),
        defineContext('*', named('all')) as ContextDefinition,
      ],
    })
    const kind = async (id: string): Promise<unknown> => (await contexts.update(id, {})).context.state['of']
    expect(await kind('a:1')).toBe('whole')
    expect(await kind('a:b.c:d:e')).toBe('narrow')
    // Nothing but * means something else than itself.
    expect(await kind('a:bxc:d')).toBe('wide')
    expect(await kind('a:1:2')).toBe('wide')
    expect(await kind('b')).toBe('all')
  })
})
