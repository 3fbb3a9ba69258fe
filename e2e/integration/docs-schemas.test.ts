import { readFileSync } from 'node:fs'
import { startRedisServer } from 'contextd/testing'
import { expect, onTestFinished, test } from 'vitest'
import { runExamples } from '../support/doc-examples.ts'

const guide = readFileSync(new URL('../../docs/guides/schemas.md', import.meta.url), 'utf8')

test('the examples of the guide of schemas run as they stand, but for the port, and give what they say', async () => {
  const redis = await startRedisServer()
  onTestFinished(() => redis.stop())
  const told = await runExamples(guide, { '6379': String(redis.port) })
  for (const { code, given, said } of told) expect({ code, given }).toEqual({ code, given: said })
  expect(told.length).toBe(7)
})
