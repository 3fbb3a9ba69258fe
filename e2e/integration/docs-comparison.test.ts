import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { missingTests, namedTests } from '../support/named-tests.ts'

const page = readFileSync(new URL('../../docs/reference/comparison.md', import.meta.url), 'utf8')

test('every row of the comparison names a test that is there, and says something of everybody', () => {
  const [head, , ...rows] = page.split('\n').filter((line) => line.startsWith('|'))
  const columns = head!.split('|').length
  expect(rows.length).toBeGreaterThan(10)
  expect(rows.filter((row) => namedTests(row).length !== 1 || row.split('|').length !== columns)).toEqual([])
  expect(rows.flatMap((row) => row.split('|').slice(2, -2)).filter((cell) => !['yes', 'part', '–'].includes(cell.trim()))).toEqual([])
  expect(missingTests(namedTests(page))).toEqual([])
})
