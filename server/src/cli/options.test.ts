import { expect, test } from 'vitest'
import { UsageError, parse } from './flags.ts'
import { serveFlags, serveOptions } from './options.ts'
import type { ServeOptions } from './options.ts'

function read(args: readonly string[], env: { [name: string]: string } = {}): ServeOptions {
  const { positionals, given } = parse(args, serveFlags, serveFlags)
  return serveOptions(positionals, given, env)
}
const secret = 'a secret of more than thirty-two characters'

test('without arguments it serves on the loopback, from a file in this folder', () => {
  expect(read([])).toEqual({
    port: 4000,
    host: '127.0.0.1',
    store: 'sqlite:contextd.db',
    anonymous: false,
    tokens: null,
    origins: [],
    limits: {},
    contextTtlMs: null,
    deltaTtlMs: null,
    log: { level: 'info', format: null },
    metrics: undefined,
  })
})

test('every option is read', () => {
  const args =
    '--port 0 --host ::1 --store memory: --anonymous --cors https://a.example --cors https://b.example --limit depth=8 --limit inFlight=0 --context-ttl-ms 5 --delta-ttl-ms 6 --metrics off --log-level debug --log text'
  expect(read(args.split(' '))).toEqual({
    port: 0,
    host: '::1',
    store: 'memory:',
    anonymous: true,
    tokens: null,
    origins: ['https://a.example', 'https://b.example'],
    limits: { depth: 8, inFlight: 0 },
    contextTtlMs: 5,
    deltaTtlMs: 6,
    log: { level: 'debug', format: 'text' },
    metrics: false,
  })
})

test('metrics: for this machine, for all, or for who has the token, also of the environment', () => {
  const env = { CONTEXTD_METRICS_TOKEN: 'token-of-the-environment' }
  expect(read(['--metrics', 'local'], env).metrics).toBe(undefined)
  expect(read(['--metrics', 'all'], env).metrics).toBe(true)
  expect(read(['--metrics-token', 'token-of-the-line'], env).metrics).toEqual({ token: 'token-of-the-line' })
  expect(read([], env).metrics).toEqual({ token: 'token-of-the-environment' })
})

test('tokens: a secret, also of the environment, or published keys', () => {
  expect(read(['--jwt-secret', secret, '--jwt-issuer', 'me', '--host', '0.0.0.0']).tokens).toEqual({ secret, issuer: 'me' })
  expect(read([], { CONTEXTD_JWT_SECRET: secret }).tokens).toEqual({ secret })
  expect(read(['--anonymous'], { CONTEXTD_JWT_SECRET: secret }).tokens).toBe(null)
  const jwks = read(['--jwks', 'https://login.example/keys', '--jwt-audience', 'app', '--host', '0.0.0.0'], { CONTEXTD_JWT_SECRET: secret })
  expect(jwks.tokens).toEqual({ jwks: new URL('https://login.example/keys'), audience: 'app' })
  expect(read(['--jwks', 'http://127.0.0.1:9/keys']).tokens).toHaveProperty('jwks')
})

test.each([
  [['--colour'], /--colour/],
  [['--prot', '1'], /^Unknown option '--prot'; did you mean --port\?$/],
  [['-x'], /-x/],
  [['twice'], /unexpected argument: twice/],
  [['--port'], /--port/],
  [['--port', '65536'], /--port: 65536 is no port/],
  [['--port', '-1'], /--port/],
  [['--port', '4e3'], /--port: 4e3 is no port/],
  [['--host', '0.0.0.0'], /--host: on 0\.0\.0\.0 others can connect; add --jwt-secret or --jwks, or --anonymous/],
  [['--limit', 'depth'], /depth is not NAME=VALUE/],
  [['--limit', 'depth=-1'], /is not NAME=VALUE/],
  [['--limit', 'depth=1.5'], /is not NAME=VALUE/],
  [['--limit', 'speed=1'], /there is no limit speed/],
  [['--limit', '__proto__=1'], /there is no limit __proto__/],
  [['--anonymous=yes'], /--anonymous/],
  [['--jwt-secret', 'short'], /at least 32 characters/],
  [['--jwt-secret', secret, '--jwks', 'https://a.example'], /exclude each other/],
  [['--jwt-secret', secret, '--anonymous'], /--anonymous: with/],
  [['--jwks', 'http://login.example/keys'], /is no https address/],
  [['--jwks', 'keys.json'], /is no https address/],
  [['--jwt-issuer', 'me'], /need --jwt-secret or --jwks/],
  [['--metrics', 'yes'], /--metrics: yes is none of local, all, off/],
  [['--metrics-token', 'short'], /--metrics-token must have at least 16 characters/],
  [['--metrics-token', 'with a space in between'], /no spaces/],
  [['--metrics', 'all', '--metrics-token', 'token-of-the-line'], /exclude each other/],
  [['--log-level', 'loud'], /--log-level: loud is none of debug, info, warn, error, silent/],
  [['--log', 'xml'], /--log: xml is none of json, text/],
  [['--context-ttl-ms', '0'], /--context-ttl-ms: 0 is no whole number of at least 1/],
])('%j is refused in one line', (args, message) => {
  const refusal = (() => {
    try {
      return read(args)
    } catch (error) {
      return error as Error
    }
  })()
  expect(refusal).toBeInstanceOf(UsageError)
  expect((refusal as Error).message).toMatch(message)
  expect((refusal as Error).message).not.toContain('\n')
})
