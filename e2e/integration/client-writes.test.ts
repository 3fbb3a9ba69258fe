import type { ContextHandle } from '@contextd/client'
import { describe, expect, test } from 'vitest'
import { TwoClients, same, start } from '../support/two-clients.ts'
import type { Item } from '../support/two-clients.ts'
import { until } from '../support/wait.ts'

const two = new TwoClients()

describe('writing', () => {
  test('a write is shown at once, settles with its version, and reaches the other client', async () => {
    const [a, b] = await two.both()
    // Their methods are closures.
    // oxlint-disable-next-line typescript/unbound-method
    const { update, get } = a
    const write = update({ title: 'New' })
    expect(get()!.title).toBe('New')
    expect(a.status.get().pending).toBe(1)
    expect(two.here.pending.get()).toBe(1)
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
    expect(two.world.errors).toEqual([])
  })

  test('what both write at once converges: lists merge by item, increments add up', async () => {
    const [a, b] = await two.both()
    void a.update({ items: [...a.get()!.items, { id: 'c', title: 'C' }] })
    void b.update({ items: [...b.get()!.items, { id: 'd', title: 'D' }] })
    void a.at('votes').increment()
    void b.at('votes').increment(2)
    void a.at('items', 0, 'title').set('A of here')
    void b.at('items').remove(1)
    void b.update((draft) => {
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
    expect((await two.world.contexts.get('board:1'))!.state).toEqual(a.get())
  })

  test('every way to write at a place does what it says', async () => {
    const [a, b] = await two.both()
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
    const [a, b] = await two.both()
    let told = 0
    b.subscribe(() => (told += 1))
    for (let n = 0; n < 50; n += 1) void a.at('votes').increment()
    await until('all have come', () => b.get()!.votes === 50)
    expect(b.status.get().version).toBe(51)
    expect(told).toBeLessThanOrEqual(3)
  })

  test('parts are watched with selectors and at places, and only told what concerns them', async () => {
    const [a, b] = await two.both()
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
    const [a, b] = await two.both()
    const before = a.get()!
    await a.at('votes').increment()
    expect(a.get()!.items).toBe(before.items)
    await b.at('items', { id: 'b' }, 'title').set('B2')
    await same(a, b)
    expect(a.get()!.items[0]).toBe(before.items[0])
    expect(a.get()!.meta).toBe(before.meta)
  })

  test('a write that changes nothing is no commit', async () => {
    const [a] = await two.both()
    expect(await a.update({ title: 'Start' })).toMatchObject({ version: 1 })
    expect(await a.at('title').set('Start')).toMatchObject({ version: 1 })
    expect(await a.update(() => {})).toMatchObject({ version: 1 })
    expect((await two.world.contexts.get('board:1'))!.version).toBe(1)
  })

  test('set replaces the whole, and its argument may change afterwards', async () => {
    const [a, b] = await two.both()
    const mine = { ...start, title: 'Whole', items: [] as Item[] }
    const write = a.set(mine)
    mine.items.push({ id: 'late', title: '' })
    await write
    await same(a, b)
    expect(b.get()!.items).toEqual([])
  })

  test('coalesce: commits that were not sent are one', async () => {
    const [a, b] = await two.both()
    const writes = [1, 2, 3].map((votes) => a.at('votes').set(votes, { coalesce: 'drag' }))
    expect(new Set(writes).size).toBe(1)
    expect(await writes[0]).toMatchObject({ version: 2 })
    await a.at('votes').set(4, { coalesce: 'drag' })
    await same(a, b)
    expect(b.get()!.votes).toBe(4)
    expect(b.status.get().version).toBe(3)
  })

  test('mistakes of the program are thrown at once, and nothing is written', async () => {
    const [a] = await two.both()
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
    expect(() => a.at('items').move(0, 'end', two.there.context('board:2').at('items') as never)).toThrow(TypeError)
    expect(() => two.here.context('bad id!' as never)).toThrow(TypeError)
    expect(() => two.here.context('board:1', { presence: {} } as never)).toThrow(/presence/)
    expect(two.here.pending.get()).toBe(0)
    expect(two.world.errors).toEqual([])
  })
})

describe('refusals', () => {
  test('a refused write is rolled back, rejects, is told once, and is kept to be offered again', async () => {
    const [a, b] = await two.both()
    two.allowed = (action) => action === 'read'
    const write = a.update({ title: 'Mine' })
    expect(a.get()!.title).toBe('Mine')
    await expect(write).rejects.toMatchObject({ code: 'forbidden' })
    expect(a.get()!.title).toBe('Start')
    expect(two.world.errors.map(({ code }) => code)).toEqual(['forbidden'])
    expect(two.here.rejected.get()).toMatchObject([
      { id: write.id, contextId: 'board:1', operations: [{ type: 'set', path: ['title'], value: 'Mine' }] },
    ])

    two.allowed = () => true
    await two.here.retry(write.id)
    expect(two.here.rejected.get()).toEqual([])
    await until('the other has it', () => b.get()!.title === 'Mine')
    expect(() => two.here.retry(write.id)).toThrow(TypeError)
  })

  test('a refusal in the middle rolls back that write alone', async () => {
    const [a, b] = await two.both()
    const writes = [a.at('votes').increment(), a.at('items', { id: 'a' }, 'title').set('gone'), a.at('votes').increment()]
    // Its item is removed by the server before it comes.
    const settled = await Promise.allSettled([b.at('items').remove({ id: 'a' }), ...writes])
    await same(a, b)
    expect(a.get()!.votes).toBe(2)
    expect(settled.map(({ status }) => status)).toContain('fulfilled')
    expect((await two.world.contexts.get('board:1'))!.state).toEqual(a.get())
  })

  test('an edit of what is not there is a conflict, told like any refusal', async () => {
    const [a] = await two.both()
    const write = a.at('items', { id: 'nobody' }, 'title').set('x')
    await expect(write).rejects.toMatchObject({ code: 'conflict' })
    expect(two.here.rejected.get()).toHaveLength(1)
    two.here.discard(write.id)
    two.here.discard(write.id)
    expect(two.here.rejected.get()).toEqual([])
    expect(two.world.errors.map(({ code }) => code)).toEqual(['conflict'])
  })

  test('a refusal nobody waits for is no unhandled rejection', async () => {
    const [a] = await two.both()
    two.allowed = (action) => action === 'read'
    const unhandled: unknown[] = []
    const note = (reason: unknown): number => unhandled.push(reason)
    process.on('unhandledRejection', note)
    void a.at('votes').increment()
    await until('it is told', () => two.world.errors.length === 1)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })

  test('who may not read sees nothing, and nothing can be written', async () => {
    two.allowed = () => false
    await two.world.contexts.set('board:1', start as never)
    const handle = two.here.context('board:1')
    await expect(handle.ready()).rejects.toMatchObject({ code: 'forbidden' })
    expect(handle.status.get()).toMatchObject({ phase: 'denied', error: expect.objectContaining({ code: 'forbidden' }) })
    await expect(handle.update({ title: 'x' })).rejects.toMatchObject({ code: 'forbidden' })
    await expect(handle.sync()).rejects.toMatchObject({ code: 'forbidden' })
    two.allowed = () => true
    expect(await handle.sync()).toMatchObject({ type: 'full_context', version: 1 })
    expect(handle.get()).toEqual(start)
  })

  test('a state that is too large is refused and rolled back; a message that is, too', async () => {
    const [a] = await two.both()
    await expect(a.at('title').set('x'.repeat(2_000_000))).rejects.toMatchObject({ code: 'too_large' })
    expect(a.get()!.title.length).toBe(5)
    await a.at('votes').increment()
    expect(a.get()!.votes).toBe(1)
  })
})
