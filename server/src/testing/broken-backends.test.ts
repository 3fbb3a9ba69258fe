import { expect, test, vi } from 'vitest'
import { brokenArchives } from '../../support/broken-backends/archives.ts'
import { Broken } from '../../support/broken-backends/broken.ts'
import type { BrokenBackend } from '../../support/broken-backends/broken.ts'
import { brokenCommits } from '../../support/broken-backends/commits.ts'
import { brokenLife } from '../../support/broken-backends/life.ts'
import { brokenLocks } from '../../support/broken-backends/locks.ts'
import { PublishingMemory, brokenPublishing } from '../../support/broken-backends/publishing.ts'
import { brokenRaces } from '../../support/broken-backends/races.ts'
import { brokenReads } from '../../support/broken-backends/reads.ts'
import { brokenRows } from '../../support/broken-backends/rows.ts'
import { brokenStreams } from '../../support/broken-backends/streams.ts'
import { brokenUpkeep } from '../../support/broken-backends/upkeep.ts'
import { backendContract } from './backend-contract.ts'
import { SharedMemory } from './shared-memory.ts'

vi.setConfig({ testTimeout: 60_000 })

const broken = {
  ...brokenCommits,
  ...brokenRows,
  ...brokenStreams,
  ...brokenLife,
  ...brokenReads,
  ...brokenLocks,
  ...brokenArchives,
  ...brokenUpkeep,
  ...brokenRaces,
  ...brokenPublishing,
}

/** What would lose or double commits without a word. */
const worst = [
  'the head check is not atomic: it comes before the write',
  'messages are published before they are stored',
  'verdicts are forgotten',
  'the incarnation check is dropped',
  'the log is trimmed above the snapshot',
]

/** Every fact of the contract. */
const facts = backendContract({ create: () => ({ handle: () => new SharedMemory().handle() }) }).map(({ name }) => name)

/** The facts that do not hold of a backend, of those that a pattern names. */
async function failures(Backend: BrokenBackend[0], named: RegExp): Promise<string[]> {
  const cases = backendContract({
    create: () => {
      const shared = new SharedMemory()
      return { handle: () => new Backend(shared.store) }
    },
    patienceMs: 500,
  })
  const failed: string[] = []
  for (const { name, run } of cases) if (named.test(name)) await run().catch(() => failed.push(name))
  return failed
}

test('the same memory backends, not broken, keep the contract', async () => {
  for (const Backend of [Broken, PublishingMemory]) expect(await failures(Backend, /^/)).toEqual([])
})

test('what would lose or double commits is among what is broken', () => {
  expect(worst.filter((name) => !Object.hasOwn(broken, name))).toEqual([])
})

test('each fact of the contract is one that a broken backend does not keep', () => {
  const patterns = Object.values(broken).map(([, fact]) => fact)
  expect(facts.filter((name) => !patterns.some((fact) => fact.test(name)))).toEqual([])
  expect(patterns.filter((fact) => !facts.some((name) => fact.test(name)))).toEqual([])
})

test.each(Object.entries(broken))('the contract is not kept where %s', async (_, [Backend, fact]) => {
  expect(await failures(Backend, fact)).toEqual(facts.filter((name) => fact.test(name)))
})
