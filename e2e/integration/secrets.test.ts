import { execFile, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createClient } from '@contextd/client'
import { wireVersion } from '@contextd/protocol'
import { createContexts } from 'contextd'
import { redisAclRules, redisBackend } from 'contextd/backends/redis'
import { startRedisServer } from 'contextd/testing'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { until } from '../support/wait.ts'

const main = fileURLToPath(new URL('../../server/dist/cli/main.js', import.meta.url))

/** What a server prints on a store that it cannot use, and how it ends. */
const serveOn = (store: string): Promise<{ code: number; output: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [main, 'serve', '--port', '0', '--store', store], { timeout: 20_000 }, (error, out, err) =>
      resolve({ code: Number(error?.code ?? 0), output: out + err }),
    )
  })

test('F43: a server that Redis refuses ends with one clear line, and no secret is in what it prints', async () => {
  const rules = redisAclRules().replace(' +spublish', '')
  const redis = await startRedisServer({ password: 's3cret-admin', user: { name: 'limited', password: 's3cret-user', rules } })
  onTestFinished(() => redis.stop())
  const host = `127.0.0.1:${redis.port}`
  const cases = [
    [`redis://:s3cret-guess@${host}`, /refuses the user or password/],
    [`redis://limited:s3cret-guess@${host}`, /refuses the user or password/],
    [`redis://${host}`, /asks for a password/],
    [redis.url, /does not allow its user SPUBLISH/],
    [`redis://limited:s3cret-user@127.0.0.1:1`, /cannot be reached/],
  ] as const
  for (const [store, line] of cases) {
    const { code, output } = await serveOn(store)
    expect(code).toBe(1)
    expect(output).toMatch(line)
    expect(output.trimEnd().split('\n')).toHaveLength(1)
    expect(output).not.toMatch(/s3cret/)
  }
})

const jwtSecret = 's3cret-of-the-tokens-32-characters'
const metricsToken = 's3cret-of-the-metrics'

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A JSON Web Token of a user. */
function tokenOf(sub: string): string {
  const body = `${part({ alg: 'HS256' })}.${part({ sub })}`
  return `${body}.${createHmac('sha256', jwtSecret).update(body).digest('base64url')}`
}

/** A server that logs all there is to log, and what it printed. */
async function logging(store: string): Promise<{ url: string; output: () => string; end: () => Promise<number> }> {
  const child = spawn(process.execPath, [main, 'serve', '--port', '0', '--store', store, '--log-level', 'debug'], {
    env: { ...process.env, CONTEXTD_JWT_SECRET: jwtSecret, CONTEXTD_METRICS_TOKEN: metricsToken },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = once(child, 'close').then(([code]) => code as number)
  await until('it is ready', () => output.includes('contextd is ready'))
  const end = (): Promise<number> => {
    child.kill('SIGTERM')
    return ended
  }
  return { url: /ready at (\S+)/.exec(output)![1]!, output: () => output, end }
}

/** Speaks to the server by hand: what it answers to a session that is attached, and then to a frame that it cannot read. */
async function undecodable(url: string, token: string): Promise<string> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/contextd/?EIO=4&transport=websocket`)
  let heard = ''
  socket.on('message', (data: Buffer) => (heard += data.toString()))
  await once(socket, 'open')
  socket.send(`40${JSON.stringify({ wire: wireVersion, token })}`)
  await until('it is let in', () => heard.includes('40{'))
  socket.send('420["attach",{"session":null}]')
  await until('it is attached', () => heard.includes('430['))
  socket.send('42["commit",{"text":"s3cret-state"}]')
  await once(socket, 'close')
  return /"session":"([^"]+)"/.exec(heard)![1]!
}

test('whatever goes wrong, what a server logs at its most talkative holds no state, no token and no password', async () => {
  const redis = await startRedisServer({
    password: 's3cret-admin',
    user: { name: 'limited', password: 's3cret-user', rules: redisAclRules() },
    appendOnly: 'always',
  })
  onTestFinished(() => redis.stop())
  const admin = new Redis(redis.adminUrl)
  onTestFinished(() => admin.disconnect())
  admin.on('error', () => {})
  const writer = createContexts({ backend: redisBackend(redis.adminUrl) })
  await writer.set('damaged', { text: 's3cret-state' })
  await writer.close()
  await admin.set('contextd:{ctx:damaged}:snapshot', 's3cret-state')

  const { url, output, end } = await logging(redis.url)
  const token = tokenOf('ada-lovelace')
  const client = createClient<{ [id: `board:${string}`]: { state: { text: string } } }>({ url, auth: token })
  const board = client.context('board:1', { initial: { text: '' } })
  const end1 = board.subscribe(() => {})
  await board.set({ text: 's3cret-state' })
  const ask = (method: string, path: string, body?: string, headers: { [name: string]: string } = {}): Promise<number> =>
    fetch(`${url}/v1/contexts/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body }),
    }).then(({ status }) => status)
  const wrong = JSON.stringify({ operations: [{ type: 'test', path: ['text'], value: 's3cret-other' }] })
  expect(await ask('PATCH', 'board:1', wrong, { 'idempotency-key': 's3cret-key' })).toBe(409)
  expect(await ask('PUT', 'board:1', '{"text":"s3cret-state')).toBe(400)
  expect(await ask('GET', 'board:1', undefined, { authorization: 'Bearer s3cret-guess' })).toBe(401)
  expect(await ask('GET', 'damaged')).toBe(500)
  const session = await undecodable(url, token)
  const stranger = createClient({ url, auth: 's3cret-guess' })
  const end2 = stranger.context('board:1').subscribe(() => {})
  await until('the stranger is refused', () => stranger.connection.get().name === 'needs-auth')
  for (const channel of (await admin.call('PUBSUB', 'SHARDCHANNELS')) as string[])
    await admin.call('SPUBLISH', channel, '{"text":"s3cret-state"')

  await redis.kill()
  const write = board.set({ text: 's3cret-state again' })
  await until('it is said that the store is away', () => output().includes('the store does not answer'))
  await redis.restart()
  await write
  await until('it is said that the store is back', () => output().includes('the store answers again'))
  const metrics = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${metricsToken}` } }).then((response) =>
    response.text(),
  )
  end1()
  end2()
  await Promise.all([client.destroy(), stranger.destroy()])
  expect(await end()).toBe(0)

  const said = new Set(
    output()
      .split('\n')
      .flatMap((line) => (line.startsWith('{') ? [(JSON.parse(line) as { msg: string }).msg] : [])),
  )
  for (const message of [
    'contextd serves',
    'what is stored does not fit together',
    'a frame that cannot be decoded; its socket is closed',
    'a connection was refused: unauthenticated',
    'the server is closed',
  ])
    expect(said).toContain(message)
  for (const text of [output(), metrics]) {
    expect(text).not.toMatch(/s3cret/)
    for (const secret of [token, session, token.split('.')[2]!]) expect(text).not.toContain(secret)
  }
  expect(metrics).not.toMatch(/board:|damaged|lovelace/)
})
