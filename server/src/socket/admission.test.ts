import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { Admission, isLoopback } from './admission.ts'
import type { AdmissionOptions } from './admission.ts'
import { noCounts } from './counters.ts'

function admission(options: Partial<AdmissionOptions> = {}): Admission {
  return new Admission({ origins: [], socketsPerAddress: 0, authenticated: false, anonymous: false, counts: noCounts(), ...options })
}
function request(headers: { origin?: string; host?: string }, localAddress = '127.0.0.1'): IncomingMessage {
  return {
    headers: { host: '127.0.0.1:4000', ...headers },
    socket: { localAddress, remoteAddress: '127.0.0.1' },
  } as unknown as IncomingMessage
}
const lets = (door: Admission, ...of: Parameters<typeof request>): boolean => door.refusal(request(...of)) === null

test('programs, which send no origin, and pages of the server itself may connect', () => {
  expect(lets(admission(), {})).toBe(true)
  expect(lets(admission(), { origin: 'http://127.0.0.1:4000' })).toBe(true)
  expect(lets(admission(), { origin: 'http://localhost:4000', host: 'localhost:4000' })).toBe(true)
  expect(lets(admission(), { origin: 'http://[::1]:4000', host: '[::1]:4000' })).toBe(true)
})

test.each([
  'http://evil.example',
  'http://127.0.0.1:4001',
  'http://127.0.0.1:4000.evil.example',
  'http://127.0.0.1:4000@evil.example',
  'http://127.0.0.1:4000/',
  'null',
  '',
  'https://good.example.evil.example',
  'https://good.example:444',
  'http://good.example',
  'https://GOOD.example',
])('the origin %j may not connect', (origin) => {
  expect(lets(admission({ origins: ['https://good.example'] }), { origin })).toBe(false)
})

test('a listed origin may connect, letter by letter', () => {
  expect(lets(admission({ origins: ['https://good.example'] }), { origin: 'https://good.example' })).toBe(true)
})

test('a foreign name that points to the loopback is no own origin, unless users are authenticated', () => {
  const rebound = { origin: 'http://evil.example:4000', host: 'evil.example:4000' }
  expect(lets(admission(), rebound)).toBe(false)
  expect(lets(admission({ authenticated: true }), rebound)).toBe(true)
  expect(lets(admission({ anonymous: true }), rebound, '10.0.0.7')).toBe(true)
})

test('without authentication another address than the loopback serves nobody, unless that is said', () => {
  expect(lets(admission(), {}, '10.0.0.7')).toBe(false)
  expect(lets(admission({ anonymous: true }), {}, '10.0.0.7')).toBe(true)
  expect(lets(admission({ authenticated: true }), {}, '10.0.0.7')).toBe(true)
})

test('while it is closing nobody may connect', () => {
  const door = admission()
  door.closing = true
  expect(lets(door, {})).toBe(false)
})

test('connections of an address are counted, up to the limit', () => {
  const door = admission({ socketsPerAddress: 2 })
  expect([door.enter('a'), door.enter('a'), door.enter('a'), door.enter('b')]).toEqual([true, true, false, true])
  door.exit('a')
  expect([door.enter('a'), door.enter('a')]).toEqual([true, false])
})

test.each([
  ['127.0.0.1', true],
  ['127.9.9.9', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['localhost', true],
  ['127.evil.example', false],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['', false],
])('%j is the loopback: %s', (host, is) => {
  expect(isLoopback(host)).toBe(is)
})
