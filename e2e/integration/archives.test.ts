import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Client, HandleOf } from '@contextd/client'
import { memoryBackend } from 'contextd'
import { redisBackend } from 'contextd/backends/redis'
import { FakeClock, startRedisServer } from 'contextd/testing'
import { describe, expect, test } from 'vitest'
import type { ClientWorld, Open } from '../support/client-world.ts'
import { closeAfter, closeAfterEach, live, openWorld } from '../support/open-world.ts'
import { until } from '../support/wait.ts'

closeAfterEach()
const hour = 3_600_000
const main = fileURLToPath(new URL('../../server/dist/cli/main.js', import.meta.url))
type Handle = HandleOf<Open, string>

/** Every reset that a handle reports, in order. */
function resetsOf(handle: Handle): string[] {
  const resets: string[] = []
  handle.status.subscribe(({ reset }, previous) => {
    if (reset !== null && reset !== previous.reset) resets.push(reset)
  })
  return resets
}

/** A server whose contexts have all been exported, and have expired since. */
async function expired(...ids: string[]): Promise<{ world: ClientWorld; clock: FakeClock }> {
  const clock = new FakeClock()
  const world = await openWorld({ engine: { archive: memoryBackend(), clock, contextTtlMs: hour, autoDelete: true } })
  for (const id of ids) {
    await world.contexts.set(id, { n: 1 })
    await world.contexts.set(id, { n: 2 })
    await world.contexts.export(id)
  }
  clock.advance(hour + 1)
  expect(await world.contexts.cleanup()).toMatchObject({ contexts: ids.length })
  return { world, clock }
}

/** Two nodes on one Redis, with a browser on each. */
async function onTwoNodes(
  engine: NonNullable<Parameters<typeof openWorld>[0]>['engine'],
): Promise<{ worlds: ClientWorld[]; clients: Client<Open>[]; handles: Handle[] }> {
  const redis = await startRedisServer()
  closeAfter(() => redis.stop())
  const backend = (): ReturnType<typeof redisBackend> => redisBackend(redis.url)
  const worlds = [await openWorld({ backend, ...(engine && { engine }) }), await openWorld({ backend })]
  const clients = worlds.map((world) => world.client())
  const handles = await Promise.all(clients.map((client) => live(client, 'c')))
  return { worlds, clients, handles }
}

describe('a context that has expired comes back from the archive', () => {
  test('to a browser that opens it, at its version, and to one that writes to it first', async () => {
    const { world } = await expired('opened', 'written')
    const client = world.client()
    const opened = await live(client, 'opened')
    expect(opened.get()).toEqual({ n: 2 })
    expect(opened.status.get()).toMatchObject({ phase: 'live', version: 2, reset: null })
    // What it would begin as is for contexts that are nowhere.
    const written = client.context('written', { initial: { n: 100 } })
    await written.at('n').increment(1)
    expect(await world.contexts.get('written')).toMatchObject({ version: 3, state: { n: 3 } })
  })

  test('over HTTP: to who reads it, asks what is new, follows it, and writes to it', async () => {
    const { world } = await expired('read', 'since', 'events', 'patch')
    const ask = (path: string, init?: RequestInit): Promise<Response> => fetch(`${world.url}/v1/contexts/${path}`, init)
    expect(await (await ask('read')).json()).toMatchObject({ version: 2, state: { n: 2 } })
    expect(await (await ask('since?since=1')).json()).toMatchObject({ type: 'full_context', context: { version: 2 } })
    const events = await ask('events/events')
    const { value } = await events.body!.getReader().read()
    expect(new TextDecoder().decode(value)).toContain('"state":{"n":2}')
    const headers = { 'content-type': 'application/merge-patch+json' }
    const patched = await ask('patch', { method: 'PATCH', headers, body: '{"n":3}' })
    expect(await patched.json()).toMatchObject({ context: { version: 3, state: { n: 3 } } })
  })

  test('on the command line: to get, update and watch', async () => {
    const { world } = await expired('get', 'update', 'watch')
    const contextd = async (...args: string[]): Promise<string> =>
      (await promisify(execFile)(process.execPath, [main, ...args, '--url', world.url, '--json'])).stdout
    const [got, updated] = await Promise.all([contextd('get', 'get'), contextd('update', 'update', '{"n":3}'), watched()])
    expect(JSON.parse(got!)).toMatchObject({ version: 2, state: { n: 2 } })
    expect(JSON.parse(updated!)).toMatchObject({ context: { version: 3, state: { n: 3 } } })

    async function watched(): Promise<void> {
      const watching = promisify(execFile)(process.execPath, [main, 'watch', 'watch', '--url', world.url, '--json'])
      await new Promise<void>((resolve) => {
        watching.child.stdout!.once('data', (first: Buffer) => {
          expect(first.toString()).toContain('"n":2')
          watching.child.kill('SIGINT')
          resolve()
        })
      })
      await watching
    }
  })

  test('to a browser that was away meanwhile, which is told `restored`; what it wrote offline is on top', async () => {
    const { world, clock } = await expired()
    const client = world.client()
    const handle = await live(client, 'c', { n: 0 })
    await handle.at('n').set(5)
    await world.contexts.export('c')
    const resets = resetsOf(handle)
    client.disconnect()
    const write = handle.at('m').set('offline')
    await until('nobody has it open', async () => {
      clock.advance(hour + 1)
      return (await world.contexts.cleanup()).contexts === 1
    })
    client.connect()
    await write
    expect(handle.get()).toEqual({ n: 5, m: 'offline' })
    expect(await world.contexts.get('c')).toMatchObject({ version: 2, state: { n: 5, m: 'offline' } })
    expect(resets).toEqual(['restored'])
    expect([world.errors, client.rejected.get()]).toEqual([[], []])
  })
})

test('LIFE-5: a browser that was away while a context expired for good is told `expired`, once', async () => {
  const clock = new FakeClock()
  const world = await openWorld({ engine: { clock, contextTtlMs: hour, autoDelete: true } })
  const client = world.client()
  const handle = await live(client, 'c', { n: 0 })
  await handle.at('n').set(5)
  const resets = resetsOf(handle)
  client.disconnect()
  await until('nobody has it open', async () => {
    clock.advance(hour + 1)
    return (await world.contexts.cleanup()).contexts === 1
  })
  client.connect()
  await handle.sync()
  expect(handle.status.get()).toMatchObject({ phase: 'deleted', version: 0 })
  await handle.at('n').increment(1)
  expect(handle.get()).toEqual({ n: 1 })
  expect(resets).toEqual(['expired', 'recreated'])
})

describe('G7: browsers that have a context open while it is restored are told `restored`', () => {
  test('in the same life: each is moved to the archived version, and what they write goes on from there', async () => {
    const { worlds, handles } = await onTwoNodes({ archive: memoryBackend() })
    const [here, there] = handles as [Handle, Handle]
    await here.set({ n: 1 })
    await there.at('n').increment(1)
    await worlds[0]!.contexts.export('c')
    await here.at('n').increment(10)
    await there.at('n').increment(10)
    const resets = handles.map(resetsOf)
    await worlds[0]!.contexts.restore('c')
    await until('both are at the archived version', () => handles.every((handle) => handle.status.get().version === 2))
    expect(handles.map((handle) => handle.get())).toEqual([{ n: 2 }, { n: 2 }])
    expect(resets).toEqual([['restored'], ['restored']])
    await Promise.all([here.at('n').increment(1), there.at('n').increment(1)])
    await until('both go on', () => handles.every((handle) => handle.get()?.['n'] === 4))
    expect(await worlds[1]!.contexts.get('c')).toMatchObject({ version: 4, state: { n: 4 } })
    expect(resets).toEqual([['restored'], ['restored']])
    expect(worlds.flatMap(({ errors }) => errors)).toEqual([])
  })

  test('in another life, from two functions that know version and state alone', async () => {
    const { worlds, clients, handles } = await onTwoNodes({
      archive: { export: () => {}, restore: () => ({ version: 10, state: { n: 7 } }) },
    })
    await handles[0]!.set({ n: 1 })
    await until('both have it', () => handles.every((handle) => handle.get()?.['n'] === 1))
    const resets = handles.map(resetsOf)
    clients[1]!.disconnect()
    const offline = handles[1]!.at('n').increment(100)
    await worlds[0]!.contexts.restore('c')
    clients[1]!.connect()
    await until('both are at the archived version', () => handles.every((handle) => handle.status.get().version === 10))
    await expect(offline).rejects.toMatchObject({ code: 'not_found' })
    await handles[1]!.at('n').increment(1)
    await until('both go on', () => handles.every((handle) => handle.get()?.['n'] === 8))
    expect(resets).toEqual([['restored'], ['restored']])
  })

  test('G3: with writes under way: each counts once, before the restore and gone with it, or on top of it', async () => {
    const { worlds, handles } = await onTwoNodes({ archive: memoryBackend() })
    const { contexts } = worlds[0]!
    await contexts.set('c', { n: 100 })
    await contexts.export('c')
    const resets = handles.map(resetsOf)
    const going = { on: true }
    const writing = handles.map(async (handle) => {
      while (going.on) await Promise.all([1, 2, 3].map(() => handle.at('n').increment(1)))
    })
    const reached = (version: number): Promise<void> =>
      until(`version ${version}`, async () => (await contexts.get('c'))!.version > version)
    await reached(30)
    const restored = await contexts.restore('c')
    await reached(30)
    going.on = false
    await Promise.all(writing)
    const after = (await contexts.get('c'))!
    expect(restored).toMatchObject({ version: 1, state: { n: 100 } })
    expect(after).toMatchObject({ incarnation: restored.incarnation, state: { n: 99 + after.version } })
    await until('both show it', () => handles.every((handle) => handle.get()?.['n'] === after.state['n']))
    expect(resets).toEqual([['restored'], ['restored']])
    expect(worlds.flatMap(({ errors }) => errors)).toEqual([])
  })
})
