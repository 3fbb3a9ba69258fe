import { ContextdError } from '@contextd/protocol'
import { expect, test } from 'vitest'
import { failureLine } from './failure.ts'

const at = { port: 4000, host: '127.0.0.1' }
const store = ['redis://user:s3cr%C3%A9t@localhost:6379/0']

test('a taken port and a foreign address say what to do', () => {
  expect(failureLine(Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' }), store, at)).toBe(
    'port 4000 on 127.0.0.1 is in use; choose another with --port',
  )
  expect(failureLine(Object.assign(new Error('x'), { code: 'EADDRNOTAVAIL' }), store, { ...at, host: '10.9.9.9' })).toContain('--host')
  expect(failureLine(Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' }), store)).toBe('getaddrinfo')
})

test('an error is one line, and no password is in it', () => {
  const line = failureLine(
    new ContextdError('backend_unavailable', 'no way to redis://user:s3cr%C3%A9t@localhost:\n  s3crét was refused'),
    ['sqlite:a.db', ...store],
    at,
  )
  expect(line).toBe('no way to redis://***@localhost: *** was refused')
})

test.each([undefined, null, 'text', {}])('whatever was thrown (%j) is one line', (thrown) => {
  expect(failureLine(thrown ?? {}, store, at)).toBe('failed for no known reason')
})
