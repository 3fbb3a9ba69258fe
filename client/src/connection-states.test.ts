import { expect, test } from 'vitest'
import { transitions } from './connection-states.ts'
import type { ConnectionName, ConnectionSignal } from './connection-states.ts'

/** Every state and every signal, said a second time in another form: only the moves are named, all else stays. */
const moves: { readonly [N in ConnectionName]: readonly `${ConnectionSignal} → ${ConnectionName}`[] } = {
  idle: ['needed → connecting', 'connect → connecting', 'destroy → closed'],
  connecting: [
    'disconnect → idle',
    'opened → connected',
    'lost → reconnecting',
    'lost_offline → offline',
    'unauthenticated → needs-auth',
    'outdated → update-required',
    'offline → offline',
    'destroy → closed',
  ],
  connected: [
    'disconnect → idle',
    'lost → reconnecting',
    'lost_offline → offline',
    'unauthenticated → needs-auth',
    'outdated → update-required',
    'offline → offline',
    'destroy → closed',
  ],
  reconnecting: [
    'connect → connecting',
    'disconnect → idle',
    'due → connecting',
    'online → connecting',
    'offline → offline',
    'destroy → closed',
  ],
  offline: ['connect → connecting', 'disconnect → idle', 'due → connecting', 'online → connecting', 'destroy → closed'],
  'needs-auth': ['connect → connecting', 'disconnect → idle', 'destroy → closed'],
  'update-required': ['connect → connecting', 'disconnect → idle', 'destroy → closed'],
  closed: [],
}

test.each(Object.keys(moves) as ConnectionName[])('from %s every signal leads where it should', (from) => {
  const seen = Object.entries(transitions[from])
    .filter(([, to]) => to !== from)
    .map(([signal, to]) => `${signal} → ${to}`)
  expect(seen.toSorted()).toEqual([...moves[from]].toSorted())
  expect(Object.keys(transitions[from])).toHaveLength(12)
})
