import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import type { Snapshot } from '@contextd/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { createContexts } from './contexts.ts'
import type { Contexts } from './contexts-types.ts'

/** A context `a` that somebody has looked at. */
async function opened(state: object, options: Parameters<typeof createContexts>[0] = {}): Promise<Contexts> {
  const contexts = createContexts(options) as unknown as Contexts
  onTestFinished(() => contexts.close())
  await contexts.set('a', state)
  await contexts.get('a')
  return contexts
}
/** The answer to the first of several writes that are stored together. */
async function firstOf(contexts: Contexts): Promise<Snapshot> {
  const [first] = await Promise.all([1, 2, 3].map((n) => contexts.update('a', { n })))
  return first!.context as Snapshot
}
const isFrozen = (part: unknown): boolean =>
  typeof part !== 'object' || part === null || (Object.isFrozen(part) && Object.values(part).every(isFrozen))

test('answers to writes that were stored together are objects like any other', async () => {
  const contexts = await opened({ n: 0, o: { x: 1 } })
  const at = await firstOf(contexts).then(({ version }) => contexts.at('a', version))
  const expected = { ...at, state: { n: 1, o: { x: 1 } } }
  const check = async (looks: (context: Snapshot) => unknown): Promise<void> => {
    const context = await firstOf(contexts)
    const { version, revision, createdAt, updatedAt } = context
    const plain = { ...expected, version, revision, createdAt, updatedAt }
    expect(looks(context)).toEqual(looks(plain))
    assert.deepStrictEqual(context, plain)
  }
  await check((context) => Object.keys(context))
  await check((context) => JSON.stringify(context))
  await check((context) => ({ ...context }))
  await check((context) => structuredClone(context))
  await check((context) => inspect(context))
  await check((context) => new Proxy(context, {}).state)
  await check((context) => (Object.create(context) as Snapshot).state)
  await check((context) => Object.getPrototypeOf(context) === Object.prototype)
  const context = await firstOf(contexts)
  await contexts.set('audit', { last: context, frozen: Object.freeze(await firstOf(contexts)) })
  expect((await contexts.get('audit'))!.state).toMatchObject({ last: { state: { n: 1 } }, frozen: { state: { n: 1 } } })
  const changed = await firstOf(contexts)
  Object.assign(changed, { state: { mine: true } })
  expect(changed.state).toEqual({ mine: true })
})

test.each([
  ['half way', [{ type: 'merge' as const, path: ['list', 0], value: { n: 2, id: 'q' } }]],
  ['for its size', [{ type: 'set' as const, path: ['o', 'x'], value: 'x'.repeat(500) }]],
])('a write that is refused %s leaves nothing behind in the answers to others, all of which are frozen', async (_how, refused) => {
  const state = {
    list: [
      { id: 'p', n: 1 },
      { id: 'q', n: 1 },
    ],
    o: { x: 0 },
  }
  const contexts = await opened(state, { limits: { stateBytes: 300 } })
  const heard: unknown[] = []
  contexts.subscribe('a', (delta, snapshot) => heard.push(delta, snapshot))
  await contexts.update('a', { o: { x: 1 } })
  const [, ...others] = await Promise.allSettled([
    contexts.apply('a', refused),
    ...[2, 3].map((x) => contexts.update('a', { o: { x } })),
    contexts.apply('a', refused),
    contexts.update('a', { o: { x: 4 } }),
  ])
  const results = others.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  expect(results.map(({ context }) => context.state)).toEqual([2, 3, 4].map((x) => ({ ...state, o: { x } })))
  expect(results.every(({ context }) => isFrozen(context.state))).toBe(true)
  expect(heard.filter((_, index) => index % 2 === 1).every((snapshot) => isFrozen((snapshot as Snapshot).state))).toBe(true)
  expect(heard).toHaveLength(8)
  expect((await contexts.get('a'))!.state).toEqual({ ...state, o: { x: 4 } })
})
