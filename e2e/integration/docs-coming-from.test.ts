import { readFileSync } from 'node:fs'
import { startRedisServer } from 'contextd/testing'
import type { RedisServer } from 'contextd/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runExamples } from '../support/doc-examples.ts'
import { missingTests, namedTests } from '../support/named-tests.ts'

const page = readFileSync(new URL('../../docs/reference/coming-from.md', import.meta.url), 'utf8')
const systems = ['Chord', 'Contextd', 'smart-redis']
const sectionOf = (system: string): string => page.split(/^## /m).find((section) => section.startsWith(`${system}\n`))!

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedisServer()
})
afterAll(() => redis.stop())

/** Runs the examples of a section, on a Redis of this test. Returns how many statements say what they give. */
async function examplesOf(system: string): Promise<number> {
  const told = await runExamples(sectionOf(system), { '6379': String(redis.port) })
  for (const { code, given, said } of told) expect({ code, given }).toMatchObject({ code, given: said })
  return told.length
}

test('the examples of Chord run as they stand, and give what they say', async () => {
  expect(await examplesOf('Chord')).toBe(11)
})

test('the examples of Contextd and smart-redis do, but for the port', async () => {
  expect([await examplesOf('Contextd'), await examplesOf('smart-redis')]).toEqual([3, 1])
})

test.each(systems)('every test that is named for %s is there', (system) => {
  const named = namedTests(sectionOf(system))
  expect(named.length).toBeGreaterThan(20)
  expect(missingTests(named)).toEqual([])
})

test.each(systems)('every row of the tables for %s names a test', (system) => {
  const rows = sectionOf(system).match(/^\| .* \|$/gm)!
  const empty = rows.filter((row) => namedTests(row).length === 0 && !row.endsWith('| shown by |'))
  expect(empty).toEqual([])
})

test('a test that is not there is seen', () => {
  const file = 'e2e/integration/docs-coming-from.test.ts'
  const link = (title: string): string => `| x | [a](../../${file}): ${title} |`
  const [there, ofTable] = ['a test that is not there is seen', 'every test that is named for Chord is there']
  const other = `${ofTable}, or not`
  expect(missingTests(namedTests([there, ofTable, other].map(link).join('\n')))).toEqual([{ file, title: other }])
  expect(missingTests(namedTests('[a](../gone.test.ts): x<br>'))).toEqual([{ file: 'gone.test.ts', title: 'x' }])
})
