import type { Client, ConnectionState } from '@contextd/client'
import { openBackend } from 'contextd'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Open } from '../support/client-world.ts'
import { closeAfter, closeAfterEach, live, openWorld } from '../support/open-world.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { until } from '../support/wait.ts'

closeAfterEach()
/** Names of the states that a connection goes through. */
function statesOf(client: Client<Open>): ConnectionState['name'][] {
  const names: ConnectionState['name'][] = []
  client.connection.subscribe(({ name }) => names.push(name))
  return names
}

describe('offline and back', () => {
  test('a client does nothing until it is needed', async () => {
    const world = await openWorld()
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
    const world = await openWorld()
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
    const world = await openWorld()
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
    const world = await openWorld()
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

describe('a browser that says whether there is a network', () => {
  const page = new EventTarget()
  beforeEach(() => {
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
    vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
  })
  afterEach(() => vi.unstubAllGlobals())

  test('without one the connection is given up, and with one made at once', async () => {
    const world = await openWorld()
    const client = world.client()
    const handle = await live(client)
    page.dispatchEvent(new Event('offline'))
    expect(client.connection.get()).toEqual({ name: 'offline' })
    await until('the socket is closed', () => world.server.io.engine.clientsCount === 0)
    const write = handle.at('n').increment()
    await expect(handle.sync()).rejects.toMatchObject({ code: 'offline' })
    page.dispatchEvent(new Event('online'))
    expect(client.connection.get()).toEqual({ name: 'connecting', attempt: 1 })
    expect(await write).toMatchObject({ version: 1 })
    await client.destroy()
    page.dispatchEvent(new Event('offline'))
    expect(client.connection.get()).toEqual({ name: 'closed' })
  })

  test('an attempt that fails where there is none leads to offline; one that succeeds does not ask', async () => {
    vi.stubGlobal('navigator', { onLine: false })
    const world = await openWorld()
    const client = world.client()
    await live(client)
    await world.stop()
    await until('it is offline', () => client.connection.get().name === 'offline')
    await world.start()
    page.dispatchEvent(new Event('online'))
    await until('it is back', () => client.connection.get().name === 'connected')
    expect(world.errors).toEqual([])
    await client.destroy()
  })
})

describe('a server that goes', () => {
  test('the server restarts: nothing is lost or doubled, and nobody is told of an error', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'contextd-'))
    closeAfter(() => rm(folder, { recursive: true }))
    const world = await openWorld({ backend: () => openBackend(`sqlite:${join(folder, 'data.db')}`) })
    const clients = [world.client(), world.client()]
    const handles = await Promise.all(clients.map((client) => live(client)))
    const states = statesOf(clients[0]!)
    const writes: Promise<unknown>[] = []
    const writing = { on: true }
    const write = (async () => {
      for (let n = 0; writing.on; n += 1) {
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
    writing.on = false
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
    const world = await openWorld()
    const proxy = await TcpProxy.to(Number(new URL(world.url).port))
    closeAfter(() => proxy.close())
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
    const world = await openWorld()
    const proxy = await TcpProxy.to(Number(new URL(world.url).port))
    closeAfter(() => proxy.close())
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

test('a client that writes faster than it may is slowed down, and loses nothing', { timeout: 20_000 }, async () => {
  const world = await openWorld({ server: { limits: { commitsPerSecond: 20 } } })
  const client = world.client()
  const handle = await live(client)
  const writes = Array.from({ length: 130 }, () => handle.at('n').increment())
  await Promise.all(writes)
  expect((await world.contexts.get('c'))!.state['n']).toBe(130)
  expect(world.errors).toEqual([])
})
