import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startDemo } from '../support/child.ts'
import type { ServerProcess } from '../support/child.ts'

let demo: ServerProcess
beforeAll(async () => {
  demo = await startDemo('memory:')
})
afterAll(async () => {
  await demo.stop()
})

interface Answer {
  status: number | undefined
  headers: NodeJS.Dict<string | string[]>
  body: string
}

/** Asks for a path as it is written: `fetch` and browsers would tidy it up. */
function ask(path: string, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(demo.url)
    const asking = request({ hostname, port, path, method }, (answer) => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (chunk: string) => (body += chunk))
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body }))
    })
    asking.on('error', reject)
    asking.end()
  })
}

test.each(['/', '/board/?board=team', '/vanilla/'])('%s is a page that may load nothing from elsewhere', async (path) => {
  const { status, headers, body } = await ask(path)
  expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
  expect(body).toContain('<!doctype html>')
  expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'/)
  expect(headers['content-security-policy']).not.toContain('unsafe')
})

test('the client, the state of the server and the files of the board are at the same address', async () => {
  const board = await ask('/board/')
  const script = /src="\.(\/assets\/[^"]+\.js)"/.exec(board.body)?.[1] ?? 'no script'
  const answers = await Promise.all([ask('/contextd.js'), ask('/healthz'), ask('/inter.woff2'), ask(`/board${script}`)])
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  expect(answers[3]?.headers['cache-control']).toContain('immutable')
})

test('a folder without its slash leads to the one with it', async () => {
  const { status, headers } = await ask('/board?board=team')
  expect([status, headers.location]).toEqual([308, '/board/?board=team'])
})

test.each([
  '/../package.json',
  '/../demo.mjs',
  '/..%2fdemo.mjs',
  '/%2e%2e/demo.mjs',
  '/board/../../../package.json',
  '/board/..%2f..%2f..%2fREADME.md',
  '/board/..%5c..%5cvite.config.ts',
  '/vanilla/package.json',
  '/vanilla/../demo/demo.mjs',
  '/board/.hidden.js',
  '/inter.woff2/../../package.json',
  '//etc/passwd',
  '/nowhere',
  '/%00',
  '/%',
])('%s gives nothing', async (path) => {
  expect([400, 404]).toContain((await ask(path)).status)
})

test('only GET and HEAD are answered', async () => {
  expect((await ask('/', 'POST')).status).toBe(405)
  const head = await ask('/', 'HEAD')
  expect([head.status, head.body]).toEqual([200, ''])
})
