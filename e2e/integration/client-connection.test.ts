import { ContextdError } from '@contextd/client'
import type { ConnectionState } from '@contextd/client'
import { openBackend } from 'contextd'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { ClientWorld } from '../support/client-world.ts'
import type { Open } from '../support/client-world.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

type Client = ReturnType<ClientWorld['client']>
type Handle = ReturnType<Client['context']>

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})
async function open(options: Parameters<typeof ClientWorld.open>[0] = {}): Promise<ClientWorld> {
  const world = await ClientWorld.open(options)
  closing.push(() => world.close())
  return world
}
async function live(client: Client, id = 'c', initial: Open['']['state'] = { n: 0, list: [] }): Promise<Handle> {
  const handle = client.context(id, { initial })
  handle.subscribe(() => {})
  await handle.ready({ live: true })
  return handle
}
/** Names of the states that a connection goes through. */
function statesOf(client: Client): ConnectionState['name'][] {
  const names: ConnectionState['name'][] = []
  client.connection.subscribe(({ name }) => names.push(name))
  return names
}

describe('offline and back', () => {
  test('a client does nothing until it is needed', async () => {
    const world = await open()
    const client = world.client()
    const handle = client.context('c')
    expect(handle.get()).toBeUndefined()
    expect(handle.status.get()).toEqual({
      phase: 'loading',
      version: 0,
      revision: null,
      pending: 0,
      source: 'none',
      access: null,
      error: null,
      reset: null,
    })
    expect(client.connection.get()).toEqual({ name: 'idle' })
    expect(world.server.io.engine.clientsCount).toBe(0)
    handle.subscribe(() => {})
    expect(client.connection.get()).toEqual({ name: 'connecting', attempt: 1 })
    await handle.ready({ live: true })
    expect(client.connection.get()).toEqual({ name: 'connected', role: 'solo' })
  })

  test('what is written offline is shown, and goes in order when the client is back', async () => {
    const world = await open()
    const client = world.client()
    const handle = await live(client)
    client.disconnect()
    expect(client.connection.get()).toEqual({ name: 'idle' })
    expect(handle.status.get().phase).toBe('absent')
    const writes = Array.from({ length: 200 }, (_, n) => handle.at('list').append(n))
    writes.push(handle.at('n').increment(5))
    expect(client.pending.get()).toBe(201)
    await world.contexts.set('c', { n: 10, list: [-1] })
    client.connect()
    await Promise.all(writes)
    const { state } = (await world.contexts.get('c'))!
    expect(state).toEqual({ n: 15, list: [-1, ...Array.from({ length: 200 }, (_, n) => n)] })
    await until('it is shown', () => JSON.stringify(handle.get()) === JSON.stringify(state))
  })

  test('a state that is there stays shown while the connection is away', async () => {
    const world = await open()
    await world.contexts.set('c', { n: 1 })
    const client = world.client()
    const handle = await live(client)
    client.disconnect()
    expect(handle.status.get()).toMatchObject({ phase: 'stale', version: 1 })
    expect(handle.get()).toEqual({ n: 1 })
    await expect(handle.sync()).rejects.toMatchObject({ code: 'offline' })
    await expect(handle.ready({ live: true })).rejects.toMatchObject({ code: 'offline' })
    expect(await handle.ready()).toEqual({ n: 1 })
    await expect(client.list()).rejects.toMatchObject({ code: 'offline' })
  })

  test('a server that is not there: initial is shown, and what was written is saved when it has come', async () => {
    const world = await open()
    await world.stop()
    const client = world.client()
    const handle = client.context('c', { initial: { n: 1 } })
    handle.subscribe(() => {})
    await until('it counts as absent', () => handle.get() !== undefined)
    expect(handle.status.get().phase).toBe('absent')
    const write = handle.at('n').increment()
    expect(handle.get()).toEqual({ n: 2 })
    expect(client.connection.get()).toMatchObject({ name: 'reconnecting', attempt: expect.any(Number), nextAttemptAt: expect.any(Number) })
    await world.start()
    expect(await write).toMatchObject({ version: 1 })
    expect(world.errors).toEqual([])
  })
})

describe('a server that goes', () => {
  test('the server restarts: nothing is lost or doubled, and nobody is told of an error', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'contextd-'))
    closing.push(() => rm(folder, { recursive: true }))
    const world = await open({ backend: () => openBackend(`sqlite:${join(folder, 'data.db')}`) })
    const clients = [world.client(), world.client()]
    const handles = await Promise.all(clients.map((client) => live(client)))
    const states = statesOf(clients[0]!)
    const writes: Promise<unknown>[] = []
    let writing = true
    const write = (async () => {
      for (let n = 0; writing; n += 1) {
        for (const [index, handle] of handles.entries()) writes.push(handle.at('n').increment(), handle.at('list').append(`${index}-${n}`))
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    for (let round = 0; round < 2; round += 1) {
      const before = writes.length
      await until('some are written', () => writes.length > before + 20)
      await world.stop()
      await until('some more are written', () => writes.length > before + 60)
      await world.start()
      await until('both are back', () => clients.every((client) => client.connection.get().name === 'connected'))
    }
    writing = false
    await write
    await Promise.all(writes)
    const { state, version } = (await world.contexts.get('c'))!
    expect(state['n']).toBe(writes.length / 2)
    expect(version).toBe(writes.length)
    for (const index of [0, 1]) {
      const own = (state['list'] as string[]).filter((entry) => entry.startsWith(`${index}-`))
      expect(own).toEqual(Array.from({ length: writes.length / 4 }, (_, n) => `${index}-${n}`))
    }
    await until('both are at the head', () => handles.every((handle) => JSON.stringify(handle.get()) === JSON.stringify(state)))
    expect(states).toContain('reconnecting')
    expect(world.errors).toEqual([])
  })

  test('connections are cut again and again: every write is applied once', async () => {
    const world = await open()
    const proxy = await TcpProxy.to(Number(new URL(world.url).port))
    closing.push(() => proxy.close())
    const client = world.client({ url: `http://127.0.0.1:${proxy.port}` })
    const handle = await live(client)
    const writes: Promise<unknown>[] = []
    for (let round = 0; round < 5; round += 1) {
      for (let n = 0; n < 20; n += 1) writes.push(handle.at('n').increment())
      // At once, after a while, and in the middle of the answers.
      if (round % 2 === 0) await Promise.race(writes.slice(-20))
      proxy.cut()
      await until('it is back', () => client.connection.get().name === 'connected')
    }
    await Promise.all(writes)
    expect((await world.contexts.get('c'))!.state['n']).toBe(100)
    expect(world.errors).toEqual([])
  })

  test('a connection that is only half there is noticed', { timeout: 40_000 }, async () => {
    const world = await open()
    const proxy = await TcpProxy.to(Number(new URL(world.url).port))
    closing.push(() => proxy.close())
    const client = world.client({ url: `http://127.0.0.1:${proxy.port}` })
    const handle = await live(client)
    const states = statesOf(client)
    proxy.freeze()
    const sync = handle.sync()
    await expect(sync).rejects.toMatchObject({ code: 'timeout' })
    proxy.thaw()
    await until('it was noticed, and is back', () => states.includes('reconnecting') && states.at(-1) === 'connected')
    expect(await handle.at('n').increment()).toMatchObject({ version: 1 })
  })
})

describe('who it is', () => {
  test('a token is sent; one that is refused is asked for again, then needs the application', async () => {
    const tokens = ['old', 'older', 'good']
    const asked: string[] = []
    const world = await open({ server: { authenticate: ({ auth }) => (auth.token === 'good' ? { id: 'ada' } : null) } })
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
    const world = await open({
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
    const world = await open({
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
    const world = await open({ server: { authenticate: ({ auth }) => ({ id: String(auth.token) }) } })
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
    const world = await open({ server: { authenticate: () => ({ id: 'ada' }), authorize: ({ contextId }) => allowed.has(contextId) } })
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
    const world = await open()
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
    const world = await open({ engine: { sessionTtlMs: 400 } })
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
    const world = await open({ engine: { sessionTtlMs: 100 } })
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

  const rooms = (world: ClientWorld): number =>
    [...world.server.io.sockets.adapter.rooms.keys()].filter((room) => room.includes('ctx:')).length

  test('a context is left a grace time after its last interest, and not before', async () => {
    const world = await open()
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
    const world = await open()
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
    const world = await open()
    await world.contexts.set('c', { n: 1 })
    const handle = world.client().context('c')
    await handle.ready()
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    await world.contexts.update('c', { n: 2 })
    await until('it is told', () => handle.get()!['n'] === 2)
    handle.leave()
    await until('it is left', () => rooms(world) === 0)
  })

  test('the wait for a state can be given up', async () => {
    const world = await open()
    await world.stop()
    const controller = new AbortController()
    const ready = world.client().context('c').ready({ signal: controller.signal })
    controller.abort()
    await expect(ready).rejects.toMatchObject({ code: 'aborted' })
    await world.start()
  })

  test('a program that destroyed its client ends', async () => {
    const world = await open()
    const client = world.client()
    await live(client)
    await client.destroy()
    await until('the socket is closed', () => world.server.io.engine.clientsCount === 0)
  })
})

test('a client that writes faster than it may is slowed down, and loses nothing', async () => {
  const world = await open({ server: { limits: { commitsPerSecond: 20 } } })
  const client = world.client()
  const handle = await live(client)
  const writes = Array.from({ length: 130 }, () => handle.at('n').increment())
  await Promise.all(writes)
  expect((await world.contexts.get('c'))!.state['n']).toBe(130)
  expect(world.errors).toEqual([])
})
