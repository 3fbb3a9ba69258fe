import { expect, test } from 'vitest'
import { asker } from '../../support/http.ts'
import { served } from '../../support/served.ts'
import { memoryBackend } from '../backends/memory.ts'

async function started(...options: Parameters<typeof served>) {
  const server = await served(...options)
  return { ...server, ask: asker(server.url) }
}
/** A store in memory that outlives whoever closes it. */
function kept(): ReturnType<typeof memoryBackend> {
  const backend = memoryBackend()
  backend.close = () => Promise.resolve()
  return backend
}
const key = (name: string): { 'idempotency-key': string } => ({ 'idempotency-key': name })
const increment = { operations: [{ type: 'increment', path: ['n'], by: 1 }] }

test('P7: a request with the same key and body is applied once, and answered as it was', async () => {
  const { ask, contexts } = await started()
  const first = await ask('PUT', 'contexts/a', { body: { n: 1 }, headers: key('k1') })
  expect([first.status, first.headers.get('idempotent-replayed')]).toEqual([201, null])
  const patched = await ask('PATCH', 'contexts/a', { body: increment, headers: key('k2') })
  expect(patched).toMatchObject({ status: 200, body: { context: { version: 2, state: { n: 2 } } } })
  await contexts.update('a', { later: true })

  const again = await ask('PATCH', 'contexts/a', { body: increment, headers: key('k2') })
  expect([again.status, again.headers.get('idempotent-replayed'), again.headers.get('etag')]).toEqual([
    200,
    'true',
    patched.headers.get('etag'),
  ])
  expect(again.body).toEqual(patched.body)
  const created = await ask('PUT', 'contexts/a', { body: { n: 1 }, headers: key('k1') })
  expect([created.status, created.body]).toEqual([201, first.body])
  expect(await contexts.get('a')).toMatchObject({ version: 3, state: { n: 2, later: true } })
})

test('P7: the same key with another body, method, condition or path of the context is refused', async () => {
  const { ask, contexts } = await started()
  await ask('PUT', 'contexts/a', { body: { n: 1 }, headers: key('k') })
  for (const [method, path, body, headers] of [
    ['PUT', 'contexts/a', { n: 2 }, {}],
    ['DELETE', 'contexts/a', undefined, {}],
    ['PUT', 'contexts/a?ifVersion=1', { n: 1 }, {}],
    ['PUT', 'contexts/a', { n: 1 }, { 'if-match': '*' }],
    ['PATCH', 'contexts/a', { n: 1 }, { 'content-type': 'application/merge-patch+json' }],
  ] as const) {
    expect(await ask(method, path, { body, headers: { ...headers, ...key('k') } })).toMatchObject({
      status: 422,
      body: { code: 'invalid_message' },
    })
  }
  expect(await contexts.get('a')).toMatchObject({ version: 1 })
  // A key is one context's own.
  expect(await ask('PUT', 'contexts/b', { body: { n: 2 }, headers: key('k') })).toMatchObject({ status: 201 })
})

test('P7: many at once with one key are one write, whichever node they come to', async () => {
  const backend = kept()
  const { ask, contexts } = await started({}, { backend })
  await contexts.set('a', { n: 0 })
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1)
  expect(await contexts.get('a')).toMatchObject({ version: 2, state: { n: 1 } })

  // Another node on the same store.
  const other = asker((await served({}, { backend })).url)
  expect((await other('PATCH', 'contexts/a', { body: increment, headers: key('k') })).headers.get('idempotent-replayed')).toBe('true')
  expect(await contexts.get('a')).toMatchObject({ version: 2 })
})

test('P7: a refusal is told again, also when it would pass now', async () => {
  const { ask, contexts } = await started()
  await contexts.set('a', { n: 1 })
  const refused = await ask('PUT', 'contexts/a?ifVersion=2', { body: { n: 2 }, headers: key('k') })
  expect(refused.status).toBe(412)
  await contexts.set('a', { n: 3 })
  expect(await ask('PUT', 'contexts/a?ifVersion=2', { body: { n: 2 }, headers: key('k') })).toMatchObject({
    status: 412,
    body: { code: 'conflict' },
  })
  expect(await contexts.get('a')).toMatchObject({ version: 2, state: { n: 3 } })
})

test('P7: a delete is one too, and what was created since is not deleted again', async () => {
  const { ask, contexts } = await started()
  await contexts.set('a', { n: 1 })
  expect((await ask('DELETE', 'contexts/a', { headers: key('k') })).headers.get('idempotent-replayed')).toBe(null)
  await contexts.set('a', { n: 2 })
  const again = await ask('DELETE', 'contexts/a', { headers: key('k') })
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([204, 'true'])
  expect(await contexts.get('a')).toMatchObject({ state: { n: 2 } })
})

test('P7: when the log no longer has the version, the context is told as it is, with an empty delta', async () => {
  const { ask, contexts } = await started({}, { deltaThreshold: 2 })
  await contexts.set('a', { n: 0 })
  await ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })
  for (let n = 1; n <= 12; n += 1) await contexts.update('a', { m: n })
  expect(await ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })).toMatchObject({
    status: 200,
    body: { context: { version: 14, state: { n: 1, m: 12 } }, delta: { baseVersion: 14, version: 14, changes: [] } },
  })
  await contexts.delete('a')
  expect(await ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })).toMatchObject({
    status: 404,
    body: { code: 'not_found' },
  })
})

test('P7: a key is one user’s own', async () => {
  const { url, contexts } = await started({ authenticate: ({ auth }) => ({ id: auth.token! }) })
  const [ada, bob] = ['ada', 'bob'].map((token) => asker(url, { authorization: `Bearer ${token}` })) as [
    ReturnType<typeof asker>,
    ReturnType<typeof asker>,
  ]
  await contexts.set('a', { n: 0 })
  for (const ask of [ada, bob, ada]) await ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })
  expect(await contexts.get('a')).toMatchObject({ state: { n: 2 } })
})

test('P7: a key is kept over a restart of the server, and forgotten after sessionTtlMs and a day', async () => {
  let now = 1_000_000
  const backend = kept()
  const clock = { now: () => now }
  const first = await started({}, { backend, clock, sessionTtlMs: 1_000 })
  await first.contexts.set('a', { n: 0 })
  await first.ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })
  await first.server.close()
  const { ask, contexts } = await started({}, { backend, clock, sessionTtlMs: 1_000 })
  expect((await ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })).headers.get('idempotent-replayed')).toBe('true')
  now += 86_400_000 + 1_001
  await contexts.update('a', { later: true })
  expect((await ask('PATCH', 'contexts/a', { body: increment, headers: key('k') })).headers.get('idempotent-replayed')).toBe(null)
  expect(await contexts.get('a')).toMatchObject({ state: { n: 2 } })
})

test.each(['', 'a b', 'x'.repeat(256)])('%j is no key', async (name) => {
  const { ask, contexts } = await started()
  expect(await ask('PUT', 'contexts/a', { body: {}, headers: key(name) })).toMatchObject({ status: 400, body: { code: 'invalid_message' } })
  expect(await contexts.get('a')).toBe(null)
})
