import { execFileSync, spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { connected } from '../../support/served.ts'
import { until } from '../../support/until.ts'
import { setTo } from '../../support/wire-client.ts'
import { startRedisServer } from '../testing/redis-server.ts'

// Every test starts processes, some several one after the other.
vi.setConfig({ testTimeout: 30_000 })

const at = (file: string): string => fileURLToPath(new URL(`../../../${file}`, import.meta.url))
const main = at('server/dist/cli/main.js')
let folder: string
beforeAll(() => {
  // Node 20 runs no TypeScript: the command is what was compiled, and it is compiled from these very sources.
  execFileSync(process.execPath, [at('node_modules/typescript/bin/tsc'), '-b', at('server')], { stdio: 'inherit' })
  folder = mkdtempSync(path.join(tmpdir(), 'contextd-cli-'))
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Run {
  readonly child: ChildProcess
  readonly out: () => string
  readonly err: () => string
  /** The exit code. */
  readonly ended: Promise<number | null>
}

function run(...args: string[]): Run {
  return runWith('', ...args)
}

/** Runs it with something piped in. */
function runWith(input: string, ...args: string[]): Run {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  onTestFinished(() => void child.kill('SIGKILL'))
  return { child, out: () => out, err: () => err, ended: once(child, 'close').then(([code]) => code as number | null) }
}

/** Starts a server and gives its URL. */
async function started(...args: string[]): Promise<Run & { url: string }> {
  const running = run('serve', '--port', '0', ...args)
  const url = await new Promise<string>((resolve, reject) => {
    const look = (): void => {
      const found = /http:\/\/\S+/.exec(running.out())
      if (found) resolve(found[0])
    }
    running.child.stdout!.on('data', look)
    void running.ended.then((code) => reject(new Error(`ended with ${code}: ${running.err()}`)))
  })
  return { ...running, url }
}

/** That it ended with one line that says why, without a stack and without the secret. */
async function expectRefused({ ended, out, err }: Run, code: number, line: RegExp, secret = 's3cret'): Promise<void> {
  expect(await ended).toBe(code)
  expect(out()).toBe('')
  expect(err()).toMatch(line)
  expect(err()).not.toMatch(/^\s+at /m)
  expect(err()).not.toContain(secret)
  // Misuse is followed by the usage, at most.
  expect(
    err()
      .replace(/\nUsage: .*/s, '')
      .trimEnd()
      .split('\n'),
  ).toHaveLength(1)
}

/** The lines of the log. */
const logged = (err: string): { level: string; msg: string; [detail: string]: unknown }[] =>
  err
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ReturnType<typeof logged>[number])

test('it logs as text where asked, or nothing, and says its URL all the same', async () => {
  const text = await started('--store', 'memory:', '--log', 'text')
  await until(() => text.err() !== '')
  expect(text.err()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}contextd serves {2}url=http:\/\/127\.0\.0\.1:\d+ {2}store=memory\n$/)
  const silent = await started('--store', 'memory:', '--log-level', 'silent')
  silent.child.kill('SIGTERM')
  expect([await silent.ended, silent.out(), silent.err()]).toEqual([0, `contextd is ready at ${silent.url}\n`, ''])
})

test('an error that nobody caught is logged, and ends the process', async () => {
  const code = `
    import { endOnInnerErrors } from '${new URL('../../dist/cli/serve.js', import.meta.url).href}'
    import { serveLogger } from '${new URL('../../dist/cli/serve-log.js', import.meta.url).href}'
    endOnInnerErrors(serveLogger({ level: 'info', format: 'json' }, process))
    Promise.reject(new Error('redis://:s3cret@host'))
    setInterval(() => {}, 1_000)`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8', timeout: 20_000 })
  expect(status).toBe(1)
  expect(logged(stderr)).toMatchObject([
    { level: 'error', msg: 'an inner error; the process ends', error: { message: 'redis://***@host' } },
  ])
})

test('metrics are for who has the token, where there is one', async () => {
  const { url } = await started('--store', 'memory:', '--metrics-token', 'a-token-for-metrics')
  expect((await fetch(`${url}/metrics`)).status).toBe(401)
  const response = await fetch(`${url}/metrics`, { headers: { authorization: 'Bearer a-token-for-metrics' } })
  expect(await response.text()).toContain('contextd_info{version="0.1.0"')
})

test('it serves from a file in its folder, says where in one line, and ends with 0 on SIGTERM', async () => {
  const { url, child, ended, out, err } = await started()
  const session = await (await connected(url)).attach()
  session.write('c', '', [[setTo('n', 1)]])
  expect(await session.outcome('c', 1)).toMatchObject({ type: 'applied' })
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
  expect(out()).toBe(`contextd is ready at ${url}\n`)
  expect(logged(err()).map(({ level, msg }) => `${level} ${msg}`)).toEqual([
    'info contextd serves',
    'info asked to end',
    'info the server closes: clients are sent elsewhere',
    'info the server is closed',
  ])
  expect(logged(err())[0]).toMatchObject({ url, store: 'sqlite', pid: child.pid })

  const again = await started('--store', 'sqlite:contextd.db')
  expect(await (await (await connected(again.url)).attach()).sync('c')).toMatchObject({ answer: { type: 'full', state: { n: 1 } } })
})

test('it ends with 0 on SIGINT as well, with clients connected', async () => {
  const { url, child, ended } = await started('--store', 'memory:')
  const client = await connected(url)
  const gone = client.ended()
  child.kill('SIGINT')
  expect(await ended).toBe(0)
  expect(await gone).toBe('transport close')
  expect(client.frames.bye).toHaveLength(1)
})

test('F26: 50 commits in flight at a SIGTERM are answered, and what was told applied is stored', async () => {
  const { url, child, ended } = await started('--store', 'sqlite:drain.db')
  const session = await (await connected(url)).attach()
  await session.sync('c')
  for (let n = 1; n <= 50; n += 1) session.write('c', '', [[setTo(`k${n}`, n)]])
  await session.client.until(() => session.seen('c').length > 0)
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
  const held = session.told('c').filter(([, { type }]) => type === 'held')
  const applied = new Set([...session.seen('c'), ...session.told('c').flatMap(([seq, { type }]) => (type === 'applied' ? [seq] : []))])
  expect(applied.size + held.length).toBe(50)

  const again = await started('--store', 'sqlite:drain.db')
  const { answer } = await (await (await connected(again.url)).attach()).sync('c')
  expect(answer).toMatchObject({ type: 'full', head: { version: applied.size } })
})

test('limits and origins are those of the command line', async () => {
  const { url } = await started('--store', 'memory:', '--limit', 'sessionsPerSocket=1', '--cors', 'https://good.example')
  const client = await connected(url, {}, { extraHeaders: { origin: 'https://good.example' } })
  await client.attach()
  expect(await client.call('attach', { session: null })).toMatchObject({ error: { code: 'rate_limited' } })
  await expect(connected(url, {}, { extraHeaders: { origin: 'https://evil.example' } })).rejects.toThrow('websocket error')
})

test('help is printed, and is no failure', async () => {
  const { ended, out, err } = run('--help')
  expect(await ended).toBe(0)
  expect(out()).toContain('Usage: contextd')
  expect(err()).toBe('')
})

test('what it does not understand is misuse, with the usage', async () => {
  await expectRefused(run('--colour'), 2, /^contextd: Unknown option '--colour'\n\nUsage: contextd/)
  await expectRefused(run('--prot', '1'), 2, /^contextd: Unknown option '--prot'; did you mean --port\?\n\nUsage: contextd/)
  await expectRefused(run('dance'), 2, /^contextd: unknown command: dance\n\nUsage/)
  await expectRefused(run('--limit', 'speed=1'), 2, /^contextd: --limit: there is no limit speed/)
})

test('exit codes: 0 done, 1 failed, 2 not understood; a state comes in on standard input', async () => {
  const store = ['--store', 'sqlite:codes.db']
  const large = JSON.stringify({ text: 'x'.repeat(2_000_000) })
  const set = runWith(large, 'set', 'a', '-', ...store)
  expect([await set.ended, set.out(), set.err()]).toEqual([0, 'a is at version 1  created\n', ''])
  const get = run('get', 'a', '--json', ...store)
  expect(await get.ended).toBe(0)
  expect((JSON.parse(get.out()) as { state: unknown }).state).toEqual(JSON.parse(large))
  await expectRefused(run('get', 'b', ...store), 1, /^contextd: There is no context b\.\n$/)
  await expectRefused(runWith('{', 'set', 'a', '-', ...store), 2, /^contextd: standard input is no JSON/)
})

test('watch ends with 0 on SIGINT, on a server and on a store', async () => {
  const { url } = await started('--store', 'sqlite:watch.db')
  expect(await run('set', 'a', '{"n":1}', '--url', url).ended).toBe(0)
  for (const place of [
    ['--url', url],
    ['--store', 'sqlite:watch.db'],
  ]) {
    const watching = run('watch', 'a', '--json', ...place)
    await vi.waitUntil(() => watching.out().includes('full_context'), { timeout: 20_000 })
    watching.child.kill('SIGINT')
    expect([await watching.ended, watching.err()]).toEqual([0, ''])
  }
})

test('who has read enough ends it quietly', async () => {
  const lines = Array.from({ length: 2_000 }, (_, n) =>
    JSON.stringify({ contextId: `c:${n}`, version: 1, state: { text: 'x'.repeat(500) } }),
  )
  expect(await runWith(lines.join('\n'), 'restore', '--from', '-', '--store', 'sqlite:pipe.db').ended).toBe(0)
  const exporting = run('export', '--store', 'sqlite:pipe.db')
  exporting.child.stdout!.once('data', () => exporting.child.stdout!.destroy())
  expect([await exporting.ended, exporting.err()]).toEqual([0, ''])
})

test('10,000 contexts of 100 MB go out and come back in little memory, the same', () => {
  const file = path.join(folder, 'many.ndjson')
  const text = 'x'.repeat(10_000)
  const line = (n: number): string => `${JSON.stringify({ contextId: `c:${n}`, version: 1, state: { n, text } })}\n`
  writeFileSync(file, Array.from({ length: 10_000 }, (_, n) => line(n)).join(''))
  const narrow = { NODE_OPTIONS: '--max-old-space-size=48' }
  const store = ['--store', 'sqlite:many.db']
  const run48 = (...args: string[]): unknown[] => {
    const { status, stderr } = spawnSync(process.execPath, [main, ...args, ...store], { cwd: folder, env: { ...process.env, ...narrow } })
    return [status, stderr.toString()]
  }
  expect(run48('restore', '--from', file)).toEqual([0, 'restored 10,000 contexts\n'])
  const out = path.join(folder, 'out.ndjson')
  expect(run48('export', '--to', out)).toEqual([0, 'exported 10,000 contexts\n'])
  const states = readFileSync(out, 'utf8').trimEnd().split('\n')
  expect(states).toHaveLength(10_000)
  expect(new Set(states.map((each) => (JSON.parse(each) as { state: { n: number } }).state.n)).size).toBe(10_000)
})

test('with a secret only who has a token is served, on any address', async () => {
  const secret = 'a secret of more than thirty-two characters'
  const { url, err } = await started('--store', 'memory:', '--host', '0.0.0.0', '--jwt-secret', secret)
  const token = await new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(secret))
  await expectRefused(run('set', 'a', '{}', '--url', url), 1, /^contextd: The server does not know who this is/)
  await expect(connected(url, { token: 'x' })).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
  expect(await run('set', 'a', '{}', '--url', url, '--token', token).ended).toBe(0)
  const client = await connected(url, { token })
  expect((await client.attach()).attached.userId).toBe('ada')
  expect(logged(err()).map(({ msg }) => msg)).toEqual(['contextd serves', 'a connection was refused: unauthenticated'])
  expect(err()).not.toContain(secret)
})

test('options that do not go together are misuse', async () => {
  await expectRefused(
    run('--store', 'memory:', '--host', '0.0.0.0'),
    2,
    /^contextd: --host: on 0\.0\.0\.0 others can connect; add --jwt-secret or --jwks, or --anonymous/,
  )
  await expectRefused(run('--store', 'mongodb://user:s3cret@host'), 2, /^contextd: .*memory:, sqlite:FILE, redis:/)
  await expectRefused(run('--store', 'memory:', '--cors', '*'), 2, /^contextd: cors\.origin/)
})

test('a port in use is one clear line', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  onTestFinished(() => void taken.close())
  const { port } = taken.address() as AddressInfo
  await expectRefused(
    run('--store', 'memory:', '--port', String(port)),
    1,
    new RegExp(`^contextd: port ${port} on 127\\.0\\.0\\.1 is in use`),
  )
})

test('an unreadable SQLite file is one clear line', async () => {
  writeFileSync(path.join(folder, 'text.db'), 'this is no database, but it is long enough to be looked at as one '.repeat(20))
  await expectRefused(run('--store', 'sqlite:text.db'), 1, /^contextd: .*text\.db/)
  await expectRefused(run('--store', 'sqlite:missing/folder/x.db'), 1, /^contextd: .*x\.db/)
  await expectRefused(run('--store', `sqlite:${folder}`), 1, /^contextd: /)
})

test('F43: a wrong Redis password is one clear line that does not repeat it', async () => {
  const redis = await startRedisServer({ password: 'right' })
  onTestFinished(() => redis.stop())
  const host = new URL(redis.url).host
  await expectRefused(run('--store', `redis://:s3cret@${host}`), 1, /^contextd: .*password/i)
  await expectRefused(run('--store', `redis://${host}`), 1, /^contextd: .*password/i)
})

test('a Redis that is not there is one clear line', async () => {
  await expectRefused(run('--store', 'redis://user:s3cret@127.0.0.1:1'), 1, /^contextd: .*127\.0\.0\.1:1/)
})

test('a Redis older than 7 is one clear line', async () => {
  // No such server can be had here: this one answers as one of version 6 does.
  const old = createServer((socket) => {
    socket.on('data', (chunk) => {
      for (const command of chunk.toString().split('*').slice(1)) {
        const name = command.split('\r\n')[2]?.toLowerCase() ?? ''
        const info = '# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\nloading:0\r\nrole:master\r\n'
        socket.write(name === 'info' ? `$${info.length}\r\n${info}\r\n` : name === 'hello' ? '-ERR unknown command\r\n' : '+OK\r\n')
      }
    })
    socket.on('error', () => {})
  }).listen(0, '127.0.0.1')
  await once(old, 'listening')
  onTestFinished(() => void old.close())
  await expectRefused(run('--store', `redis://127.0.0.1:${(old.address() as AddressInfo).port}`), 1, /^contextd: .*Redis.*7/)
})
