import { expect, onTestFinished, test } from 'vitest'
import { produce } from './recipe.ts'

const state = () => ({
  n: 1,
  deep: { a: { b: 1 }, c: { d: 1 } },
  items: [
    { id: 'x', tags: ['p'] },
    { id: 'y', tags: [] },
  ],
  gone: 'soon',
})
type State = ReturnType<typeof state> & { [key: string]: unknown }
const run = (base: object, recipe: (draft: State) => unknown): State => produce(base as never, recipe as never) as never

test('what the recipe changes is another object, what it does not is the very same', () => {
  const before = state()
  const after = run(before, (draft) => {
    draft.deep.a.b = 2
    expect(draft.items[1]!.tags.length).toBe(0)
  })
  expect(after).toEqual({ ...state(), deep: { a: { b: 2 }, c: { d: 1 } } })
  expect(before).toEqual(state())
  expect(after.deep.c).toBe(before.deep.c)
  expect(after.items).toBe(before.items)
})

test('a recipe that changes nothing, or back, gives the same object', () => {
  const before = state()
  expect(run(before, (draft) => draft.deep.a.b)).toBe(before)
  expect(run(before, (draft) => void (draft.n = 1))).toBe(before)
  expect(run(before, (draft) => [draft.items.push({ id: 'z', tags: [] }), draft.items.pop()])).toBe(before)
})

test('lists behave as lists', () => {
  const list = (recipe: (list: number[]) => unknown): unknown =>
    run({ list: [3, 1, 2] }, (draft) => recipe(draft['list'] as number[]))['list']
  expect(list((l) => l.push(4))).toEqual([3, 1, 2, 4])
  // oxlint-disable-next-line unicorn/no-array-sort -- in place, as recipes do
  expect(list((l) => l.sort((a, b) => a - b))).toEqual([1, 2, 3])
  expect(list((l) => l.splice(1, 1, 7, 8))).toEqual([3, 7, 8, 2])
  // oxlint-disable-next-line unicorn/no-array-reverse -- in place, as recipes do
  expect(list((l) => l.reverse())).toEqual([2, 1, 3])
  expect(list((l) => (l.length = 1))).toEqual([3])
  expect(list((l) => l.unshift(0))).toEqual([0, 3, 1, 2])
  expect(list((l) => l.copyWithin(0, 1))).toEqual([1, 2, 2])
  expect(run({ list: [1] }, (draft) => expect(Array.isArray(draft['list'])).toBe(true))).toEqual({ list: [1] })
})

test('items can be found, changed, moved and filtered, and keep their identity', () => {
  const before = state()
  const after = run(before, (draft) => {
    draft.items.find(({ id }) => id === 'x')!.tags.push('q')
    draft.items.reverse()
  })
  expect(after.items).toEqual([
    { id: 'y', tags: [] },
    { id: 'x', tags: ['p', 'q'] },
  ])
  expect(after.items[0]).toBe(before.items[1])
  const filtered = run(before, (draft) => void (draft.items = draft.items.filter(({ id }) => id !== 'x')))
  expect(filtered.items).toEqual([{ id: 'y', tags: [] }])
  expect(filtered.items[0]).toBe(before.items[1])
})

test('undefined removes a key, and delete does; spreading and Object.keys see the draft', () => {
  const after = run(state(), (draft) => {
    draft['extra'] = undefined
    draft['gone'] = undefined as never
    delete (draft as Partial<State>).n
    draft['copy'] = { ...draft.deep, e: undefined }
    expect(Object.keys(draft.deep)).toEqual(['a', 'c'])
    expect('n' in draft).toBe(false)
  })
  expect(after).toEqual({ deep: state().deep, items: state().items, copy: state().deep })
  expect(Object.keys(after)).not.toContain('gone')
})

test('a new object is copied, as it is at the end: its owner may go on changing it', () => {
  const mine = { id: 'z', tags: ['a'] }
  const after = run(state(), (draft) => {
    draft.items.push(mine)
    mine.tags.push('b')
    draft.items[2]!.tags.push('c')
  })
  mine.tags.push('d')
  expect(after.items[2]).toEqual({ id: 'z', tags: ['a', 'b', 'c'] })
})

test('a part that is put in two places changes apart in the state', () => {
  const shared = { v: 1 }
  const after = run({ a: shared, b: shared }, (draft) => void ((draft['a'] as { v: number }).v = 2))
  expect(after).toEqual({ a: { v: 2 }, b: { v: 1 } })
})

test.each([
  ['a Date', (draft: State) => (draft['at'] = new Date())],
  ['NaN', (draft: State) => (draft.n = Number.NaN)],
  ['a function', (draft: State) => (draft['f'] = () => {})],
  ['a Map', (draft: State) => (draft.deep = new Map() as never)],
  ['undefined in a list', (draft: State) => (draft.items[0] = undefined as never)],
  ['a hole in a list', (draft: State) => Reflect.deleteProperty(draft.items, 0)],
  ['itself', (draft: State) => (draft['self'] = draft)],
  [
    'a new object that contains itself',
    (draft: State) => {
      const loop: { [key: string]: unknown } = {}
      loop['loop'] = loop
      draft['loop'] = loop
    },
  ],
  ['a symbol', (draft: State) => (draft[Symbol('s') as never] = 1 as never)],
  ['a key of a list', (draft: State) => ((draft.items as never as State)['title'] = 1)],
  ['__proto__', (draft: State) => (draft['__proto__'] = { admin: true })],
  ['constructor', (draft: State) => (draft['constructor'] = 1 as never)],
  ['a getter', (draft: State) => Object.defineProperty(draft, 'x', { get: () => 1 })],
])('%s is refused at once', (_, recipe) => {
  const before = state()
  expect(() => run(before, recipe as never)).toThrow(TypeError)
  expect(before).toEqual(state())
})

test('a recipe that gives a Promise is refused', () => {
  expect(() => run(state(), async (draft) => void (draft.n = 2))).toThrow(/synchronous/)
})

async function late(draft: State): Promise<void> {
  await Promise.resolve()
  draft.n = 2
}

test('what a recipe that gives a Promise does later ends no process', async () => {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  onTestFinished(() => void process.off('unhandledRejection', note))
  expect(() => run(state(), late)).toThrow(/synchronous/)
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(unhandled).toEqual([])
})

test('a draft that is used after its recipe is refused', () => {
  let leaked: State
  const after = run(state(), (draft) => {
    leaked = draft
    draft.n = 2
  })
  expect(() => (leaked.n = 3)).toThrow(/ended/)
  expect(() => leaked.n).toThrow(/ended/)
  expect(after.n).toBe(2)
})
