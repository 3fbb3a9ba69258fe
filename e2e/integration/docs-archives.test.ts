import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { runExamples } from '../support/doc-examples.ts'

test('the examples of the guide of archives and history give what they say', async () => {
  const told = await runExamples(readFileSync(new URL('../../docs/guides/archives.md', import.meta.url), 'utf8'))
  expect(told.map(({ code, given }) => ({ code, given }))).toMatchObject(told.map(({ code, said }) => ({ code, given: said })))
  expect(told).toHaveLength(7)
})
