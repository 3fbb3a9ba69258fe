import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { served } from '../../support/served.ts'
import { memoryBackend } from '../backends/memory.ts'
import { ContextdError } from '@contextd/protocol'

/** The bundle as the build leaves it; a test that runs without a build writes one. */
function built(): void {
  const file = new URL('../../dist/browser/contextd.js', import.meta.url)
  if (existsSync(file)) return
  mkdirSync(new URL('.', file), { recursive: true })
  writeFileSync(file, 'export const createClient = () => {}\n')
  onTestFinished(() => rmSync(file))
}

test('the browser build of the client is a module that pages of any origin may import', async () => {
  built()
  const { url } = await served()
  const response = await fetch(`${url}/contextd.js`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/javascript; charset=utf-8')
  expect(response.headers.get('cache-control')).toBe('no-cache')
  expect(response.headers.get('access-control-allow-origin')).toBe('*')
  expect(response.headers.get('x-content-type-options')).toBe('nosniff')
  expect(await response.text()).toContain('export')
})

test('a page that has the newest build is told so', async () => {
  built()
  const { url } = await served()
  const etag = (await fetch(`${url}/contextd.js`)).headers.get('etag')!
  expect(etag).toMatch(/^"[\w-]{22}"$/)
  for (const known of [etag, `W/${etag}`, `"old", ${etag}`]) {
    const again = await fetch(`${url}/contextd.js?v=1`, { headers: { 'if-none-match': known } })
    expect([again.status, await again.text()]).toEqual([304, ''])
  }
  expect((await fetch(`${url}/contextd.js`, { headers: { 'if-none-match': '"old"' } })).status).toBe(200)
})

test('it is alive, and ready as long as the store answers', async () => {
  const backend = memoryBackend()
  const { url } = await served({}, { backend })
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
  expect((await fetch(`${url}/readyz`)).status).toBe(200)
})

test('it is not ready when the store does not answer, and alive all the same', async () => {
  const backend = memoryBackend()
  backend.heads = () => Promise.reject(new ContextdError('backend_unavailable', 'away'))
  const { url } = await served({}, { backend })
  expect((await fetch(`${url}/readyz`)).status).toBe(503)
  expect((await fetch(`${url}/healthz`)).status).toBe(200)
})

test('only GET and HEAD, and nothing else is there', async () => {
  const { url } = await served()
  const head = await fetch(`${url}/healthz`, { method: 'HEAD' })
  expect([head.status, await head.text()]).toEqual([200, ''])
  const post = await fetch(`${url}/healthz`, { method: 'POST', body: 'x' })
  expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  for (const path of ['/', '/v1contexts', '/healthz/x', '/contextd.js/../x', '/__proto__', '/constructor']) {
    expect((await fetch(url + path)).status).toBe(404)
  }
})
