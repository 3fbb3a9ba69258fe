import { readFileSync } from 'node:fs'
import { redisAclRules } from 'contextd/backends/redis'
import { expect, test } from 'vitest'
import { missingTests, namedTests } from '../support/named-tests.ts'
import type { NamedTest } from '../support/named-tests.ts'

const docs = new URL('../../docs/', import.meta.url)
const read = (name: string): string => readFileSync(new URL(name, docs), 'utf8')

/** Faults that every release is tested for. */
const faults = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 18, 19, 20, 28, 29, 32, 33, 34, 43].map((number) => `F${number}`)

/** The tests that the table names, by fault. */
const named = (): Map<string, NamedTest[]> =>
  new Map([...read('reliability.md').matchAll(/^\| (F\d+) \|.*$/gm)].map(([row, fault]) => [fault!, namedTests(row)]))

test('every fault of the table has a test that bears its number, and is there', () => {
  const tests = named()
  expect(faults.filter((fault) => !tests.get(fault)?.length)).toEqual([])
  const other = [...tests].filter(([fault, list]) => !list.every(({ title }) => title.split(':')[0]!.split(', ').includes(fault)))
  expect(other).toEqual([])
  expect(missingTests([...tests.values()].flat())).toEqual([])
})

test('the guide of the backends has the ACL rules as they are', () => {
  expect(read('guides/backends.md')).toContain(`ACL SETUSER contextd on >password ${redisAclRules()}\n`)
})
