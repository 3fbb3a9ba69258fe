import { expect, test } from 'vitest'
import { actorOf, isSessionOf, mintSession, mintedAt, streamKeyOf } from './session.ts'

test('P2: a session id says when it was minted', () => {
  expect(mintedAt(mintSession(1_700_000_000_123.9, 'ada'))).toBe(1_700_000_000_123)
  expect(mintedAt(mintSession(0, null))).toBe(0)
})

test('P2: two sessions minted at one time are different', () => {
  expect(mintSession(5, 'ada')).not.toBe(mintSession(5, 'ada'))
})

test('P2: a session belongs to the user it was minted for, and to nobody else', () => {
  const session = mintSession(1_700_000_000_000, 'ada')
  expect(isSessionOf('ada', session)).toBe(true)
  expect(isSessionOf('bob', session)).toBe(false)
  expect(isSessionOf(null, session)).toBe(false)
  expect(isSessionOf(null, mintSession(1, null))).toBe(true)
})

test.each([
  '',
  'x',
  '-',
  'lx-short-12345678',
  `lx-${'a'.repeat(22)}-${'b'.repeat(9)}`,
  `LX-${'a'.repeat(22)}-${'b'.repeat(8)}`,
  '__proto__',
])('P2: %j is no session id', (text) => {
  expect(mintedAt(text)).toBe(null)
  expect(isSessionOf(null, text)).toBe(false)
})

test('P2: a changed time or random part is no longer the user’s session', () => {
  const session = mintSession(1_700_000_000_000, 'ada')
  const [time, random, check] = [session.slice(0, 8), session.slice(9, 31), session.slice(32)]
  expect(isSessionOf('ada', `${time}-${random}-${check}`)).toBe(true)
  expect(isSessionOf('ada', `zzzzzzzz-${random}-${check}`)).toBe(false)
  expect(isSessionOf('ada', `${time}-${random.slice(1)}${random.slice(0, 1)}-${check}`)).toBe(false)
})

test('P2: what is stored and what is published of a session depend on its user, and do not contain it', () => {
  const session = mintSession(1_700_000_000_000, 'ada')
  expect(streamKeyOf('ada', session)).toBe(streamKeyOf('ada', session))
  expect(streamKeyOf('ada', session)).not.toBe(streamKeyOf('bob', session))
  expect(actorOf('ada', session)).not.toBe(actorOf('bob', session))
  expect(actorOf('ada', session)).toHaveLength(16)
  expect(streamKeyOf('ada', session)).not.toContain(actorOf('ada', session))
  for (const derived of [streamKeyOf('ada', session), actorOf('ada', session)]) expect(derived).not.toContain(session.slice(9, 31))
})
