import { readFileSync } from 'node:fs'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'
import { runExamples } from '../support/doc-examples.ts'

const guide = readFileSync(new URL('../../docs/guides/locks.md', import.meta.url), 'utf8')

test('the examples of the guide of locks run as they stand, but for the port, and give what they say', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const told = await runExamples(guide, { '6379': String(redis.port) })
  for (const { code, given, said } of told) expect({ code, given }).toEqual({ code, given: said })
  expect(told.length).toBe(13)
})

test('the tables of the guide of locks know every option, and every part of a lock', () => {
  const cells = guide
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|')[1])
    .join()
  for (const name of ['ttlMs', 'retryDelayMs', 'maxRetries', 'signal', 'lockTimeout', 'retryDelay']) expect(cells).toContain(`\`${name}\``)
  for (const name of ['{ lock }', 'lock.extend(ttlMs?)', 'lock.release()', 'lock.signal', 'lock.key', 'lock.token'])
    expect(cells).toContain(name)
})
