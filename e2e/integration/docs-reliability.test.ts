import { existsSync, readFileSync } from 'node:fs'
import { redisAclRules } from 'contextd/backends/redis'
import { expect, test } from 'vitest'

const docs = new URL('../../docs/', import.meta.url)
const read = (name: string): string => readFileSync(new URL(name, docs), 'utf8')

/** Faults that every release is tested for. */
const faults = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 18, 19, 20, 33, 43].map((number) => `F${number}`)

/** The tests that the table names, by fault. */
function named(): Map<string, { file: string; title: string }[]> {
  const rows = [...read('reliability.md').matchAll(/^\| (F\d+) \|.*\| ([^|]*) \|$/gm)]
  return new Map(
    rows.map(([, fault, cell]) => [
      fault!,
      [...cell!.matchAll(/\[[^\]]+\]\(\.\.\/([^)]+)\): (.*?)(?=<br>|$)/g)].map(([, file, title]) => ({ file: file!, title: title! })),
    ]),
  )
}

test('every fault of the table has a test that bears its number, and is there', () => {
  const tests = named()
  expect(faults.filter((fault) => !tests.get(fault)?.length)).toEqual([])
  const missing: string[] = []
  for (const [fault, list] of tests) {
    for (const { file, title } of list) {
      const at = new URL(`../${file}`, docs)
      const bears = title.split(':')[0]!.split(', ').includes(fault)
      if (!bears || !existsSync(at) || !readFileSync(at, 'utf8').includes(`'${title}'`)) missing.push(`${fault}: ${file}: ${title}`)
    }
  }
  expect(missing).toEqual([])
})

test('the guide of the backends has the ACL rules as they are', () => {
  expect(read('guides/backends.md')).toContain(`ACL SETUSER contextd on >password ${redisAclRules()}\n`)
})
