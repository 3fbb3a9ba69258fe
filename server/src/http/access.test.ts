import { request } from 'node:http'
import { ContextdError } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { asker } from '../../support/http.ts'
import { served } from '../../support/served.ts'
import type { Action, Handshake } from '../authorize.ts'

const authenticate = ({ auth }: Handshake) => (typeof auth.token === 'string' ? { id: auth.token } : null)
const bearer = { authorization: 'Bearer ada' }

async function started(...options: Parameters<typeof served>) {
  const server = await served(...options)
  return { ...server, ask: asker(server.url, bearer), anybody: asker(server.url) }
}
const all: readonly Action[] = ['read', 'write', 'create', 'delete', 'list']
const without = (...missing: Action[]) => ({
  authorize: ({ action }: { action: Action }) => all.includes(action) && !missing.includes(action),
})

/** Every call of the API, on a context that exists or not: what it needs. */
const calls: readonly (readonly [method: string, path: string, body: unknown, needs: Action])[] = [
  ['GET', 'contexts/ID', undefined, 'read'],
  ['HEAD', 'contexts/ID', undefined, 'read'],
  ['GET', 'contexts/ID?since=1', undefined, 'read'],
  ['GET', 'contexts/ID/events', undefined, 'read'],
  ['GET', 'contexts/ID/history', undefined, 'read'],
  ['GET', 'contexts/ID/versions/1', undefined, 'read'],
  ['DELETE', 'contexts/ID', undefined, 'delete'],
]

test.each(calls)(
  '%s %s is refused without what it needs, the same whether the context exists or not',
  async (method, path, body, needs) => {
    const { ask, contexts } = await started({ authenticate, ...without(needs) })
    await contexts.set('there', { n: 1 })
    const [there, absent] = await Promise.all(['there', 'absent'].map((id) => ask(method, path.replace('ID', id), { body })))
    expect(there!.status).toBe(403)
    expect((there!.body as { code?: string }).code).toBe(method === 'HEAD' ? undefined : 'forbidden')
    expect(there!.body).toEqual(absent!.body)
    expect(await contexts.get('there')).toMatchObject({ version: 1 })
  },
)

test.each(calls)('%s %s asks who it is first', async (method, path, body) => {
  const asked: string[] = []
  const { anybody } = await started({
    authenticate,
    authorize: ({ action }) => {
      asked.push(action)
      return true
    },
  })
  const answer = await anybody(method, path.replace('ID', 'a'), { body })
  expect(answer.status).toBe(401)
  expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  expect((answer.body as { code?: string }).code).toBe(method === 'HEAD' ? undefined : 'unauthenticated')
  expect(asked).toEqual([])
})

test('a list asks for its prefix, and a cleanup for everything', async () => {
  const asked: string[] = []
  const { ask } = await started({
    authenticate,
    authorize: ({ user, contextId, action }) => {
      asked.push(`${user?.id} ${action} ${contextId}`)
      return false
    },
  })
  expect(await ask('GET', 'contexts?prefix=board:')).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  expect(asked).toEqual(['ada list board:'])
})

test.each([
  [['write'], 200, 403],
  [['create'], 403, 201],
  [['write', 'create'], 200, 201],
  [[], 403, 403],
] as const)('who may %j: writing to what is there is %d, creating %d', async (allowed, there, absent) => {
  const { ask, contexts } = await started({ authenticate, authorize: ({ action }) => (allowed as readonly Action[]).includes(action) })
  await contexts.set('there', { n: 1 })
  const put = (id: string) => ask('PUT', `contexts/${id}`, { body: { n: 2 } })
  const patch = (id: string) =>
    ask('PATCH', `contexts/${id}`, { body: { operations: [{ type: 'set', path: ['n'], value: 3 }], initial: {} } })
  for (const write of [put, patch]) {
    expect((await write('there')).status).toBe(there)
    expect((await write(`absent-${write.name}`)).status).toBe(absent)
  }
  expect((await contexts.get('there'))!.version).toBe(there === 200 ? 3 : 1)
  expect((await contexts.get('absent-put')) === null).toBe(absent === 403)
})

test('who may write nothing is refused before the body is read', async () => {
  const { url } = await started({ authenticate, ...without('write', 'create') })
  const sent = request(`${url}/v1/contexts/a`, {
    method: 'PUT',
    headers: { ...bearer, 'content-type': 'application/json', 'content-length': 1e6 },
  })
  sent.on('error', () => {})
  const status = new Promise((resolve) => sent.on('response', (response) => resolve(response.statusCode)))
  sent.write('{')
  expect(await status).toBe(403)
  sent.destroy()
})

test('the author of a write is who authenticated, and the hook sees the request', async () => {
  const seen: Handshake[] = []
  const { ask, contexts } = await started({
    authenticate: (handshake) => {
      seen.push(handshake)
      return authenticate(handshake)
    },
  })
  await ask('PUT', 'contexts/a?x=1&y=2&y=3', { body: { n: 1 }, headers: { 'x-who': 'ada' } })
  expect(await contexts.get('a')).toMatchObject({ updatedBy: { userId: 'ada', actor: 'http' } })
  expect(seen[0]).toMatchObject({
    auth: { token: 'ada' },
    headers: { 'x-who': 'ada' },
    query: { x: '1', y: ['2', '3'] },
    address: '127.0.0.1',
    transport: 'http',
  })
})

test.each(['Basic YTpi', 'Bearer', 'Bearer a b', 'ada'])('%j is no bearer token', async (authorization) => {
  const { anybody } = await started({ authenticate })
  expect(await anybody('GET', 'contexts/a', { headers: { authorization } })).toMatchObject({ status: 401 })
})

const throwing = (error: Error) => (): never => {
  throw error
}
test.each([
  ['throws', throwing(new Error('password=secret')), 401, 'unauthenticated', null],
  ['cannot tell now', throwing(new ContextdError('backend_unavailable', 'The user database is away.')), 503, 'backend_unavailable', '1'],
  [
    'asks for patience',
    throwing(new ContextdError('rate_limited', 'Slowly.', { details: { retryAfterMs: 2_500 } })),
    429,
    'rate_limited',
    '3',
  ],
  ['gives what is no user', () => ({ id: '' }), 401, 'unauthenticated', null],
  ['gives a login that has ended', () => ({ id: 'ada', expiresAt: 1 }), 401, 'unauthenticated', null],
])('a hook that %s', async (_, hook, status, code, wait) => {
  const { ask } = await started({ authenticate: hook })
  const answer = await ask('GET', 'contexts/a')
  expect(answer).toMatchObject({ status, body: { code } })
  expect(answer.headers.get('retry-after')).toBe(wait)
  expect(JSON.stringify(answer.body)).not.toContain('secret')
})

test('an authorize that fails is an internal error that tells nothing', async () => {
  const { ask, contexts } = await started({
    authorize: () => {
      throw new Error('password=secret')
    },
  })
  await contexts.set('a', { n: 1 })
  for (const [method, body] of [
    ['GET', undefined],
    ['PUT', {}],
  ] as const) {
    const answer = await ask(method, 'contexts/a', { body })
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal', detail: 'The server failed at this. Its log says more.' } })
    expect(JSON.stringify(answer.body)).not.toContain('secret')
  }
})

test('pages of allowed origins may ask, and read the answer', async () => {
  const { anybody } = await started({ cors: { origin: ['https://app.example'] } })
  const origin = { origin: 'https://app.example' }
  const preflight = await anybody('OPTIONS', 'contexts/a', {
    headers: { ...origin, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'content-type,if-match' },
  })
  expect(preflight.status).toBe(204)
  expect(preflight.headers.get('access-control-allow-origin')).toBe('https://app.example')
  expect(preflight.headers.get('access-control-allow-methods')).toContain('PATCH')
  expect(preflight.headers.get('access-control-allow-headers')).toContain('idempotency-key')
  expect(preflight.headers.get('access-control-max-age')).toBe('600')
  const put = await anybody('PUT', 'contexts/a', { headers: origin, body: { n: 1 } })
  expect([put.status, put.headers.get('access-control-allow-origin'), put.headers.get('vary')]).toEqual([
    201,
    'https://app.example',
    'Origin, Authorization',
  ])
  expect(put.headers.get('access-control-expose-headers')).toContain('etag')
  // Errors too can be read.
  expect((await anybody('GET', 'contexts/b', { headers: origin })).headers.get('access-control-allow-origin')).toBe('https://app.example')
})

test.each(['https://evil.example', 'null', 'https://app.example.evil', 'http://app.example'])('pages of %s may not', async (origin) => {
  const { anybody, contexts } = await started({ cors: { origin: ['https://app.example'] } })
  for (const [method, body] of [
    ['GET', undefined],
    ['PUT', {}],
    ['OPTIONS', undefined],
  ] as const) {
    const answer = await anybody(method, 'contexts/a', { body, headers: { origin, 'access-control-request-method': 'PUT' } })
    expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect(answer.headers.get('access-control-allow-origin')).toBe(null)
  }
  expect(await contexts.get('a')).toBe(null)
})

/** Asks with any Host, as a name that somebody lets point here. */
const byName = (url: string, host: string, headers = {}): Promise<number> =>
  new Promise((resolve, reject) => {
    request(`${url}/v1/contexts`, { headers: { host, ...headers } }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
      .on('error', reject)
      .end()
  })

test('without authentication only names of this machine are served, so that no page can make this server its own', async () => {
  const open = await started()
  expect(await byName(open.url, 'evil.example:4000')).toBe(403)
  expect(await byName(open.url, 'evil.example', { origin: 'http://evil.example' })).toBe(403)
  expect(await byName(open.url, 'localhost:1')).toBe(200)
  expect(await byName(open.url, '[::1]:80')).toBe(200)
  const closed = await started({ authenticate })
  expect(await byName(closed.url, 'app.example', bearer)).toBe(200)
  expect(await byName((await started({ anonymous: true })).url, 'app.example')).toBe(200)
})
