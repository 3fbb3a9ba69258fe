import { request } from 'node:http'
import { defineContext } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { asker } from '../../support/http.ts'
import { served } from '../../support/served.ts'
import { setTo } from '../../support/wire-client.ts'

async function started(...options: Parameters<typeof served>) {
  const server = await served(...options)
  return { ...server, ask: asker(server.url) }
}
const merge = { 'content-type': 'application/merge-patch+json' }
const jsonPatch = { 'content-type': 'application/json-patch+json' }

test('PUT creates, replaces the whole, and changes nothing twice', async () => {
  const { ask, contexts } = await started()
  const created = await ask('PUT', 'contexts/a', { body: { n: 1, old: true } })
  expect(created).toMatchObject({
    status: 201,
    body: {
      context: { contextId: 'a', version: 1, state: { n: 1, old: true }, updatedBy: { userId: null, actor: 'http' } },
      delta: { baseVersion: 0, version: 1, author: { userId: null, actor: 'http' } },
    },
  })
  const { context } = created.body as { context: { version: number; revision: string } }
  expect(created.headers.get('etag')).toBe(`"1-${context.revision}"`)
  expect(await contexts.get('a')).toEqual(context)

  const replaced = await ask('PUT', 'contexts/a', { body: { n: 2 } })
  expect(replaced).toMatchObject({ status: 200, body: { context: { version: 2, state: { n: 2 } }, delta: { baseVersion: 1, version: 2 } } })
  const same = await ask('PUT', 'contexts/a', { body: { n: 2 } })
  expect(same).toMatchObject({ status: 200, body: { context: { version: 2 }, delta: { baseVersion: 2, version: 2, changes: [] } } })
  expect(same.headers.get('etag')).toBe(replaced.headers.get('etag'))
  expect(await ask('PUT', 'contexts/empty', { body: {} })).toMatchObject({ status: 201, body: { context: { version: 1, state: {} } } })
})

test('PATCH with a merge patch merges deeply, and null removes', async () => {
  const { ask } = await started()
  await ask('PUT', 'contexts/a', { body: { meta: { theme: 'light', size: 1 }, tags: ['x'] } })
  expect(await ask('PATCH', 'contexts/a', { headers: merge, body: { meta: { theme: 'dark', size: null }, tags: ['y'] } })).toMatchObject({
    status: 200,
    body: {
      context: { version: 2, state: { meta: { theme: 'dark' }, tags: ['y'] } },
      delta: { changes: expect.arrayContaining([{ path: ['meta', 'size'], action: 'removed', oldValue: 1 }]) },
    },
  })
  expect(await ask('PATCH', 'contexts/absent', { headers: merge, body: { n: 1 } })).toMatchObject({
    status: 404,
    body: { code: 'not_found', contextId: 'absent' },
  })
})

test('PATCH with a JSON Patch applies all of it or nothing', async () => {
  const { ask, contexts } = await started()
  await ask('PUT', 'contexts/a', { body: { items: [1, 2], n: 1 } })
  const patch = [
    { op: 'test', path: '/n', value: 1 },
    { op: 'add', path: '/items/-', value: 3 },
    { op: 'remove', path: '/items/0' },
    { op: 'move', from: '/n', path: '/m' },
  ]
  expect(await ask('PATCH', 'contexts/a', { headers: jsonPatch, body: patch })).toMatchObject({
    status: 200,
    body: { context: { version: 2, state: { items: [2, 3], m: 1 } } },
  })
  const failed = await ask('PATCH', 'contexts/a', {
    headers: jsonPatch,
    body: [
      { op: 'add', path: '/x', value: 1 },
      { op: 'test', path: '/m', value: 2 },
    ],
  })
  expect(failed).toMatchObject({ status: 409, body: { code: 'conflict' } })
  expect(await contexts.get('a')).toMatchObject({ version: 2, state: { items: [2, 3], m: 1 } })
  expect(await ask('PATCH', 'contexts/absent', { headers: jsonPatch, body: [] })).toMatchObject({ status: 404 })
})

test('PATCH with operations, with a patch, and with what creates it', async () => {
  const { ask } = await started()
  const increment = { type: 'increment', path: ['n'], by: 2 }
  expect(await ask('PATCH', 'contexts/a', { body: { operations: [increment] } })).toMatchObject({ status: 404 })
  expect(await ask('PATCH', 'contexts/a', { body: { operations: [increment], initial: { n: 40 } } })).toMatchObject({
    status: 201,
    body: { context: { version: 1, state: { n: 42 } } },
  })
  expect(await ask('PATCH', 'contexts/a', { body: { patch: { m: 1 }, initial: { n: 0 } } })).toMatchObject({
    status: 200,
    body: { context: { version: 2, state: { n: 42, m: 1 } } },
  })
})

test('what a definition begins as is what a patch creates, and its schema refuses', async () => {
  const poll = defineContext('poll:*', { state: z.object({ votes: z.number() }), initial: { votes: 0 } })
  const { ask } = await started({}, { contexts: [poll] })
  expect(await ask('PATCH', 'contexts/poll:1', { headers: merge, body: { votes: 1 } })).toMatchObject({ status: 201 })
  expect(await ask('PATCH', 'contexts/poll:2', { headers: jsonPatch, body: [{ op: 'replace', path: '/votes', value: 3 }] })).toMatchObject({
    status: 201,
    body: { context: { state: { votes: 3 } } },
  })
  expect(await ask('PUT', 'contexts/poll:1', { body: { votes: 'many' } })).toMatchObject({
    status: 422,
    body: { code: 'invalid_state', details: { issues: [{ path: ['votes'] }] } },
  })
})

test('DELETE deletes, and what is absent is deleted already', async () => {
  const { ask, contexts } = await started()
  await contexts.set('a', { n: 1 })
  for (let times = 1; times <= 2; times += 1) {
    const { status, body } = await ask('DELETE', 'contexts/a')
    expect([status, body]).toEqual([204, ''])
  }
  expect(await contexts.get('a')).toBe(null)
})

test('If-Match writes on this version only, and If-None-Match: * only what is not there', async () => {
  const { ask, contexts } = await started()
  const first = await ask('PUT', 'contexts/a', { body: { n: 1 }, headers: { 'if-none-match': '*' } })
  expect(first.status).toBe(201)
  expect(await ask('PUT', 'contexts/a', { body: { n: 2 }, headers: { 'if-none-match': '*' } })).toMatchObject({
    status: 412,
    body: { code: 'conflict', status: 412, contextId: 'a' },
  })
  const etag = first.headers.get('etag')!
  const second = await ask('PATCH', 'contexts/a', { body: { n: 2 }, headers: { ...merge, 'if-match': `W/${etag}` } })
  expect(second.status).toBe(200)
  for (const [method, body] of [
    ['PUT', { n: 3 }],
    ['PATCH', { patch: { n: 3 } }],
    ['DELETE', undefined],
  ] as const) {
    expect(await ask(method, 'contexts/a', { body, headers: { 'if-match': etag } })).toMatchObject({
      status: 412,
      body: { code: 'conflict' },
    })
    expect(await ask(method, 'contexts/a?ifVersion=1', { body })).toMatchObject({ status: 412 })
    expect(await ask(method, 'contexts/a?ifRevision=other', { body })).toMatchObject({ status: 412 })
    expect(await ask(method, 'contexts/absent', { body, headers: { 'if-match': '*' } })).toMatchObject({
      status: 412,
      body: { code: 'conflict' },
    })
  }
  // A test that fails is not the precondition that does.
  const tests = { operations: [{ type: 'test', path: ['n'], value: 9 }] }
  expect(await ask('PATCH', 'contexts/a?ifVersion=2', { body: tests })).toMatchObject({ status: 409, body: { code: 'conflict' } })
  expect(await contexts.get('a')).toMatchObject({ version: 2 })
  expect(await contexts.get('absent')).toBe(null)
  expect(await ask('PUT', 'contexts/a?ifVersion=2', { body: { n: 3 }, headers: { 'if-match': '*' } })).toMatchObject({ status: 200 })
  expect(await ask('DELETE', 'contexts/a?ifVersion=3')).toMatchObject({ status: 204 })
})

test.each([
  [{ 'if-match': 'x' }, ''],
  [{ 'if-match': '"1-a", "2-b"' }, ''],
  [{ 'if-match': '' }, ''],
  [{ 'if-none-match': '"1-a"' }, ''],
  [{ 'if-none-match': '*', 'if-match': '"1-a"' }, ''],
  [{ 'if-match': '"1-a"' }, '?ifVersion=2'],
  [{ 'if-match': '"1-a"' }, '?ifRevision=b'],
  [{}, '?ifVersion=x'],
  [{}, '?ifVersion=1&ifVersion=2'],
  [{}, '?lock=a'],
  [{}, '?lockToken=1'],
  [{}, '?lock=a&lockToken=x'],
])('the conditions %j%s are refused, and nothing is written', async (headers, query) => {
  const { ask, contexts } = await started()
  expect(await ask('PUT', `contexts/a${query}`, { body: {}, headers: headers as { [name: string]: string } })).toMatchObject({
    status: 400,
    body: { code: 'invalid_message' },
  })
  expect(await contexts.get('a')).toBe(null)
})

test('a write with a lock that is not held is refused', async () => {
  const { ask, contexts } = await started()
  await contexts.set('a', { n: 1 })
  expect(await ask('PUT', 'contexts/a?lock=stock&lockToken=7', { body: { n: 2 } })).toMatchObject({
    status: 423,
    body: { code: 'locked', details: { key: 'stock' } },
  })
  expect(await ask('PUT', 'contexts/a?lock=*&lockToken=7', { body: { n: 2 } })).toMatchObject({ status: 422 })
  expect(await contexts.get('a')).toMatchObject({ version: 1 })
})

test.each([
  ['PUT', 'application/json', '', 400, 'invalid_message'],
  ['PUT', 'application/json', '{"n":', 400, 'invalid_message'],
  ['PUT', 'application/json', '[]', 422, 'invalid_state'],
  ['PUT', 'application/json', 'null', 422, 'invalid_state'],
  ['PUT', 'application/json', '"text"', 422, 'invalid_state'],
  ['PUT', 'application/json', '{"__proto__":{"a":1}}', 422, 'invalid_operation'],
  ['PUT', 'application/json', String.raw`{"n":"\ud800"}`, 422, 'invalid_operation'],
  ['PUT', 'text/plain', '{}', 415, 'invalid_message'],
  ['PUT', 'application/merge-patch+json', '{}', 415, 'invalid_message'],
  ['PATCH', 'application/merge-patch+json', '[]', 400, 'invalid_message'],
  ['PATCH', 'application/merge-patch+json', 'null', 400, 'invalid_message'],
  ['PATCH', 'application/merge-patch+json', '{"constructor":1}', 422, 'invalid_operation'],
  ['PATCH', 'application/json-patch+json', '{}', 400, 'invalid_message'],
  ['PATCH', 'application/json-patch+json', '[{"op":"dance","path":"/n"}]', 422, 'invalid_operation'],
  ['PATCH', 'application/json-patch+json', '[{"op":"add","path":"n","value":1}]', 422, 'invalid_operation'],
  ['PATCH', 'application/json-patch+json', '[{"op":"add","path":"/__proto__/x","value":1}]', 422, 'invalid_operation'],
  ['PATCH', 'application/json-patch+json', '[null]', 422, 'invalid_operation'],
  ['PATCH', 'application/json', '{}', 400, 'invalid_message'],
  ['PATCH', 'application/json', '[]', 400, 'invalid_message'],
  ['PATCH', 'application/json', '{"operations":[],"patch":{}}', 400, 'invalid_message'],
  ['PATCH', 'application/json', '{"operations":[],"ifVersion":1}', 400, 'invalid_message'],
  ['PATCH', 'application/json', '{"operations":{}}', 422, 'invalid_operation'],
  ['PATCH', 'application/json', '{"patch":[]}', 400, 'invalid_message'],
  ['PATCH', 'application/json', '{"patch":{},"initial":[]}', 422, 'invalid_state'],
  ['PATCH', 'application/x-www-form-urlencoded', 'n=1', 415, 'invalid_message'],
])('%s of %s %s is %d %s, and nothing is written', async (method, type, body, status, code) => {
  const { ask, contexts } = await started()
  await contexts.set('a', { n: 1 })
  const answer = await ask(method, 'contexts/a', { headers: { 'content-type': type }, body })
  expect(answer).toMatchObject({ status, body: { code } })
  const named = status === 415 && method === 'PATCH' ? 'application/merge-patch+json, application/json-patch+json, application/json' : null
  expect(answer.headers.get('accept-patch')).toBe(named)
  expect(await contexts.get('a')).toMatchObject({ version: 1, state: { n: 1 } })
})

test('what is no UTF-8, or compressed, is not read', async () => {
  const { ask, contexts } = await started()
  const bytes = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])
  expect(await ask('PUT', 'contexts/a', { body: bytes })).toMatchObject({ status: 400, body: { code: 'invalid_message' } })
  expect(await ask('PUT', 'contexts/a', { body: {}, headers: { 'content-encoding': 'gzip' } })).toMatchObject({ status: 415 })
  expect(await contexts.get('a')).toBe(null)
})

const add = (n: number): object[] => Array.from({ length: n }, (_, index) => ({ op: 'add', path: `/k${index}`, value: 1 }))
const text = (bytes: number): string => `{"t":"${'x'.repeat(bytes - 8)}"}`
const nested = (depth: number): string => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`

test('limits: depth, operations, state and body, each at the limit and one above', async () => {
  const { ask } = await started({}, { limits: { depth: 4, operations: 2, stateBytes: 100, bodyBytes: 300 } })
  expect((await ask('PUT', 'contexts/a', { body: nested(4) })).status).toBe(201)
  expect(await ask('PUT', 'contexts/a', { body: nested(5) })).toMatchObject({ status: 422, body: { code: 'invalid_operation' } })

  expect((await ask('PATCH', 'contexts/a', { headers: jsonPatch, body: add(2) })).status).toBe(200)
  expect(await ask('PATCH', 'contexts/a', { headers: jsonPatch, body: add(3) })).toMatchObject({
    status: 422,
    body: { code: 'invalid_operation' },
  })
  const operations = [setTo('a', 1), setTo('b', 1), setTo('c', 1)]
  expect(await ask('PATCH', 'contexts/a', { body: { operations } })).toMatchObject({ status: 422, body: { code: 'invalid_operation' } })

  expect((await ask('PUT', 'contexts/b', { body: text(100) })).status).toBe(201)
  expect(await ask('PUT', 'contexts/b', { body: text(101) })).toMatchObject({ status: 413, body: { code: 'too_large' } })
  expect(await ask('PUT', 'contexts/b', { body: text(300) })).toMatchObject({
    status: 413,
    body: { detail: expect.stringContaining('stateBytes') },
  })
  const large = await ask('PUT', 'contexts/b', { body: text(301) })
  expect(large).toMatchObject({ status: 413, body: { code: 'too_large', detail: expect.stringContaining('bodyBytes') } })
  expect(large.headers.get('connection')).toBe('close')
})

test('a body whose length is not said is bounded as well', async () => {
  const { url } = await started({}, { limits: { bodyBytes: 1_000 } })
  const sent = request(`${url}/v1/contexts/a`, { method: 'PUT', headers: { 'content-type': 'application/json' } })
  const status = new Promise<number>((resolve, reject) => {
    sent.on('response', (response) => resolve(response.statusCode!))
    sent.on('error', reject)
  })
  for (let chunk = 0; chunk < 20; chunk += 1) sent.write(' '.repeat(100))
  expect(await status).toBe(413)
  sent.destroy()
})

test('a hundred thousand brackets are an answer, not a crash', async () => {
  const { ask } = await started()
  for (const body of ['['.repeat(100_000), '{"a":'.repeat(100_000)]) {
    for (const [method, type] of [
      ['PUT', 'application/json'],
      ['PATCH', 'application/json-patch+json'],
      ['PATCH', 'application/merge-patch+json'],
    ] as const) {
      expect(await ask(method, 'contexts/a', { headers: { 'content-type': type }, body })).toMatchObject({
        status: 422,
        body: { code: 'invalid_operation' },
      })
    }
  }
})

test('writers at once are put in one order, and none is lost', async () => {
  const { ask } = await started()
  await ask('PUT', 'contexts/a', { body: { n: 0 } })
  const body = { operations: [{ type: 'increment', path: ['n'], by: 1 }] }
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask('PATCH', 'contexts/a', { body })))
  const versions = answers.map(({ body: answer }) => (answer as { context: { version: number } }).context.version)
  expect(new Set(versions).size).toBe(50)
  expect((await ask('GET', 'contexts/a')).body).toMatchObject({ version: 51, state: { n: 50 } })
})

test('a page that has the context open sees at once what is written over HTTP', async () => {
  const { ask, connect } = await started()
  await ask('PUT', 'contexts/a', { body: { n: 1 } })
  const session = await (await connect()).attach()
  await session.sync('a')
  await ask('PATCH', 'contexts/a', { headers: merge, body: { n: 2 } })
  expect((await session.client.next('d'))[0]).toBe('a')
})
