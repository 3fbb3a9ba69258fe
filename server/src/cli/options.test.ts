import { expect, test } from 'vitest'
import { UsageError, readOptions } from './options.ts'

test('without arguments it serves on the loopback, from a file in this folder', () => {
  const expected = { port: 4000, host: '127.0.0.1', store: 'sqlite:contextd.db', anonymous: false, origins: [], limits: {} }
  expect(readOptions([])).toEqual(expected)
  expect(readOptions(['serve'])).toEqual(expected)
})

test('every option is read', () => {
  const args =
    '--port 0 --host ::1 --store memory: --anonymous --cors https://a.example --cors https://b.example --limit depth=8 --limit inFlight=0'
  expect(readOptions(['serve', ...args.split(' ')])).toEqual({
    port: 0,
    host: '::1',
    store: 'memory:',
    anonymous: true,
    origins: ['https://a.example', 'https://b.example'],
    limits: { depth: 8, inFlight: 0 },
  })
})

test('help is asked for, whatever else is said', () => {
  expect(readOptions(['--help', '--port', '0'])).toBe('help')
})

test.each([
  [['--colour'], /--colour/],
  [['-x'], /-x/],
  [['watch', 'board:1'], /unknown command: watch/],
  [['serve', 'twice'], /unexpected argument: twice/],
  [['--port'], /--port/],
  [['--port', '65536'], /--port: 65536 is no port/],
  [['--port', '-1'], /--port/],
  [['--port', '4e3'], /--port: 4e3 is no port/],
  [['--host', '0.0.0.0'], /--host: on 0\.0\.0\.0 others can connect; add --anonymous/],
  [['--limit', 'depth'], /depth is not NAME=VALUE/],
  [['--limit', 'depth=-1'], /is not NAME=VALUE/],
  [['--limit', 'depth=1.5'], /is not NAME=VALUE/],
  [['--limit', 'speed=1'], /there is no limit speed/],
  [['--limit', '__proto__=1'], /there is no limit __proto__/],
  [['--anonymous=yes'], /--anonymous/],
])('%j is refused in one line', (args, message) => {
  const refusal = (() => {
    try {
      return readOptions(args)
    } catch (error) {
      return error as Error
    }
  })()
  expect(refusal).toBeInstanceOf(UsageError)
  expect((refusal as Error).message).toMatch(message)
  expect((refusal as Error).message).not.toContain('\n')
})
