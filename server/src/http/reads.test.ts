import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { asker } from '../../support/http.ts'
import { served } from '../../support/served.ts'
import { openBackend } from '../backends/open-backend.ts'
import { createContexts } from '../contexts/contexts.ts'
import { createServer } from '../server.ts'

async function started(...options: Parameters<typeof served>) {
  const server = await served(...options)
  return { ...server, ask: asker(server.url) }
}

test('a context is read as a snapshot, with its version as the tag', async () => {
  const { ask, contexts } = await started()
  const { context } = await contexts.set('board:1', { title: 'Größe', items: [1] })
  const { status, headers, body } = await ask('GET', 'contexts/board:1')
  expect([status, body]).toEqual([200, context])
  expect(headers.get('etag')).toBe(`"1-${context.revision}"`)
  expect(headers.get('content-type')).toBe('application/json; charset=utf-8')
  expect(headers.get('cache-control')).toBe('no-cache')
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  const head = await ask('HEAD', 'contexts/board:1')
  expect([head.status, head.body, head.headers.get('etag')]).toEqual([200, '', headers.get('etag')])
  expect(head.headers.get('content-length')).toBe(headers.get('content-length'))
})

test('an absent context is a problem with its code, and so is whatever is no path', async () => {
  const { ask } = await started()
  const { status, headers, body } = await ask('GET', 'contexts/board:1')
  expect([status, headers.get('content-type')]).toEqual([404, 'application/problem+json; charset=utf-8'])
  expect(body).toEqual({
    type: 'about:blank',
    title: 'Not Found',
    status: 404,
    detail: 'There is no context board:1.',
    code: 'not_found',
    contextId: 'board:1',
  })
  for (const path of [
    '',
    'nothing',
    'contexts/',
    'contexts/a/b',
    'contexts/a/versions',
    'contexts/a/versions/1/2',
    'contexts/a/events/',
    '../v1',
  ])
    expect(await ask('GET', path)).toMatchObject({ status: 404, body: { code: 'not_found' } })
})

test('who has the newest version is told so, weak tags and lists of them too', async () => {
  const { ask, contexts } = await started()
  const { context } = await contexts.set('a', { n: 1 })
  const etag = `"1-${context.revision}"`
  for (const known of [etag, `W/${etag}`, `"9-x", ${etag}`, '*']) {
    const answer = await ask('GET', 'contexts/a', { headers: { 'if-none-match': known } })
    expect([answer.status, answer.body, answer.headers.get('etag')]).toEqual([304, '', etag])
  }
  await contexts.set('a', { n: 2 })
  expect(await ask('GET', 'contexts/a', { headers: { 'if-none-match': etag } })).toMatchObject({ status: 200, body: { state: { n: 2 } } })
})

test('what is new since a version: a delta of changes whatever format the server has, nothing, or all of it', async () => {
  const { ask, contexts } = await started({}, { deltaFormat: 'verbose' })
  const first = (await contexts.set('a', { n: 1 })).context
  const since = `contexts/a?since=1-${first.revision}`
  expect((await ask('GET', since)).body).toEqual({ type: 'no_change', version: 1, revision: first.revision })
  await contexts.update('a', { n: 2 })
  const second = (await contexts.update('a', { m: 1 })).context
  const { status, headers, body } = await ask('GET', since)
  expect([status, headers.get('etag')]).toEqual([200, `"2-${second.revision}"`.replace('2', '3')])
  expect(body).toMatchObject({ type: 'delta', delta: { baseVersion: 1, version: 3, revision: second.revision } })
  expect((body as { delta: { changes: unknown } }).delta.changes).toEqual(
    expect.arrayContaining([
      { path: ['n'], action: 'modified', value: 2, oldValue: 1 },
      { path: ['m'], action: 'added', value: 1 },
    ]),
  )
  expect((await ask('GET', 'contexts/a?since=1')).body).toMatchObject({ type: 'delta', delta: { baseVersion: 1, version: 3 } })
  expect((await ask('GET', 'contexts/a?since=2-nothing')).body).toMatchObject({ type: 'full_context', context: { version: 3 } })
  expect((await ask('GET', `contexts/a?since="3-${second.revision}"`)).body).toMatchObject({ type: 'no_change' })
  expect(await ask('GET', 'contexts/b?since=1')).toMatchObject({ status: 404, body: { code: 'not_found' } })
})

test.each(['', 'x', '-1', '1.5', '1-', '1-a b', '99999999999999999999', '1-x&since=2-y'])('since=%s is no version', async (since) => {
  const { ask, contexts } = await started()
  await contexts.set('a', {})
  expect(await ask('GET', `contexts/a?since=${since}`)).toMatchObject({ status: 400, body: { code: 'invalid_message' } })
})

test.each(['a b', '~a', '.', 'a{b}', 'a#b', 'a*', 'ä', 'x'.repeat(129)])('%j is no id, whatever is asked of it', async (id) => {
  const { ask } = await started()
  const path = `contexts/${id === '.' ? '%2E%2E%2Fx' : encodeURIComponent(id)}`
  for (const [method, rest, body] of [
    ['GET', ''],
    ['PUT', '', {}],
    ['DELETE', ''],
    ['GET', '/events'],
    ['GET', '/history'],
  ] as const) {
    expect(await ask(method, path + rest, { body })).toMatchObject({ status: 422, body: { code: 'invalid_operation' } })
  }
})

test('an id of the greatest length is one, and a broken escape is not', async () => {
  const { ask } = await started()
  expect((await ask('GET', `contexts/${'x'.repeat(128)}`)).status).toBe(404)
  expect(await ask('GET', 'contexts/%zz')).toMatchObject({ status: 400, body: { code: 'invalid_message' } })
})

test('contexts are listed by id: prefix, limit, offset, order, and since when', async () => {
  const { ask, contexts } = await started()
  for (const id of ['a:1', 'a:2', 'a:3', 'b:1']) await contexts.set(id, { id })
  const ids = async (query: string): Promise<unknown> =>
    ((await ask('GET', `contexts${query}`)).body as { contexts: { contextId: string }[] }).contexts.map(({ contextId }) => contextId)
  expect(await ids('')).toEqual(['a:1', 'a:2', 'a:3', 'b:1'])
  expect(await ids('?prefix=a:&limit=2&order=desc')).toEqual(['a:3', 'a:2'])
  expect(await ids('?prefix=a:&offset=2')).toEqual(['a:3'])
  expect(await ids('?prefix=%C3%A4')).toEqual([])
  expect(await ids(`?updatedSince=${Number.MAX_SAFE_INTEGER}`)).toEqual([])
  const { body } = await ask('GET', 'contexts?limit=1')
  const { contextId, version, revision, createdAt, updatedAt } = (await contexts.get('a:1'))!
  expect(body).toEqual({ contexts: [{ contextId, version, revision, createdAt, updatedAt }] })
})

test.each(['limit=0', 'limit=10001', 'limit=x', 'offset=-1', 'order=up', 'limit=1&limit=2', 'prefix=a&prefix=b', 'updatedSince=now'])(
  'a list with %s is refused',
  async (query) => {
    const { ask } = await started()
    expect(await ask('GET', `contexts?${query}`)).toMatchObject({ status: 400, body: { code: 'invalid_message' } })
  },
)

test('the retained deltas, newest first, and every version that they lead to', async () => {
  const { ask, contexts } = await started()
  for (let n = 1; n <= 3; n += 1) await contexts.set('a', { n })
  const { status, body } = await ask('GET', 'contexts/a/history?limit=2')
  expect(status).toBe(200)
  expect(body).toMatchObject({
    deltas: [
      { version: 3, changes: [{ path: ['n'], action: 'modified', value: 3, oldValue: 2 }] },
      { version: 2, baseVersion: 1 },
    ],
  })
  expect((body as { deltas: unknown[] }).deltas).toHaveLength(2)
  const second = await ask('GET', 'contexts/a/versions/2')
  expect(second).toMatchObject({ status: 200, body: { version: 2, state: { n: 2 } } })
  expect(second.headers.get('etag')).toBe(`"2-${(second.body as { revision: string }).revision}"`)
  expect(await ask('GET', 'contexts/a/versions/4')).toMatchObject({ status: 404, body: { code: 'not_found' } })
  for (const version of ['0', 'x', '-1', '1.5']) {
    expect(await ask('GET', `contexts/a/versions/${version}`)).toMatchObject({ status: 400, body: { code: 'invalid_message' } })
  }
  expect(await ask('GET', 'contexts/b/history')).toMatchObject({ status: 404 })
  expect(await ask('GET', 'contexts/a/history?limit=0')).toMatchObject({ status: 400 })
})

test('a version that is no longer in the log is gone', async () => {
  const { ask, contexts } = await started({}, { deltaThreshold: 2 })
  for (let n = 1; n <= 12; n += 1) await contexts.set('a', { n })
  expect(await ask('GET', 'contexts/a/versions/1')).toMatchObject({ status: 410, body: { code: 'expired', contextId: 'a' } })
})

test('a history much longer than one write of the socket arrives whole', async () => {
  const { ask, contexts } = await started()
  for (let n = 1; n <= 40; n += 1) await contexts.set('a', { n, text: String(n).repeat(20_000) })
  const { deltas } = (await ask('GET', 'contexts/a/history')).body as { deltas: { version: number }[] }
  expect(deltas.map(({ version }) => version)).toEqual(Array.from({ length: deltas.length }, (_, index) => 40 - index))
  expect(JSON.stringify(deltas).length).toBeGreaterThan(1_000_000)
})

test('methods that a path does not take are named, and what it takes can be asked', async () => {
  const { ask } = await started()
  const refused = await ask('POST', 'contexts/a', { body: {} })
  expect(refused).toMatchObject({ status: 405, body: { code: 'invalid_message' } })
  expect(refused.headers.get('allow')).toBe('GET, PUT, PATCH, DELETE, HEAD, OPTIONS')
  expect((await ask('DELETE', 'contexts')).headers.get('allow')).toBe('GET, HEAD, OPTIONS')
  const options = await ask('OPTIONS', 'contexts/a')
  expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, PUT, PATCH, DELETE, HEAD, OPTIONS'])
})

test('a store that is away is a 503 with a time to wait, and what it says of itself stays inside', async () => {
  const contexts = createContexts({ backend: openBackend('redis://:s3cret@127.0.0.1:1') })
  const http = createHttpServer()
  const server = createServer({ contexts })
  onTestFinished(async () => {
    await server.close({ drainMs: 0 })
    http.close()
    http.closeAllConnections()
    await contexts.close()
  })
  server.attach(http)
  await once(http.listen(0, '127.0.0.1'), 'listening')
  const answer = await asker(server.url!)('GET', 'contexts/a')
  expect(answer).toMatchObject({ status: 503, body: { code: 'backend_unavailable' } })
  expect(answer.headers.get('retry-after')).toBe('1')
  expect(JSON.stringify(answer.body)).not.toContain('s3cret')
})
