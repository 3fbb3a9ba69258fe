import { isContextdError } from '@contextd/client'
import { describe, expect, test } from 'vitest'
import { TwoClients, same, start } from '../support/two-clients.ts'
import { until } from '../support/wait.ts'

const two = new TwoClients()

describe('absent contexts', () => {
  test('looking creates nothing; it reads as initial, and the first write creates it from that', async () => {
    const handle = two.here.context('board:new', { initial: start })
    expect(await handle.ready({ live: true })).toEqual(start)
    expect(handle.status.get()).toMatchObject({ phase: 'absent', version: 0 })
    expect(await two.world.contexts.get('board:new')).toBeNull()
    expect(await handle.at('votes').increment()).toMatchObject({ version: 1 })
    expect((await two.world.contexts.get('board:new'))!.state).toEqual({ ...start, votes: 1 })
    expect(handle.status.get().phase).toBe('live')
  })

  test('without initial it reads as undefined, and is created from {}', async () => {
    const client = two.world.client()
    const handle = client.context('free')
    expect(await handle.ready()).toBeUndefined()
    await handle.update({ a: { b: 1 } })
    expect(handle.get()).toEqual({ a: { b: 1 } })
    expect((await two.world.contexts.get('free'))!.state).toEqual({ a: { b: 1 } })
  })

  test('two creators at once: one initial, both writes', async () => {
    const handles = [two.here, two.there].map((client) => client.context('board:race', { initial: start }))
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
    expect((await two.world.contexts.get('board:race'))!.version).toBe(4)
  })

  test('writes before the first state wait for it, in order', async () => {
    await two.world.contexts.set('board:1', start as never)
    const handle = two.here.context('board:1', { initial: { ...start, votes: 100 } })
    const writes = [
      handle.at('votes').increment(5),
      handle.update((draft) => void (draft.votes *= 2)),
      handle.transaction((tx) => tx.at('votes').get()),
    ]
    expect(two.here.pending.get()).toBe(3)
    expect(handle.get()).toBeUndefined()
    expect((await Promise.all(writes)).at(-1)).toMatchObject({ result: 10 })
    expect(handle.get()!.votes).toBe(10)
  })
})

describe('transactions', () => {
  test('what was read has changed: it runs again, and nothing is lost', async () => {
    const handles = await two.both()
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
    expect(two.world.errors).toEqual([])
  })

  test('retries used up: conflict', async () => {
    const [a] = await two.both()
    const write = a.transaction(
      (tx) => {
        tx.at('title').set(`${tx.at('title').get()}!`)
        // Somebody is always faster.
        void two.world.contexts.update('board:1', { title: `${Math.random()}` } as never)
      },
      { retries: 2 },
    )
    await expect(write).rejects.toMatchObject({ code: 'conflict' })
    expect(two.here.rejected.get()).toHaveLength(1)
  })

  test('ifVersion: only on that version', async () => {
    const [a, b] = await two.both()
    expect(await a.transaction((tx) => tx.at('votes').set(5), { ifVersion: 1 })).toMatchObject({ version: 2 })
    await until('the other has it', () => b.get()!.votes === 5)
    await expect(b.transaction((tx) => tx.at('votes').set(6), { ifVersion: 1 })).rejects.toMatchObject({ code: 'conflict' })
    const [first, second] = await Promise.allSettled(
      [a, b].map((handle) => handle.transaction((tx) => tx.at('votes').increment(), { ifVersion: 2 })),
    )
    expect([first!.status, second!.status].toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  test('a function that throws aborts it with the cause, and nothing is rejected for later', async () => {
    const [a] = await two.both()
    const cause = new Error('mine')
    const write = a.transaction(() => {
      throw cause
    })
    await expect(write).rejects.toMatchObject({ code: 'aborted', cause })
    expect(two.world.errors.map(({ code }) => code)).toEqual(['aborted'])
    expect(two.here.rejected.get()).toEqual([])
  })
})

describe('deleting', () => {
  test('a delete is for everyone; a later write creates anew', async () => {
    const [a, b] = await two.both()
    await a.delete()
    await until('the other knows', () => b.status.get().phase === 'deleted')
    expect(b.get()).toBeUndefined()
    expect(await two.world.contexts.get('board:1')).toBeNull()
    await b.set({ ...start, title: 'again' })
    await until('the first has it', () => a.get()?.title === 'again')
    expect(a.status.get()).toMatchObject({ phase: 'live', version: 1 })
  })

  test('a write under which the context was deleted is not_found, never a resurrection', async () => {
    const [a, b] = await two.both()
    const [removal, write] = await Promise.allSettled([a.delete(), b.at('votes').increment()])
    expect(removal.status).toBe('fulfilled')
    await until('both know', () => a.status.get().phase === 'deleted' && b.status.get().phase === 'deleted')
    expect(await two.world.contexts.get('board:1')).toBeNull()
    expect(write.status === 'fulfilled' || isContextdError(write.reason, 'not_found')).toBe(true)
  })

  test('deleted and created again while away: everybody is on the new state, told once', async () => {
    const [a, b] = await two.both()
    const resets: string[] = []
    b.status.subscribe(({ reset }, { reset: before }) => reset !== null && reset !== before && resets.push(reset))
    two.there.disconnect()
    const lost = b.at('title').set('of the old life')
    await a.delete()
    await a.set({ ...start, title: 'second life' })
    two.there.connect()
    await expect(lost).rejects.toMatchObject({ code: 'not_found' })
    await until('the other is on it', () => b.get()?.title === 'second life')
    expect(resets).toEqual(['recreated'])
    expect((await two.world.contexts.get('board:1'))!.state).toMatchObject({ title: 'second life' })
  })
})

describe('the client', () => {
  test('list gives what exists, by id', async () => {
    for (const id of ['b', 'a', 'other']) await two.world.contexts.set(id === 'other' ? 'note:1' : `board:${id}`, start as never)
    expect((await two.here.list({ prefix: 'board:' })).map(({ contextId }) => contextId)).toEqual(['board:a', 'board:b'])
    expect(await two.here.list({ limit: 1 })).toHaveLength(1)
    two.allowed = (action) => action !== 'list'
    await expect(two.here.list()).rejects.toMatchObject({ code: 'forbidden' })
  })

  test('prefetch loads; sync reports what it moved', async () => {
    await two.world.contexts.set('board:1', start as never)
    await two.here.prefetch('board:1')
    const handle = two.here.context('board:1')
    expect(handle.get()).toEqual(start)
    expect(await handle.sync()).toMatchObject({ type: 'no_change', version: 1, deltas: 0 })
    two.here.disconnect()
    await two.world.contexts.update('board:1', { votes: 1 } as never)
    await two.world.contexts.update('board:1', { votes: 2 } as never)
    two.here.connect()
    expect(await handle.sync()).toMatchObject({ type: 'delta', version: 3, deltas: 2, bytes: expect.any(Number) })
  })

  test('flush waits until nothing is pending, or for so long', async () => {
    const [a] = await two.both()
    await two.here.flush()
    two.here.disconnect()
    void a.at('votes').increment()
    await expect(two.here.flush(20)).rejects.toMatchObject({ code: 'timeout' })
    two.here.connect()
    await two.here.flush(10_000)
    expect((await two.world.contexts.get('board:1'))!.state).toMatchObject({ votes: 1 })
  })

  test('destroy closes everything: what is pending rejects, handles are dead', async () => {
    const [a] = await two.both()
    two.here.disconnect()
    const write = a.at('votes').increment()
    await two.here.destroy()
    await two.here.destroy()
    await expect(write).rejects.toMatchObject({ code: 'closed' })
    await expect(a.update({ votes: 2 })).rejects.toMatchObject({ code: 'closed' })
    await expect(a.ready()).rejects.toMatchObject({ code: 'closed' })
    await expect(a.sync()).rejects.toMatchObject({ code: 'closed' })
    expect(a.subscribe(() => {})).toBeTypeOf('function')
    expect(() => a.leave()).not.toThrow()
    expect(two.here.connection.get()).toEqual({ name: 'closed' })
    two.here.connect()
    expect(two.here.connection.get()).toEqual({ name: 'closed' })
  })
})
