import { isContextdError } from '@contextd/client'
import type { Client, ContextHandle } from '@contextd/client'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ClientWorld } from '../support/client-world.ts'
import { until } from '../support/wait.ts'

interface Item {
  id: string
  title: string
  done?: boolean
}
interface Board {
  title: string
  votes: number
  items: Item[]
  labels: string[]
  meta: { color?: string | null; tags: Record<string, string> }
}
type Boards = { [id: `board:${string}`]: { state: Board } }
type Handle = ContextHandle<Board>

const start: Board = {
  title: 'Start',
  votes: 0,
  items: [
    { id: 'a', title: 'A' },
    { id: 'b', title: 'B' },
  ],
  labels: ['x', 'y'],
  meta: { tags: {} },
}

let world: ClientWorld
let allowed: (action: string) => boolean
let here: Client<Boards>
let there: Client<Boards>
beforeEach(async () => {
  allowed = () => true
  world = await ClientWorld.open({ server: { authorize: ({ action }) => allowed(action) } })
  here = world.client<Boards>()
  there = world.client<Boards>()
})
afterEach(() => world.close())

/** The same context in both clients, live. */
async function both(id: `board:${string}` = 'board:1', state: Board | null = start): Promise<[Handle, Handle]> {
  if (state) await world.contexts.set(id, state as never)
  const handles: [Handle, Handle] = [here.context(id), there.context(id)]
  for (const handle of handles) handle.subscribe(() => {})
  await Promise.all(handles.map((handle) => handle.ready({ live: true })))
  return handles
}
const same = (a: Handle, b: Handle): Promise<void> =>
  until(
    'both show the same',
    () => JSON.stringify(a.get()) === JSON.stringify(b.get()) && a.status.get().pending + b.status.get().pending === 0,
  )

describe('writing', () => {
  test('a write is shown at once, settles with its version, and reaches the other client', async () => {
    const [a, b] = await both()
    const { update, get } = a
    const write = update({ title: 'New' })
    expect(get()!.title).toBe('New')
    expect(a.status.get().pending).toBe(1)
    expect(here.pending.get()).toBe(1)
    expect(await write).toEqual({ version: 2, revision: expect.any(String), result: undefined, rebased: false })
    await until('the other has it', () => b.get()!.title === 'New')
    expect(b.status.get()).toMatchObject({
      phase: 'live',
      version: 2,
      pending: 0,
      source: 'server',
      access: 'write',
      error: null,
      reset: null,
    })
    expect(world.errors).toEqual([])
  })

  test('what both write at once converges: lists merge by item, increments add up', async () => {
    const [a, b] = await both()
    a.update({ items: [...a.get()!.items, { id: 'c', title: 'C' }] })
    b.update({ items: [...b.get()!.items, { id: 'd', title: 'D' }] })
    a.at('votes').increment()
    b.at('votes').increment(2)
    a.at('items', 0, 'title').set('A of here')
    b.at('items').remove(1)
    b.update((draft) => {
      draft.labels.push('z')
      draft.meta.tags['k'] = 'v'
    })
    await same(a, b)
    expect(a.get()!.votes).toBe(3)
    expect(
      a
        .get()!
        .items.map(({ id }) => id)
        .toSorted(),
    ).toEqual(['a', 'c', 'd'])
    expect(a.get()!.items[0]).toEqual({ id: 'a', title: 'A of here' })
    expect((await world.contexts.get('board:1'))!.state).toEqual(a.get())
  })

  test('every way to write at a place does what it says', async () => {
    const [a, b] = await both()
    await Promise.all([
      a.at('items').append({ id: 'c', title: 'C' }),
      a.at('items').prepend({ id: '0', title: '0' }),
      a.at('items').insert(1, { id: '1', title: '1' }),
      a.at('items').insert({ before: { id: 'b' } }, { id: 'ab', title: 'AB' }),
      a.at('items').move({ id: 'c' }, 0),
      a.at('items', { id: 'a' }).update({ done: true }),
      a.at('items', { id: 'b' }).update((draft) => void (draft.title = 'BB')),
      a.at('items').remove({ id: '0' }),
      a.at('labels').append('z', 'w'),
      a.at('labels').remove(0),
      a.at('meta', 'color').set(null),
      a.at('meta', 'tags', 'k').set('v'),
      a.at('meta', 'tags', 'l').set('w'),
      a.at('meta', 'tags', 'l').remove(),
    ])
    await same(a, b)
    expect(b.get()).toEqual({
      ...start,
      items: [
        { id: 'c', title: 'C' },
        { id: '1', title: '1' },
        { id: 'a', title: 'A', done: true },
        { id: 'ab', title: 'AB' },
        { id: 'b', title: 'BB' },
      ],
      labels: ['y', 'z', 'w'],
      meta: { color: null, tags: { k: 'v' } },
    })
  })

  test('what one microtask writes is one message, and one notification of the others', async () => {
    const [a, b] = await both()
    let told = 0
    b.subscribe(() => (told += 1))
    for (let n = 0; n < 50; n += 1) a.at('votes').increment()
    await until('all have come', () => b.get()!.votes === 50)
    expect(b.status.get().version).toBe(51)
    expect(told).toBeLessThanOrEqual(3)
  })

  test('parts are watched with selectors and at places, and only told what concerns them', async () => {
    const [a, b] = await both()
    const seen: unknown[] = []
    b.subscribe(
      (state) => state.items.length,
      (length, previous) => seen.push([length, previous]),
      { immediate: true },
    )
    const end = b.at('votes').subscribe((votes, previous) => seen.push(['votes', votes, previous]))
    await a.at('title').set('other')
    await a.at('votes').increment()
    await until('it is told', () => seen.length === 2)
    end()
    await a.at('votes').increment()
    await a.at('items').append({ id: 'c', title: 'C' })
    await until('it is told', () => seen.length === 3)
    expect(seen).toEqual([
      [2, undefined],
      ['votes', 1, 0],
      [3, 2],
    ])
  })

  test('what did not change keeps its identity, over own and foreign writes', async () => {
    const [a, b] = await both()
    const before = a.get()!
    await a.at('votes').increment()
    expect(a.get()!.items).toBe(before.items)
    await b.at('items', { id: 'b' }, 'title').set('B2')
    await same(a, b)
    expect(a.get()!.items[0]).toBe(before.items[0])
    expect(a.get()!.meta).toBe(before.meta)
  })

  test('a write that changes nothing is no commit', async () => {
    const [a] = await both()
    expect(await a.update({ title: 'Start' })).toMatchObject({ version: 1 })
    expect(await a.at('title').set('Start')).toMatchObject({ version: 1 })
    expect(await a.update(() => {})).toMatchObject({ version: 1 })
    expect((await world.contexts.get('board:1'))!.version).toBe(1)
  })

  test('set replaces the whole, and its argument may change afterwards', async () => {
    const [a, b] = await both()
    const mine = { ...start, title: 'Whole', items: [] as Item[] }
    const write = a.set(mine)
    mine.items.push({ id: 'late', title: '' })
    await write
    await same(a, b)
    expect(b.get()!.items).toEqual([])
  })

  test('coalesce: commits that were not sent are one', async () => {
    const [a, b] = await both()
    const writes = [1, 2, 3].map((votes) => a.at('votes').set(votes, { coalesce: 'drag' }))
    expect(new Set(writes).size).toBe(1)
    expect(await writes[0]).toMatchObject({ version: 2 })
    await a.at('votes').set(4, { coalesce: 'drag' })
    await same(a, b)
    expect(b.get()!.votes).toBe(4)
    expect(b.status.get().version).toBe(3)
  })

  test('mistakes of the program are thrown at once, and nothing is written', async () => {
    const [a] = await both()
    const loose = a as unknown as ContextHandle<{ [key: string]: unknown }>
    for (const value of [undefined, Number.NaN, new Date(), new Map(), () => 1, 10n, { deep: [undefined] }]) {
      expect(() => loose.at('title').set(value)).toThrow(TypeError)
    }
    expect(() => loose.set([] as never)).toThrow(TypeError)
    expect(() => loose.update(5 as never)).toThrow(TypeError)
    expect(() => (a.update as (recipe: unknown) => unknown)(async () => {})).toThrow(TypeError)
    expect(() => (a.transaction as (fn: unknown) => unknown)(async () => {})).toThrow(TypeError)
    expect(() => a.at('votes').increment(Number.POSITIVE_INFINITY)).toThrow(TypeError)
    expect(() => a.at('items').remove(-1)).toThrow(TypeError)
    expect(() => a.at('items').insert('middle' as never, { id: 'q', title: '' })).toThrow(TypeError)
    expect(() => a.at('items').move(0, 'end', there.context('board:2').at('items') as never)).toThrow(TypeError)
    expect(() => here.context('bad id!' as never)).toThrow(TypeError)
    expect(() => here.context('board:1', { presence: {} } as never)).toThrow(/presence/)
    expect(here.pending.get()).toBe(0)
    expect(world.errors).toEqual([])
  })
})

describe('refusals', () => {
  test('a refused write is rolled back, rejects, is told once, and is kept to be offered again', async () => {
    const [a, b] = await both()
    allowed = (action) => action === 'read'
    const write = a.update({ title: 'Mine' })
    expect(a.get()!.title).toBe('Mine')
    await expect(write).rejects.toMatchObject({ code: 'forbidden' })
    expect(a.get()!.title).toBe('Start')
    expect(world.errors.map(({ code }) => code)).toEqual(['forbidden'])
    expect(here.rejected.get()).toMatchObject([
      { id: write.id, contextId: 'board:1', operations: [{ type: 'set', path: ['title'], value: 'Mine' }] },
    ])

    allowed = () => true
    await here.retry(write.id)
    expect(here.rejected.get()).toEqual([])
    await until('the other has it', () => b.get()!.title === 'Mine')
    expect(() => here.retry(write.id)).toThrow(TypeError)
  })

  test('a refusal in the middle rolls back that write alone', async () => {
    const [a, b] = await both()
    const writes = [a.at('votes').increment(), a.at('items', { id: 'a' }, 'title').set('gone'), a.at('votes').increment()]
    // Its item is removed by the server before it comes.
    const settled = await Promise.allSettled([b.at('items').remove({ id: 'a' }), ...writes])
    await same(a, b)
    expect(a.get()!.votes).toBe(2)
    expect(settled.map(({ status }) => status)).toContain('fulfilled')
    expect((await world.contexts.get('board:1'))!.state).toEqual(a.get())
  })

  test('an edit of what is not there is a conflict, told like any refusal', async () => {
    const [a] = await both()
    const write = a.at('items', { id: 'nobody' }, 'title').set('x')
    await expect(write).rejects.toMatchObject({ code: 'conflict' })
    expect(here.rejected.get()).toHaveLength(1)
    here.discard(write.id)
    here.discard(write.id)
    expect(here.rejected.get()).toEqual([])
    expect(world.errors.map(({ code }) => code)).toEqual(['conflict'])
  })

  test('a refusal nobody waits for is no unhandled rejection', async () => {
    const [a] = await both()
    allowed = (action) => action === 'read'
    const unhandled: unknown[] = []
    const note = (reason: unknown): number => unhandled.push(reason)
    process.on('unhandledRejection', note)
    a.at('votes').increment()
    await until('it is told', () => world.errors.length === 1)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })

  test('who may not read sees nothing, and nothing can be written', async () => {
    allowed = () => false
    await world.contexts.set('board:1', start as never)
    const handle = here.context('board:1')
    await expect(handle.ready()).rejects.toMatchObject({ code: 'forbidden' })
    expect(handle.status.get()).toMatchObject({ phase: 'denied', error: expect.objectContaining({ code: 'forbidden' }) })
    await expect(handle.update({ title: 'x' })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(handle.sync()).rejects.toMatchObject({ code: 'forbidden' })
    allowed = () => true
    expect(await handle.sync()).toMatchObject({ type: 'full_context', version: 1 })
    expect(handle.get()).toEqual(start)
  })

  test('a state that is too large is refused and rolled back; a message that is, too', async () => {
    const [a] = await both()
    await expect(a.at('title').set('x'.repeat(2_000_000))).rejects.toMatchObject({ code: 'too_large' })
    expect(a.get()!.title.length).toBe(5)
    await a.at('votes').increment()
    expect(a.get()!.votes).toBe(1)
  })
})

describe('absent contexts', () => {
  test('looking creates nothing; it reads as initial, and the first write creates it from that', async () => {
    const handle = here.context('board:new', { initial: start })
    expect(await handle.ready({ live: true })).toEqual(start)
    expect(handle.status.get()).toMatchObject({ phase: 'absent', version: 0 })
    expect(await world.contexts.get('board:new')).toBeNull()
    expect(await handle.at('votes').increment()).toMatchObject({ version: 1 })
    expect((await world.contexts.get('board:new'))!.state).toEqual({ ...start, votes: 1 })
    expect(handle.status.get().phase).toBe('live')
  })

  test('without initial it reads as undefined, and is created from {}', async () => {
    const client = world.client()
    const handle = client.context('free')
    expect(await handle.ready()).toBeUndefined()
    await handle.update({ a: { b: 1 } })
    expect(handle.get()).toEqual({ a: { b: 1 } })
    expect((await world.contexts.get('free'))!.state).toEqual({ a: { b: 1 } })
  })

  test('two creators at once: one initial, both writes', async () => {
    const handles = [here, there].map((client) => client.context('board:race', { initial: start }))
    for (const handle of handles) handle.subscribe(() => {})
    await Promise.all(handles.map((handle) => handle.ready({ live: true })))
    const writes = handles.flatMap((handle, index) => [
      handle.at('votes').increment(),
      handle.at('items').append({ id: `n${index}`, title: '' }),
    ])
    await Promise.all(writes)
    await same(handles[0]!, handles[1]!)
    const state = handles[0]!.get()!
    expect(state.votes).toBe(2)
    expect(state.items.map(({ id }) => id).toSorted()).toEqual(['a', 'b', 'n0', 'n1'])
    expect((await world.contexts.get('board:race'))!.version).toBe(4)
  })

  test('writes before the first state wait for it, in order', async () => {
    await world.contexts.set('board:1', start as never)
    const handle = here.context('board:1', { initial: { ...start, votes: 100 } })
    const writes = [
      handle.at('votes').increment(5),
      handle.update((draft) => void (draft.votes *= 2)),
      handle.transaction((tx) => tx.at('votes').get()),
    ]
    expect(here.pending.get()).toBe(3)
    expect(handle.get()).toBeUndefined()
    expect((await Promise.all(writes)).at(-1)).toMatchObject({ result: 10 })
    expect(handle.get()!.votes).toBe(10)
  })
})

describe('transactions', () => {
  test('what was read has changed: it runs again, and nothing is lost', async () => {
    const handles = await both()
    let runs = 0
    const writes = Array.from({ length: 10 }, (_, index) =>
      handles[index % 2]!.transaction(
        (tx) => {
          runs += 1
          const votes = tx.at('votes').get()!
          tx.at('votes').set(votes + 1)
          return votes
        },
        { retries: 50 },
      ),
    )
    const results = await Promise.all(writes)
    expect(results.map(({ result }) => result).toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    await same(...handles)
    expect(handles[0].get()!.votes).toBe(10)
    expect(runs).toBeGreaterThanOrEqual(10)
    expect(world.errors).toEqual([])
  })

  test('retries used up: conflict', async () => {
    const [a] = await both()
    const write = a.transaction(
      (tx) => {
        tx.at('title').set(`${tx.at('title').get()}!`)
        // Somebody is always faster.
        void world.contexts.update('board:1', { title: `${Math.random()}` } as never)
      },
      { retries: 2 },
    )
    await expect(write).rejects.toMatchObject({ code: 'conflict' })
    expect(here.rejected.get()).toHaveLength(1)
  })

  test('ifVersion: only on that version', async () => {
    const [a, b] = await both()
    expect(await a.transaction((tx) => tx.at('votes').set(5), { ifVersion: 1 })).toMatchObject({ version: 2 })
    await until('the other has it', () => b.get()!.votes === 5)
    await expect(b.transaction((tx) => tx.at('votes').set(6), { ifVersion: 1 })).rejects.toMatchObject({ code: 'conflict' })
    const [first, second] = await Promise.allSettled(
      [a, b].map((handle) => handle.transaction((tx) => tx.at('votes').increment(), { ifVersion: 2 })),
    )
    expect([first!.status, second!.status].toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  test('a function that throws aborts it with the cause, and nothing is rejected for later', async () => {
    const [a] = await both()
    const cause = new Error('mine')
    const write = a.transaction(() => {
      throw cause
    })
    await expect(write).rejects.toMatchObject({ code: 'aborted', cause })
    expect(world.errors.map(({ code }) => code)).toEqual(['aborted'])
    expect(here.rejected.get()).toEqual([])
  })
})

describe('deleting', () => {
  test('a delete is for everyone; a later write creates anew', async () => {
    const [a, b] = await both()
    await a.delete()
    await until('the other knows', () => b.status.get().phase === 'deleted')
    expect(b.get()).toBeUndefined()
    expect(await world.contexts.get('board:1')).toBeNull()
    await b.set({ ...start, title: 'again' })
    await until('the first has it', () => a.get()?.title === 'again')
    expect(a.status.get()).toMatchObject({ phase: 'live', version: 1 })
  })

  test('a write under which the context was deleted is not_found, never a resurrection', async () => {
    const [a, b] = await both()
    const [removal, write] = await Promise.allSettled([a.delete(), b.at('votes').increment()])
    expect(removal.status).toBe('fulfilled')
    await until('both know', () => a.status.get().phase === 'deleted' && b.status.get().phase === 'deleted')
    expect(await world.contexts.get('board:1')).toBeNull()
    if (write.status === 'rejected') expect(isContextdError(write.reason, 'not_found')).toBe(true)
  })

  test('deleted and created again while away: everybody is on the new state, told once', async () => {
    const [a, b] = await both()
    const resets: string[] = []
    b.status.subscribe(({ reset }, { reset: before }) => reset !== null && reset !== before && resets.push(reset))
    there.disconnect()
    const lost = b.at('title').set('of the old life')
    await a.delete()
    await a.set({ ...start, title: 'second life' })
    there.connect()
    await expect(lost).rejects.toMatchObject({ code: 'not_found' })
    await until('the other is on it', () => b.get()?.title === 'second life')
    expect(resets).toEqual(['recreated'])
    expect((await world.contexts.get('board:1'))!.state).toMatchObject({ title: 'second life' })
  })
})

describe('the client', () => {
  test('list gives what exists, by id', async () => {
    for (const id of ['b', 'a', 'other']) await world.contexts.set(id === 'other' ? 'note:1' : `board:${id}`, start as never)
    expect((await here.list({ prefix: 'board:' })).map(({ contextId }) => contextId)).toEqual(['board:a', 'board:b'])
    expect(await here.list({ limit: 1 })).toHaveLength(1)
    allowed = (action) => action !== 'list'
    await expect(here.list()).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('prefetch loads; sync reports what it moved', async () => {
    await world.contexts.set('board:1', start as never)
    await here.prefetch('board:1')
    const handle = here.context('board:1')
    expect(handle.get()).toEqual(start)
    expect(await handle.sync()).toMatchObject({ type: 'no_change', version: 1, deltas: 0 })
    here.disconnect()
    await world.contexts.update('board:1', { votes: 1 } as never)
    await world.contexts.update('board:1', { votes: 2 } as never)
    here.connect()
    expect(await handle.sync()).toMatchObject({ type: 'delta', version: 3, deltas: 2, bytes: expect.any(Number) })
  })

  test('flush waits until nothing is pending, or for so long', async () => {
    const [a] = await both()
    await here.flush()
    here.disconnect()
    a.at('votes').increment()
    await expect(here.flush(20)).rejects.toMatchObject({ code: 'timeout' })
    here.connect()
    await here.flush(10_000)
    expect((await world.contexts.get('board:1'))!.state).toMatchObject({ votes: 1 })
  })

  test('destroy closes everything: what is pending rejects, handles are dead', async () => {
    const [a] = await both()
    here.disconnect()
    const write = a.at('votes').increment()
    await here.destroy()
    await here.destroy()
    await expect(write).rejects.toMatchObject({ code: 'closed' })
    await expect(a.update({ votes: 2 })).rejects.toMatchObject({ code: 'closed' })
    await expect(a.ready()).rejects.toMatchObject({ code: 'closed' })
    await expect(a.sync()).rejects.toMatchObject({ code: 'closed' })
    expect(a.subscribe(() => {})).toBeTypeOf('function')
    expect(() => a.leave()).not.toThrow()
    expect(here.connection.get()).toEqual({ name: 'closed' })
    here.connect()
    expect(here.connection.get()).toEqual({ name: 'closed' })
  })
})
