import { readFileSync } from 'node:fs'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'
import { runExamples } from '../support/doc-examples.ts'

const guide = readFileSync(new URL('../../docs/guides/sources.md', import.meta.url), 'utf8')

test('the examples of the guide of sources run as they stand, but for the port, and give what they say', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const told = await runExamples(guide, { '6379': String(redis.port) })
  for (const { code, given, said } of told) expect({ code, given }).toMatchObject({ code, given: said })
  expect(told.length).toBe(8)
})

test('the guide of sources knows every option, and all of the status', () => {
  for (const name of ['contextId', 'fetch', 'refreshIntervalMs', 'timeoutMs', 'params', 'materialize']) {
    expect(guide).toMatch(new RegExp(`^\\| \`${name}\\b.*\\|$`, 'm'))
  }
  for (const name of ['leader', 'running', 'failures', 'lastSuccessAt', 'lastError', 'nextRunAt', 'version']) {
    expect(guide).toContain(`\`${name}\``)
  }
  for (const type of ['list', 'hash', 'set', 'string']) expect(guide).toContain(`| \`${type}\` |`)
})
