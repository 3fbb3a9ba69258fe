import { expect, test } from 'vitest'
import { closeAfterEach, live, openWorld } from '../support/open-world.ts'
import { until } from '../support/wait.ts'

closeAfterEach()

test('G8: a write refused before it was computed is offered again as what it was, never as a delete', async () => {
  const world = await openWorld()
  const client = world.client()
  const handle = await live(client, 'c', { n: 0 })
  await handle.at('n').increment()
  const write = handle.at('part').update({ x: 1 })
  await expect(write).rejects.toMatchObject({ code: 'conflict' })
  expect(client.rejected.get()).toMatchObject([{ id: write.id, operations: [] }])
  const again = client.retry(write.id)
  await expect(again).rejects.toMatchObject({ code: 'conflict' })
  expect((await world.contexts.get('c'))!.state).toEqual({ n: 1 })

  await handle.at('part').set({})
  await client.retry(again.id)
  expect((await world.contexts.get('c'))!.state).toEqual({ n: 1, part: { x: 1 } })
  expect(client.rejected.get()).toEqual([])
})

test('G8: what was refused for want of access is offered again, and so is a delete', async () => {
  let allowed = false
  const world = await openWorld({ server: { authorize: () => allowed } })
  await world.contexts.set('c', { n: 0 })
  const client = world.client()
  const handle = client.context('c')
  await expect(handle.ready()).rejects.toMatchObject({ code: 'forbidden' })
  const write = handle.at('n').increment()
  const removal = handle.delete()
  await expect(write).rejects.toMatchObject({ code: 'forbidden' })
  await expect(removal).rejects.toMatchObject({ code: 'forbidden' })
  allowed = true
  await handle.sync()
  await client.retry(write.id)
  expect((await world.contexts.get('c'))!.state).toEqual({ n: 1 })
  await client.retry(removal.id)
  expect(await world.contexts.get('c')).toBeNull()
})

test('a malformed query of list is a TypeError, and costs neither the connection nor a write in flight', async () => {
  const world = await openWorld()
  const client = world.client()
  const handle = await live(client)
  let changes = 0
  client.connection.subscribe(() => (changes += 1))
  const writes = Array.from({ length: 10 }, () => handle.at('n').increment())
  for (const query of [{ limit: 1_001 }, { limit: -1 }, { limit: 0.5 }, { prefix: 5 }, { prefix: 'x'.repeat(257) }, null, 5]) {
    await expect(client.list(query as never)).rejects.toThrow(TypeError)
  }
  await Promise.all(writes)
  expect(await client.list({ limit: 1_000, prefix: 'c' })).toHaveLength(1)
  expect(changes).toBe(0)
})

test('what is no function cannot subscribe', async () => {
  const world = await openWorld()
  const client = world.client()
  const handle = await live(client)
  expect(() => handle.subscribe(undefined as never)).toThrow(TypeError)
  expect(() => handle.subscribe('n' as never, () => {})).toThrow(TypeError)
  expect(() => handle.subscribe((state) => state, 5 as never)).toThrow(TypeError)
  expect(() => handle.status.subscribe(null as never)).toThrow(TypeError)
  expect(() => handle.at('n').subscribe({} as never)).toThrow(TypeError)
  expect(() => client.pending.subscribe(undefined as never)).toThrow(TypeError)
})

test('opened while disconnected, a context with an initial counts as absent at once', async () => {
  const world = await openWorld()
  await world.contexts.set('written', { n: 10 })
  const client = world.client()
  client.disconnect()
  const told: unknown[] = []
  const watched = client.context('watched', { initial: { n: 1 } })
  watched.subscribe((state) => told.push(state))
  expect(watched.get()).toEqual({ n: 1 })
  expect(watched.status.get().phase).toBe('absent')
  expect(told).toEqual([])
  expect(await client.context('awaited', { initial: { n: 2 } }).ready()).toEqual({ n: 2 })
  await expect(client.context('unknown').ready()).rejects.toMatchObject({ code: 'offline' })

  const write = client
    .context('written', { initial: { n: 0 } })
    .at('n')
    .increment()
  client.connect()
  expect(await write).toMatchObject({ version: 2, rebased: true })
  expect((await world.contexts.get('written'))!.state).toEqual({ n: 11 })
})

test('G2: several fields of an item of a list without keys are changed in one write', async () => {
  const world = await openWorld()
  const [here, there] = [await live(world.client()), await live(world.client())]
  await here.at('list').set([
    { x: 0, y: 0 },
    { x: 1, y: 1 },
  ])
  await here.at('list', 1).update({ x: 2, y: 2, z: 2 })
  await here.at('list', 1).update((draft) => {
    const item = draft as { [key: string]: number }
    item['x'] = 3
    delete item['y']
  })
  await until('the other has it', () => there.status.get().version === here.status.get().version)
  expect(there.get()!['list']).toEqual([
    { x: 0, y: 0 },
    { x: 3, z: 2 },
  ])
})

test('an item is given another id, or none, together with its other fields', async () => {
  const world = await openWorld()
  const handle = await live(world.client())
  await handle.at('list').set([{ id: 'a', text: 'A' }, { id: 'b' }])
  await handle.at('list', { id: 'a' }).update({ id: 'c', text: 'C', done: true })
  await handle.at('list', 1).update((draft) => {
    const item = draft as { [key: string]: unknown }
    delete item['id']
    item['text'] = 'B'
    item['done'] = false
  })
  expect((await world.contexts.get('c'))!.state['list']).toEqual([
    { id: 'c', text: 'C', done: true },
    { text: 'B', done: false },
  ])
})

test('an item moves to where it is told in a list with equal items', async () => {
  const world = await openWorld()
  const handle = await live(world.client())
  const moved = async (list: number[], item: number, to: number | { after: number } | { before: number }): Promise<unknown> => {
    await handle.at('list').set(list)
    await handle.at('list').move(item, to)
    return (await world.contexts.get('c'))!.state['list']
  }
  expect(await moved([1, 1, 2, 1, 1], 1, 3)).toEqual([1, 2, 1, 1, 1])
  expect(await moved([0, 5, 5], 0, { after: 1 })).toEqual([5, 0, 5])
  expect(await moved([0, 5, 5], 0, { before: 1 })).toEqual([0, 5, 5])
  expect(await moved([0, 5, 5], 0, { after: 0 })).toEqual([0, 5, 5])
  expect(await moved([5, 5, 0], 2, { before: 1 })).toEqual([5, 0, 5])
})
