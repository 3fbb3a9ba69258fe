import { expect, test } from 'vitest'
import { asker } from '../../support/http.ts'
import { served } from '../../support/served.ts'
import type { Action } from '../authorize.ts'
import { memoryBackend } from '../backends/memory.ts'

async function started(...options: Parameters<typeof served>) {
  const server = await served(...options)
  return { ...server, ask: asker(server.url) }
}

test('P13: a context goes out with its records, and comes back with them: a key given before is known after', async () => {
  const here = await started()
  const key = { 'idempotency-key': 'k' }
  await here.ask('PUT', 'contexts/a', { body: { n: 1 }, headers: key })
  const { status, headers, body } = await here.ask('GET', 'contexts/a/export')
  const { context } = (await here.ask('PUT', 'contexts/a', { body: { n: 1 }, headers: key })).body as { context: { incarnation: string } }
  expect([status, body]).toMatchObject([200, { contextId: 'a', version: 1, state: { n: 1 }, incarnation: context.incarnation }])
  expect(headers.get('etag')).toMatch(/^"1-/)

  const there = await started()
  const restored = await there.ask('POST', 'contexts/a/restore', { body })
  expect(restored).toMatchObject({ status: 200, body: { contextId: 'a', version: 1, state: { n: 1 }, incarnation: context.incarnation } })
  expect(restored.headers.get('etag')).toBe(`"1-${(restored.body as { revision: string }).revision}"`)
  const again = await there.ask('PUT', 'contexts/a', { body: { n: 1 }, headers: key })
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([200, 'true'])
  expect(await there.contexts.get('a')).toMatchObject({ version: 1 })
})

test('a restore takes the place of what is there, and who has it open sees it at once', async () => {
  const { ask, contexts, connect } = await started()
  await contexts.set('a', { n: 1 })
  const { body } = await ask('GET', 'contexts/a/export')
  await contexts.set('a', { n: 2 })
  const session = await (await connect()).attach()
  await session.sync('a')
  expect((await ask('POST', 'contexts/a/restore', { body })).status).toBe(200)
  expect((await session.client.next('h'))[0]).toBe('a')
  expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
})

test('without a body the archive of the server is asked', async () => {
  const archive = memoryBackend()
  const { ask, contexts } = await started({}, { archive })
  expect(await ask('POST', 'contexts/a/restore')).toMatchObject({ status: 404, body: { code: 'not_found' } })
  await contexts.set('a', { n: 1 })
  await contexts.export('a')
  await contexts.set('a', { n: 2 })
  expect(await ask('POST', 'contexts/a/restore')).toMatchObject({ status: 200, body: { state: { n: 1 } } })
  const { ask: bare } = await started()
  expect(await bare('POST', 'contexts/a/restore')).toMatchObject({ status: 422, body: { code: 'invalid_operation' } })
})

test.each([
  ['null', 422, 'invalid_state'],
  ['[]', 422, 'invalid_state'],
  ['{}', 422, 'invalid_state'],
  ['{"version":0,"state":{}}', 422, 'invalid_state'],
  ['{"version":1,"state":[]}', 422, 'invalid_state'],
  ['{"version":1,"state":{"__proto__":1}}', 422, 'invalid_state'],
  ['{"version":1,"state":{},"contextId":"b"}', 422, 'invalid_state'],
  ['{"version":1,"state":{},"streams":7}', 422, 'invalid_state'],
  ['{"version":', 400, 'invalid_message'],
  ['['.repeat(100_000), 422, 'invalid_operation'],
])('what is no exported context is refused, and nothing is lost: %s', async (body, status, code) => {
  const { ask, contexts } = await started()
  await contexts.set('a', { n: 1 })
  expect(await ask('POST', 'contexts/a/restore', { body })).toMatchObject({ status, body: { code } })
  expect(await ask('POST', 'contexts/a/restore', { body, headers: { 'content-type': 'text/plain' } })).toMatchObject({ status: 415 })
  expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
})

test('who exports must read, who restores must write, create and delete, who cleans up must delete everything', async () => {
  const all: Action[] = ['read', 'write', 'create', 'delete', 'list']
  for (const [method, path, needs] of [
    ['GET', 'contexts/a/export', ['read']],
    ['POST', 'contexts/a/restore', ['write', 'create', 'delete']],
    ['POST', 'cleanup', ['delete']],
  ] as const) {
    for (const missing of needs) {
      const asked: string[] = []
      const { ask, contexts } = await started({
        authorize: ({ contextId, action }) => {
          asked.push(contextId)
          return all.includes(action) && action !== missing
        },
      })
      await contexts.set('a', { n: 1 })
      expect(await ask(method, path)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
      expect(new Set(asked)).toEqual(new Set([path === 'cleanup' ? '' : 'a']))
    }
  }
})

test('a cleanup expires and prunes, at most so many, and says how much', async () => {
  let now = 1_000_000
  const { ask, contexts } = await started({}, { clock: { now: () => now }, contextTtlMs: 1_000, autoDelete: true })
  for (const id of ['a', 'b', 'c']) await contexts.set(id, { n: 1 })
  expect((await ask('POST', 'cleanup')).body).toEqual({ contexts: 0, deltas: 0 })
  now += 1_001
  expect((await ask('POST', 'cleanup?limit=2')).body).toMatchObject({ contexts: 2 })
  expect((await ask('POST', 'cleanup')).body).toMatchObject({ contexts: 1 })
  expect(await contexts.list()).toEqual([])
  expect(await ask('POST', 'cleanup?limit=0')).toMatchObject({ status: 400 })
  expect(await ask('GET', 'cleanup')).toMatchObject({ status: 405 })
  expect(await ask('GET', 'contexts/a/export')).toMatchObject({ status: 404 })
})
