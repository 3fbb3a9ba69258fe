import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { opened, redisFor, refusalOf } from '../../../support/redis-store.ts'
import { contextId, store } from '../../testing/contract/kit.ts'
import type { StoreUser } from '../backend.ts'
import { redisAclRules, redisBackend } from './redis.ts'

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

test('F43: a wrong and a missing password are told apart, and none is repeated; one that is not needed is taken', async () => {
  const { server } = await redisFor({ password: 'sesame-1234' })
  const address = `Redis at 127.0.0.1:${server.port}`
  expect(await refusalOf(`redis://:guessed-1@127.0.0.1:${server.port}`)).toBe(
    `${address} refuses the user or password. Check them in its URL.`,
  )
  expect(await refusalOf(`redis://ada:guessed-1@127.0.0.1:${server.port}`)).toContain('refuses the user or password')
  expect(await refusalOf(`redis://127.0.0.1:${server.port}`)).toContain('asks for a password')
  await opened(server.url)
  const { server: without } = await redisFor()
  await opened(without.adminUrl.replace('//', '//:sesame@'))
})

test('a Redis that is not there is told by its address and the reason', async () => {
  expect(await refusalOf('redis://:sesame@127.0.0.1:1')).toBe(
    'Redis at 127.0.0.1:1 cannot be reached (ECONNREFUSED). Check that it is running, and its address.',
  )
  expect(await refusalOf('redis://:sesame@no-such-host.invalid')).toMatch(/no-such-host\.invalid:6379 cannot be (found|reached)/)
})

test('a server older than version 7 is refused with its version', async () => {
  const url = await standIn(answering({ hello: oldHello, info: bulk('# Server\r\nredis_version:6.2.14\r\nloading:0\r\n') }))
  expect(await refusalOf(url)).toMatch(/is version 6\.2\.14; version 7 or newer of Redis or Valkey is needed\.$/)
})

test('a server too old to greet is refused, and the password in its complaint is not repeated', async () => {
  const hello = '-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `sesame`\r\n'
  const url = await standIn(answering({ hello, auth: '+OK\r\n', info: bulk('redis_version:5.0.14\r\nloading:0\r\n') }))
  expect(await refusalOf(url.replace('//', '//:sesame@'))).toMatch(/is an old version; version 7 or newer/)
})

test('F11: a Redis that is still loading is waited for', async () => {
  let asked = 0
  const loading = (): string => bulk(`redis_version:6.2.14\r\nloading:${(asked += 1) < 3 ? 1 : 0}\r\nloading_eta_seconds:1\r\n`)
  const url = await standIn((text) => answering({ hello: oldHello, info: loading() })(text))
  expect(await refusalOf(url)).toContain('is version 6.2.14')
  expect(asked).toBeGreaterThanOrEqual(3)
})

test('something that is no Redis is told as unreachable, not waited for', async () => {
  expect(await refusalOf(await standIn(() => 'HTTP/1.1 400 Bad Request\r\n\r\n'))).toContain('cannot be reached')
  expect(await refusalOf(await standIn((_text, socket) => (socket.end(), '')))).toContain('cannot be reached')
})

test('a server that never answers is given up', async () => {
  expect(await refusalOf(await standIn(() => ''))).toContain('cannot be reached')
}, 20_000)

test('F33: keys of another program, or of another layout, are not touched', async () => {
  const { server, admin } = await redisFor()
  for (const foreign of ['1', '{"app":"contextd","schema":2}']) {
    await admin.set('contextd:schema', foreign)
    expect(await refusalOf(server.url)).toMatch(
      /belong to another program or another version of this one\. Choose another prefix or database\.$/,
    )
  }
  await admin.del('contextd:schema')
  await admin.lpush('contextd:schema', 'x')
  expect(await refusalOf(server.url)).toContain('belong to another program')
  expect(await admin.keys('*')).toEqual(['contextd:schema'])
  await opened({ url: server.adminUrl, prefix: 'other' })
})

test('F10: a replica is refused', async () => {
  const { server, admin } = await redisFor()
  await admin.call('REPLICAOF', '127.0.0.1', '1')
  expect(await refusalOf(server.url)).toContain('is a replica, which takes no writes. Name its primary.')
})

/** One who opens a store with these settings, and keeps what it is warned of. */
function userWith(settings: StoreUser['settings'] = {}): StoreUser & { readonly warnings: string[] } {
  const warnings: string[] = []
  return { settings, warnings, warn: (_details, message) => void warnings.push(message) }
}

/** What is told of a Redis whose contexts may be lost: as warnings, and the same as a refusal when that is asked for. */
async function doubts(url: string): Promise<string[]> {
  const user = userWith()
  const backend = redisBackend(url)
  await backend.open(user)
  await backend.close()
  const strict = redisBackend({ url, strict: true })
  onTestFinished(() => strict.close())
  const refused = await strict.open(user).then(
    () => [],
    (error: Error) => [error.message],
  )
  expect(refused).toEqual(user.warnings.slice(0, 1))
  return user.warnings
}

const kept = { appendOnly: 'everysec' } as const

test('F12: a Redis that drops keys when it is full is a warning, or refused when strict; one that drops none is neither', async () => {
  const { server, admin } = await redisFor({ ...kept, settings: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' } })
  expect(await doubts(server.url)).toEqual([
    `Redis at 127.0.0.1:${server.port} drops keys when it is full, and contexts with them (maxmemory-policy allkeys-lru). Set the policy to noeviction.`,
  ])
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  expect(await doubts(server.url)).toEqual([expect.stringMatching(/locks and records of deleted contexts with them.*volatile-lru/)])
  await admin.config('SET', 'maxmemory-policy', 'noeviction')
  expect(await doubts(server.url)).toEqual([])
  await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
  await admin.config('SET', 'maxmemory', '0')
  expect(await doubts(server.url)).toEqual([])
})

test('F3: a Redis that keeps nothing on disk is a warning, or refused when strict', async () => {
  const { server, admin } = await redisFor()
  expect(await doubts(server.adminUrl)).toEqual([
    `Redis at 127.0.0.1:${server.port} keeps nothing on disk: when it ends, all contexts are gone. Set appendonly to yes.`,
  ])
  expect(await doubts(server.url)).toEqual([expect.stringMatching(/has no append-only file: when it crashes/)])
  await admin.config('SET', 'save', '3600 1')
  expect(await doubts(server.adminUrl)).toEqual([])
  const { server: safe } = await redisFor(kept)
  expect(await doubts(safe.url)).toEqual([])
})

test('nodes on one prefix that have different options are told, or refused when strict, for as long as the others run', async () => {
  const { server, admin } = await redisFor(kept)
  const [day, week] = [
    { sessionTtlMs: 86_400_000, deltaThreshold: 0 },
    { sessionTtlMs: 604_800_000, deltaThreshold: 0 },
  ]
  const first = redisBackend(server.url)
  await first.open(userWith(day))
  const same = userWith({ deltaThreshold: 0, sessionTtlMs: 86_400_000 })
  const second = redisBackend({ url: server.url, strict: true })
  onTestFinished(() => second.close())
  await second.open(same)
  await first.close()
  // Those who stay say it again, at the latest when the next one comes.
  expect(same.warnings).toEqual([])
  const third = redisBackend({ url: server.url, strict: true })
  await third.open(userWith(day))

  const line =
    `Redis at 127.0.0.1:${server.port} has other nodes with the prefix "contextd" and sessionTtlMs 86400000 instead of 604800000. ` +
    'Give all of them the same options, or another prefix.'
  expect(await refusalOf({ url: server.url, strict: true }, userWith(week))).toBe(line)
  const other = userWith(week)
  const fourth = redisBackend(server.url)
  await fourth.open(other)
  expect(other.warnings).toEqual([line])
  await fourth.close()
  // Who disagreed has changed nothing.
  expect(await admin.get('contextd:settings')).toBe('{"deltaThreshold":0,"sessionTtlMs":86400000}')
  expect(await admin.pttl('contextd:settings')).toBeGreaterThan(0)
  await third.close()
  expect(await admin.exists('contextd:settings')).toBe(0)
  await opened({ url: server.url, strict: true }, userWith(week))
})

test('the documented ACL rules are enough, and each of them is needed', async () => {
  const { server, admin } = await redisFor(kept)
  const url = `redis://ada:sesame@127.0.0.1:${server.port}`
  const rules = redisAclRules().split(' ')
  await admin.call('ACL', 'SETUSER', 'ada', 'on', '>sesame', ...rules)
  await store(await opened({ url, strict: true }))
  const elsewhere = ['+client|setname', '+asking', '+cluster|slots']
  const needed = rules.filter((rule) => rule.startsWith('+') && !elsewhere.includes(rule))
  expect(needed.length).toBeGreaterThan(20)
  for (const rule of needed) {
    await admin.call('ACL', 'SETUSER', 'ada', rule.replace('+', '-'))
    expect(await refusalOf(url)).toContain('does not allow its user ')
    await admin.call('ACL', 'SETUSER', 'ada', rule)
  }
  // Neither other keys and channels, nor what is dangerous.
  const ada = new Redis(url)
  onTestFinished(() => ada.disconnect())
  const denied = [
    ['GET', 'other:a'],
    ['SPUBLISH', 'other#a', 'm'],
    ['FLUSHALL'],
    ['CONFIG', 'GET', '*'],
    ['KEYS', '*'],
    ['ACL', 'LIST'],
    ['CLIENT', 'KILL', 'TYPE', 'normal'],
  ] as const
  for (const [command, ...args] of denied) await expect(ada.call(command, ...args)).rejects.toThrow('NOPERM')
})

test('F43: a user who may not do all that is needed is refused, with what is missing', async () => {
  const { server, admin } = await redisFor()
  const url = `redis://ada:sesame@127.0.0.1:${server.port}`
  await admin.call('ACL', 'SETUSER', 'ada', 'on', '>sesame', '~contextd:*', '&contextd#*', '+@all', '-spublish', '-zadd')
  expect(await refusalOf(url)).toMatch(/does not allow its user ZADD, SPUBLISH on keys and channels that begin with "contextd"/)
  await admin.call('ACL', 'SETUSER', 'ada', '+spublish', '+zadd', 'resetchannels')
  expect(await refusalOf(url)).toMatch(/SPUBLISH, SSUBSCRIBE/)
  await admin.call('ACL', 'SETUSER', 'ada', '&contextd#*')
  expect(await refusalOf({ url, prefix: 'elsewhere' })).toContain('begin with "elsewhere"')
  const backend = await opened(url)
  await store(backend)
  await admin.call('ACL', 'SETUSER', 'ada', '-@scripting')
  expect(await refusalOf(url)).toContain('does not allow its user what is needed')
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
    await opened({ url: server.adminUrl, prefix: 'other' }),
    await opened({ url: server.adminUrl, prefix: 'third', redisOptions: { db: 1 } }),
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
  expect(() => redisBackend({ strict: 'yes' as never })).toThrow(TypeError)
  expect(() => redisBackend({ urls: 'sesame' } as never)).toThrow(
    /^redisBackend has no option urls; it has url, prefix, redisOptions, strict\.$/,
  )
  expect(() => redisAclRules('a* ~*')).toThrow(TypeError)
})
