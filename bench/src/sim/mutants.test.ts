import { afterAll, expect, test } from 'vitest'
import { catchMutant, mutantTable } from './gate.ts'
import type { Catch } from './gate.ts'
import { mutants } from './mutants.ts'

// Two at a time, each on a thread of its own; a test waits for its turn here.
const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()]
const results = new Map<string, Promise<Catch>>()
mutants.forEach((mutant, index) => {
  const before = lanes[index % lanes.length]!
  const result = before.then(() => catchMutant(mutant))
  results.set(mutant.name, result)
  lanes[index % lanes.length] = result.catch(() => null)
})
const caught = new Map<string, Catch>()

test.each(mutants)('with the rule switched off a check fails: $rule, $name', { timeout: 240_000 }, async ({ name }) => {
  const by = await results.get(name)!
  caught.set(name, by)
  expect(by).not.toBeNull()
})

afterAll(() => {
  console.log(mutantTable(mutants, caught))
})
