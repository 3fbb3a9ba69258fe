import { ContextdError } from '@contextd/client'
import { describe, expect, test } from 'vitest'
import type { ClientWorld } from '../support/client-world.ts'
import { closeAfterEach, live, openWorld } from '../support/open-world.ts'
import { until } from '../support/wait.ts'

closeAfterEach()
/** Contexts that somebody has joined. */
const rooms = (world: ClientWorld): number =>
  [...world.server.io.sockets.adapter.rooms.keys()].filter((room) => room.includes('ctx:')).length

describe('who it is', () => {
  test('a token is sent; one that is refused is asked for again, then needs the application', async () => {
    const tokens = ['old', 'older', 'good']
    const asked: string[] = []
    const world = await openWorld({ server: { authenticate: ({ auth }) => (auth.token === 'good' ? { id: 'ada' } : null) } })
    const client = world.client({
      auth: async () => {
        asked.push(tokens[asked.length] ?? 'good')
        return asked.at(-1)!
      },
    })
    const handle = client.context('c')
    await expect(handle.ready()).rejects.toMatchObject({ code: 'unauthenticated' })
    expect(client.connection.get()).toMatchObject({ name: 'needs-auth', error: { code: 'unauthenticated' } })
    expect(asked).toEqual(['old', 'older'])
    handle.subscribe(() => {})
    expect(client.connection.get().name).toBe('needs-auth')
    client.connect()
    await handle.ready({ live: true })
    expect(asked).toEqual(['old', 'older', 'good'])
    expect(world.errors).toEqual([])
  })

  test('a token that is a text is not tried again by itself', async () => {
    let tries = 0
    const world = await openWorld({
      server: {
        authenticate: () => {
          tries += 1
          return null
        },
      },
    })
    const client = world.client({ auth: 'wrong' })
    client.connect()
    await until('it is refused', () => client.connection.get().name === 'needs-auth')
    expect(tries).toBe(1)
  })

  test('a client that the server no longer understands says so, and stops', async () => {
    const outdated = new ContextdError('update_required', 'Too old.')
    const world = await openWorld({
      server: {
        authenticate: () => {
          throw outdated
        },
      },
    })
    const client = world.client()
    client.connect()
    await until('it says so', () => client.connection.get().name === 'update-required')
    await expect(client.context('c').ready()).rejects.toMatchObject({ code: 'update_required' })
  })

  test('what one user wrote is not sent as another', async () => {
    let user = 'ada'
    const world = await openWorld({ server: { authenticate: ({ auth }) => ({ id: String(auth.token) }) } })
    const client = world.client({ auth: () => user })
    const handle = await live(client)
    await handle.at('n').increment()
    client.disconnect()
    const write = handle.at('n').increment(100)
    user = 'bob'
    client.connect()
    await expect(write).rejects.toMatchObject({ code: 'forbidden' })
    expect(client.rejected.get()).toMatchObject([{ id: write.id, operations: [{ type: 'increment', by: 100 }] }])
    await until('it is live as bob', () => handle.status.get().phase === 'live')
    expect(handle.get()).toEqual({ n: 1, list: [] })
    await handle.at('n').increment()
    expect((await world.contexts.get('c'))!.state['n']).toBe(2)
  })

  test('access to a context ends, and comes back', async () => {
    const allowed = new Set(['c', 'd'])
    const world = await openWorld({ server: { authenticate: () => ({ id: 'ada' }), authorize: ({ contextId }) => allowed.has(contextId) } })
    const client = world.client()
    const [c, d] = await Promise.all([live(client, 'c'), live(client, 'd')])
    await Promise.all([c.at('n').increment(), d.at('n').increment()])
    allowed.delete('c')
    await world.server.revoke('ada', 'c')
    await until('it is denied', () => c.status.get().phase === 'denied')
    expect(c.get()).toBeUndefined()
    expect(d.status.get().phase).toBe('live')
    allowed.add('c')
    await c.sync()
    expect(c.get()).toMatchObject({ n: 1 })
  })

  test('a function that fails to find a token is called again, and told', async () => {
    let calls = 0
    const world = await openWorld()
    const client = world.client({
      auth: () => {
        calls += 1
        if (calls === 1) throw new Error('no network')
        return 'token'
      },
    })
    await live(client)
    expect(calls).toBe(2)
    expect(world.errors.map(({ code }) => code)).toEqual(['unauthenticated'])
  })
})

describe('sessions and interest', () => {
  test('P14: a session is replaced before it expires, and writing goes on', async () => {
    const world = await openWorld({ engine: { sessionTtlMs: 400 } })
    const client = world.client()
    const handle = await live(client)
    const actors = new Set<string>()
    world.contexts.subscribe('c', (delta) => actors.add(delta.author.actor))
    let count = 0
    await until('three sessions have written', async () => {
      await handle.at('n').increment()
      count += 1
      return actors.size >= 3
    })
    expect((await world.contexts.get('c'))!.state['n']).toBe(count)
    expect(client.rejected.get()).toEqual([])
    expect(world.errors).toEqual([])
  })

  test('P14: what was never sent outlives its session', async () => {
    const world = await openWorld({ engine: { sessionTtlMs: 100 } })
    const client = world.client()
    const handle = await live(client)
    client.disconnect()
    const writes = [handle.at('n').increment(), handle.at('n').increment()]
    await new Promise((resolve) => setTimeout(resolve, 200))
    client.connect()
    await Promise.all(writes)
    expect((await world.contexts.get('c'))!.state['n']).toBe(2)
    expect(client.rejected.get()).toEqual([])
  })

  test('a context is left a grace time after its last interest, and not before', async () => {
    const world = await openWorld()
    await world.contexts.set('c', { n: 1 })
    const client = world.client()
    const handle = client.context('c')
    const ends = [
      handle.subscribe(() => {}),
      handle.status.subscribe(() => {}),
      client
        .context('c')
        .at('n')
        .subscribe(() => {}),
    ]
    await until('it is joined', () => rooms(world) === 1 && handle.status.get().phase === 'live')
    for (const end of ends) {
      end()
      end()
    }
    const again = handle.subscribe(() => {})
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    expect(rooms(world)).toBe(1)
    expect(handle.status.get().phase).toBe('live')
    again()
    await until('it is left', () => rooms(world) === 0)
    expect(handle.status.get().phase).toBe('stale')
    expect(handle.get()).toEqual({ n: 1 })
    await world.contexts.update('c', { n: 2 })
    handle.subscribe(() => {})
    await until('it is joined again', () => handle.get()!['n'] === 2)
  })

  test('a write that nobody watches is saved, and then the context is left', async () => {
    const world = await openWorld()
    const client = world.client()
    const handle = client.context('c')
    const write = handle.set({ n: 1 })
    handle.leave()
    handle.leave()
    await write
    expect((await world.contexts.get('c'))!.state).toEqual({ n: 1 })
    await until('it is left', () => rooms(world) === 0)
  })

  test('ready holds a context open until leave', async () => {
    const world = await openWorld()
    await world.contexts.set('c', { n: 1 })
    const handle = world.client().context('c')
    await handle.ready()
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    await world.contexts.update('c', { n: 2 })
    await until('it is told', () => handle.get()!['n'] === 2)
    expect(rooms(world)).toBe(1)
    handle.leave()
    await until('it is left', () => rooms(world) === 0)
  })

  test('the wait for a state can be given up', async () => {
    const world = await openWorld()
    await world.stop()
    const controller = new AbortController()
    const ready = world.client().context('c').ready({ signal: controller.signal })
    controller.abort()
    await expect(ready).rejects.toMatchObject({ code: 'aborted' })
    await world.start()
  })

  test('a program that destroyed its client ends', async () => {
    const world = await openWorld()
    const client = world.client()
    await live(client)
    await client.destroy()
    await until('the socket is closed', () => world.server.io.engine.clientsCount === 0)
    expect(client.connection.get()).toEqual({ name: 'closed' })
  })
})
