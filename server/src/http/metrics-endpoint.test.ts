import { request } from 'node:http'
import { networkInterfaces } from 'node:os'
import { expect, onTestFinished, test } from 'vitest'
import { served } from '../../support/served.ts'
import { createContexts } from '../contexts/contexts.ts'
import { createServer } from '../server.ts'

/** Asks for the metrics, under whatever name; the status. */
const ask = (url: string, headers: { readonly [name: string]: string } = {}, method = 'GET'): Promise<number> =>
  new Promise((resolve, reject) => {
    request(`${url}/metrics`, { method, headers }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
      .on('error', reject)
      .end()
  })

test('by default they are for who asks on this machine, not for who comes by a proxy or under a name of somebody else', async () => {
  const { url } = await served()
  expect([await ask(url), await ask(url, { host: 'localhost:1' }), await ask(url, {}, 'HEAD')]).toEqual([200, 200, 200])
  expect(await ask(url, { host: 'app.example' })).toBe(403)
  expect(await ask(url, { 'x-forwarded-for': '203.0.113.7' })).toBe(403)
  expect(await ask(url, { forwarded: 'for=203.0.113.7' })).toBe(403)
  expect(await ask(url, {}, 'POST')).toBe(405)
})

test('by default what does not come over the loopback is refused: also this machine, by another address of it', async () => {
  const contexts = createContexts()
  const server = createServer({ contexts, anonymous: true })
  onTestFinished(async () => {
    await server.close({ drainMs: 0 })
    await contexts.close()
  })
  await server.listen({ port: 0, host: '0.0.0.0' })
  const { port } = new URL(server.url!)
  expect(await ask(`http://127.0.0.1:${port}`)).toBe(200)
  const others = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
  expect(await Promise.all(others.map(({ address }) => ask(`http://${address}:${port}`)))).toEqual(others.map(() => 403))
})

test('with a token they are for who has it, from anywhere, and for nobody else', async () => {
  const { url } = await served({ metrics: { token: 'a-token-for-metrics' } })
  const forwarded = { host: 'app.example', 'x-forwarded-for': '203.0.113.7' }
  expect(await ask(url, { ...forwarded, authorization: 'Bearer a-token-for-metrics' })).toBe(200)
  for (const authorization of ['', 'Bearer', 'Bearer a-token-for-metric', 'Bearer a-token-for-metrics2', 'Basic a-token-for-metrics']) {
    expect(await ask(url, authorization === '' ? {} : { authorization })).toBe(401)
  }
})

test('they are for everybody where that is said', async () => {
  const { url } = await served({ metrics: true })
  expect(await ask(url, { host: 'app.example', 'x-forwarded-for': '203.0.113.7' })).toBe(200)
})

test.each([['yes'], [1], [null], [{}], [{ token: 5 }], [{ token: 'short' }], [{ token: 'a token with spaces in it' }]])(
  '%j says nothing about who may read them',
  (metrics) => {
    expect(() => createServer({ contexts: createContexts(), metrics } as never)).toThrow(TypeError)
  },
)
