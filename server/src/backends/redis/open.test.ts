import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { inspect } from 'node:util'
import { ContextdError } from '@contextd/protocol'
import { expect, onTestFinished, test } from 'vitest'
import { opened, redisFor } from '../../../support/redis-store.ts'
import { contextId, store } from '../../testing/contract/kit.ts'
import { redisBackend } from './redis.ts'
import type { RedisBackendOptions } from './redis.ts'

/** What `open()` says of a Redis that cannot be used. */
async function refusal(options: string | RedisBackendOptions): Promise<string> {
  const backend = redisBackend(options)
  onTestFinished(() => backend.close())
  const error: unknown = await backend.open().then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ContextdError)
  const { code, message } = error as ContextdError
  expect(code).toBe('backend_unavailable')
  expect(message).toMatch(/^[^\n]{20,250}\.$/)
  expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/sesame|guessed/)
  return message
}

/** A server on the loopback that is not what one looks for: answers each chunk by what `reply` makes of it. */
async function standIn(reply: (text: string, socket: Socket) => string): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => socket.write(reply(chunk.toString(), socket)))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`
const oldHello = `%7\r\n${bulk('server')}${bulk('redis')}${bulk('version')}${bulk('6.2.14')}${bulk('proto')}:3\r\n${bulk('id')}:7\r\n${bulk('mode')}${bulk('standalone')}${bulk('role')}${bulk('master')}${bulk('modules')}*0\r\n`

/** A stand-in's answers, by the name of a command. */
const answering =
  (replies: Readonly<Record<string, string>>) =>
  (text: string): string =>
    [...text.matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g)]
      .map(([, name]) => replies[name!.toLowerCase()] ?? '-ERR unknown command\r\n')
      .join('')

test('a wrong and a missing password are told apart, and none is repeated; one that is not needed is taken', async () => {
  const { server } = await redisFor({ password: 'sesame-1234' })
  const address = `Redis at 127.0.0.1:${server.port}`
  expect(await refusal(`redis://:guessed-1@127.0.0.1:${server.port}`)).toBe(
    `${address} refuses the user or password. Check them in its URL.`,
  )
  expect(await refusal(`redis://ada:guessed-1@127.0.0.1:${server.port}`)).toContain('refuses the user or password')
  expect(await refusal(`redis://127.0.0.1:${server.port}`)).toContain('asks for a password')
  await opened(server.url)
  const { server: without } = await redisFor()
  await opened(without.url.replace('//', '//:sesame@'))
})

test('a Redis that is not there is told by its address and the reason', async () => {
  expect(await refusal('redis://:sesame@127.0.0.1:1')).toBe(
    'Redis at 127.0.0.1:1 cannot be reached (ECONNREFUSED). Check that it is running, and its address.',
  )
  expect(await refusal('redis://:sesame@no-such-host.invalid')).toMatch(/no-such-host\.invalid:6379 cannot be (found|reached)/)
})

test('a server older than version 7 is refused with its version', async () => {
  const url = await standIn(answering({ hello: oldHello, info: bulk('# Server\r\nredis_version:6.2.14\r\nloading:0\r\n') }))
  expect(await refusal(url)).toMatch(/is version 6\.2\.14; version 7 or newer of Redis or Valkey is needed\.$/)
})

test('a server too old to greet is refused, and the password in its complaint is not repeated', async () => {
  const hello = '-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `sesame`\r\n'
  const url = await standIn(answering({ hello, auth: '+OK\r\n', info: bulk('redis_version:5.0.14\r\nloading:0\r\n') }))
  expect(await refusal(url.replace('//', '//:sesame@'))).toMatch(/is an old version; version 7 or newer/)
})

test('a Redis that is still loading is waited for', async () => {
  let asked = 0
  const loading = (): string => bulk(`redis_version:6.2.14\r\nloading:${(asked += 1) < 3 ? 1 : 0}\r\nloading_eta_seconds:1\r\n`)
  const url = await standIn((text) => answering({ hello: oldHello, info: loading() })(text))
  expect(await refusal(url)).toContain('is version 6.2.14')
  expect(asked).toBeGreaterThanOrEqual(3)
})

test('something that is no Redis is told as unreachable, not waited for', async () => {
  expect(await refusal(await standIn(() => 'HTTP/1.1 400 Bad Request\r\n\r\n'))).toContain('cannot be reached')
  expect(await refusal(await standIn((_text, socket) => (socket.end(), '')))).toContain('cannot be reached')
})

test('a server that never answers is given up', async () => {
  expect(await refusal(await standIn(() => ''))).toContain('cannot be reached')
}, 20_000)

test('keys of another program, or of another layout, are not touched', async () => {
  const { server, admin } = await redisFor()
  for (const foreign of ['1', '{"app":"contextd","schema":2}']) {
    await admin.set('contextd:schema', foreign)
    expect(await refusal(server.url)).toMatch(
      /belong to another program or another version of this one\. Choose another prefix or database\.$/,
    )
  }
  await admin.del('contextd:schema')
  await admin.lpush('contextd:schema', 'x')
  expect(await refusal(server.url)).toContain('belong to another program')
  expect(await admin.keys('*')).toEqual(['contextd:schema'])
  await opened({ url: server.url, prefix: 'other' })
})

test('a replica is refused', async () => {
  const { server, admin } = await redisFor()
  await admin.call('REPLICAOF', '127.0.0.1', '1')
  expect(await refusal(server.url)).toContain('is a replica, which takes no writes. Name its primary.')
})

test('a Redis that drops any keys when it is full is refused; one that drops none, or only those that expire, is not', async () => {
  const { server, admin } = await redisFor({ settings: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' } })
  expect(await refusal(server.url)).toMatch(/maxmemory-policy allkeys-lru.*noeviction\.$/)
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  await opened(server.url)
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await admin.config('SET', 'maxmemory', '0')
  await opened(server.url)
})

test('a user who may not do all that is needed is refused, with what is missing', async () => {
  const { server, admin } = await redisFor()
  const url = `redis://ada:sesame@127.0.0.1:${server.port}`
  await admin.call('ACL', 'SETUSER', 'ada', 'on', '>sesame', '~contextd:*', '&contextd#*', '+@all', '-spublish', '-zadd')
  expect(await refusal(url)).toMatch(/does not allow its user ZADD, SPUBLISH on keys and channels that begin with "contextd"/)
  await admin.call('ACL', 'SETUSER', 'ada', '+spublish', '+zadd', 'resetchannels')
  expect(await refusal(url)).toMatch(/SPUBLISH, SSUBSCRIBE/)
  await admin.call('ACL', 'SETUSER', 'ada', '&contextd#*')
  expect(await refusal({ url, prefix: 'elsewhere' })).toContain('begin with "elsewhere"')
  const backend = await opened(url)
  await store(backend)
  await admin.call('ACL', 'SETUSER', 'ada', '-@scripting')
  expect(await refusal(url)).toContain('does not allow its user what is needed')
})

test('opening can be tried again', async () => {
  const { server } = await redisFor()
  await server.kill()
  const backend = redisBackend(server.url)
  onTestFinished(() => backend.close())
  for (let attempt = 0; attempt < 3; attempt += 1) await expect(backend.open()).rejects.toMatchObject({ code: 'backend_unavailable' })
  await server.restart()
  await Promise.all([backend.open(), backend.open()])
  await store(backend)
})

test('databases and prefixes keep contexts apart', async () => {
  const { server } = await redisFor()
  const backends = [
    await opened(server.url),
    await opened({ url: `${server.url}/1` }),
    await opened({ url: server.url, prefix: 'other' }),
    await opened({ url: server.url, prefix: 'third', redisOptions: { db: 1 } }),
  ]
  const heads = []
  for (const backend of backends) heads.push((await store(backend)).head)
  for (const [index, backend] of backends.entries()) expect(await backend.heads([contextId])).toEqual([heads[index]])
})

test('a malformed URL or prefix is a mistake of the program, and is not repeated', () => {
  const urls = [
    '',
    'localhost:6379',
    'http://localhost',
    'redis://:sesame@host:99999',
    'redis://:sesame@host/x',
    'redis://h/0?sesame=1',
    'redis://:ses%zz@h',
  ]
  for (const url of urls) {
    expect(() => redisBackend(url)).toThrow(TypeError)
    expect(() => redisBackend(url)).not.toThrow(/sesame|99999/)
  }
  for (const prefix of ['', 'a b', '{a}', 'a#b', ':a', 'a*']) expect(() => redisBackend({ prefix })).toThrow(TypeError)
  expect(() => redisBackend({ url: 7 as never })).toThrow(TypeError)
})
