import { createServer as createHttpServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { connected, served } from '../support/served.ts'
import { setTo } from '../support/wire-client.ts'
import { createContexts } from './contexts/contexts.ts'
import { createServer } from './server.ts'
import type { ServerOptions } from './server-options.ts'

const contexts = createContexts()

test('it listens on the loopback, on a port of its own choice, and says where', async () => {
  const server = createServer({ contexts })
  expect(server.url).toBe(null)
  await server.listen({ port: 0 })
  expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  await server.close()
  expect(server.url).toBe(null)
})

test('another address needs authenticate, or anonymous access said in so many words', async () => {
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'example.org']) {
    await expect(createServer({ contexts }).listen({ port: 0, host })).rejects.toThrow(TypeError)
  }
  for (const options of [{ anonymous: true }, { authenticate: () => null }]) {
    const server = createServer({ contexts, ...options })
    await server.listen({ port: 0, host: '0.0.0.0' })
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    await server.close()
  }
})

test('a taken port is an error, after which another can be tried', async () => {
  const first = createServer({ contexts })
  await first.listen({ port: 0 })
  const second = createServer({ contexts })
  const port = Number(new URL(first.url!).port)
  await expect(second.listen({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  await second.listen({ port: 0 })
  expect((await connected(second.url!)).socket.connected).toBe(true)
  await Promise.all([first.close(), second.close()])
})

test.each([
  { port: -1 },
  { port: 65_536 },
  { port: 1.5 },
  { port: '80' as unknown as number },
  { host: '' },
  { host: 5 as unknown as string },
])('listen refuses %j', async (options) => {
  await expect(createServer({ contexts }).listen(options)).rejects.toThrow(TypeError)
})

test.each([
  { contexts: {} },
  { contexts: null },
  { contexts, path: 'contextd' },
  { contexts, path: '/a b' },
  { contexts, path: '' },
  { contexts, cors: {} },
  { contexts, cors: { origin: '*' } },
  { contexts, cors: { origin: ['*'] } },
  { contexts, cors: { origin: ['https://a.example/'] } },
  { contexts, cors: { origin: ['a.example'] } },
  { contexts, limits: { speed: 1 } },
  { contexts, limits: { depth: -1 } },
  { contexts, limits: { depth: Number.NaN } },
  { contexts, limits: { depth: '5' } },
  { contexts, authenticate: true },
  { contexts, authorize: 'yes' },
  { contexts, anonymous: 1 },
  { contexts, autenticate: () => null },
])('createServer refuses %j', (options) => {
  expect(() => createServer(options as unknown as ServerOptions)).toThrow(TypeError)
})

test('one server listens once', async () => {
  const { server } = await served()
  await expect(server.listen({ port: 0 })).rejects.toThrow(TypeError)
  expect(() => server.attach(createHttpServer())).toThrow(TypeError)
  await server.close()
  await expect(server.listen({ port: 0 })).rejects.toThrow('closed')
})

test('the Socket.IO server has the limits of this one, and none of the surprises', async () => {
  const { server } = await served()
  const engine = server.io.engine as unknown as { opts: { [option: string]: unknown } }
  expect(engine.opts).toMatchObject({ perMessageDeflate: false, maxHttpBufferSize: 1_048_576 + 65_536, allowEIO3: false })
  expect(engine.opts['wsEngine']).toBe((await import('ws')).WebSocketServer)
  expect(server.io.connectTimeout()).toBeLessThanOrEqual(10_000)
})

/** What an HTTP server of the application's own is asked at. */
async function ownHttp(attach: (http: ReturnType<typeof createHttpServer>) => void, host = '127.0.0.1'): Promise<string> {
  const http = createHttpServer((request, response) => response.end(`mine: ${request.url}`))
  attach(http)
  http.listen(0, host)
  await once(http, 'listening')
  onTestFinished(() => void http.close())
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}

test('attached to an HTTP server it answers its own paths, and leaves it the others', async () => {
  const server = createServer({ contexts })
  const url = await ownHttp((http) => server.attach(http))
  expect(server.url).toBe(url)
  expect(await (await fetch(`${url}/healthz`)).text()).toBe('ok\n')
  expect(await (await fetch(`${url}/else`)).text()).toBe('mine: /else')
  const client = await connected(url)
  expect(await client.attach()).toHaveProperty('id')
  await server.close()
  expect(await client.ended()).not.toBe('')
  expect(await (await fetch(`${url}/else`)).text()).toBe('mine: /else')
  await expect(connected(url)).rejects.toThrow('websocket error')
})

test('another path is served there, and nowhere else', async () => {
  const { url } = await served({ path: '/live/' })
  await expect(connected(url)).rejects.toThrow('websocket error')
  expect((await connected(url, {}, { path: '/live' })).socket.connected).toBe(true)
})

test('polling works where WebSockets do not', async () => {
  const { connect } = await served()
  const session = await (await connect({}, { transports: ['polling'] })).attach()
  await session.sync('c')
  session.write('c', '', [[setTo('n', 1)]])
  expect((await session.client.next('d'))[0]).toBe('c')
})

test('a foreign page may not connect, by no transport; a listed one may', async () => {
  const { connect, url } = await served({ cors: { origin: ['https://good.example'] } })
  for (const transport of ['websocket', 'polling']) {
    for (const origin of ['https://evil.example', 'null', 'https://good.example.evil.example']) {
      await expect(connect({}, { transports: [transport], extraHeaders: { origin } })).rejects.toThrow(/websocket error|xhr poll error/)
    }
    for (const origin of ['https://good.example', url]) {
      expect((await connect({}, { transports: [transport], extraHeaders: { origin } })).socket.connected).toBe(true)
    }
  }
})

test('a WebSocket of a foreign page is refused before it opens', async () => {
  const { url } = await served()
  const socket = new WebSocket(`${url.replace('http', 'ws')}/contextd/?EIO=4&transport=websocket`, {
    headers: { origin: 'https://evil.example' },
  })
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  expect(response.statusCode).toBe(400)
  socket.on('error', () => {})
  socket.terminate()
})

test('who is revoked from everything is disconnected, and asked again', async () => {
  const asked: string[] = []
  const { connect, server } = await served({
    authenticate: ({ auth }) => {
      asked.push(auth.token!)
      return { id: auth.token! }
    },
  })
  const [ada, bob] = [await connect({ token: 'ada' }), await connect({ token: 'bob' })]
  await Promise.all([ada.attach(), bob.attach()])
  const ended = ada.ended()
  await server.revoke('ada')
  expect(await ended).toBe('transport close')
  expect(ada.frames.bye).toEqual([{ retryAfterMs: 0 }])
  expect(bob.socket.connected).toBe(true)
  await connect({ token: 'ada' })
  expect(asked).toEqual(['ada', 'bob', 'ada'])
})

test('who is revoked from a context is told, hears nothing more of it, and is authorized again', async () => {
  const revoked = new Set<string>()
  const {
    connect,
    server,
    contexts: own,
  } = await served({
    authenticate: ({ auth }) => ({ id: auth.token! }),
    authorize: ({ user, contextId }) => !revoked.has(`${user?.id} ${contextId}`),
  })
  const session = await (await connect({ token: 'ada' })).attach()
  await Promise.all([session.sync('secret'), session.sync('open')])
  revoked.add('ada secret')
  await server.revoke('ada', 'secret')
  expect(await session.client.next('denied')).toMatchObject(['secret', { code: 'forbidden' }])
  await own.set('secret', { n: 1 })
  await own.set('open', { n: 1 })
  expect((await session.client.next('d'))[0]).toBe('open')
  expect(session.client.frames.d).toHaveLength(1)
  expect(await session.sync('secret')).toMatchObject({ error: { code: 'forbidden' } })
  session.write('secret', '', [[setTo('n', 2)]])
  expect(await session.outcome('secret', 1)).toMatchObject({ type: 'refused', code: 'forbidden' })
  revoked.clear()
  expect(await session.sync('secret')).toHaveProperty('answer')
})

test('access that has ended is seen at the next sync, and ends what was open', async () => {
  let allowed = true
  const { connect, contexts: own } = await served({ authorize: () => allowed })
  const session = await (await connect()).attach()
  await session.sync('c')
  allowed = false
  expect(await session.sync('c')).toMatchObject({ error: { code: 'forbidden' } })
  expect(await session.client.next('denied')).toMatchObject(['c', { code: 'forbidden' }])
  await own.set('c', { n: 1 })
  allowed = true
  await session.sync('other')
  expect(session.client.frames.d).toEqual([])
})

test('a login that ends asks the session to authenticate again', async () => {
  const { connect } = await served({ authenticate: () => ({ id: 'ada', expiresAt: Date.now() + 100 }) })
  const client = await connect()
  const session = await client.attach()
  expect(await client.next('bye')).toEqual({ retryAfterMs: 0 })
  expect(await client.ended()).not.toBe('io server disconnect')
  expect((await (await connect()).attach(session.id)).id).toBe(session.id)
})

test('a login beyond the longest timer goes on', async () => {
  const { connect } = await served({ authenticate: () => ({ id: 'ada', expiresAt: Date.now() + 2 ** 40 }) })
  const client = await connect()
  await client.attach()
  await (await connect()).attach()
  expect(client.socket.connected).toBe(true)
})
