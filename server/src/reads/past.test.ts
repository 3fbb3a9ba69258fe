import { diff } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { expect, test } from 'vitest'
import type { LogEntry } from '../backends/backend.ts'
import { fromStored } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import { encodeLogEntry } from '../commits/log-entry.ts'
import { Past } from './past.ts'

const states: readonly JsonObject[] = [{ n: 1 }, { n: 2, a: 'new' }, { n: 3, a: 'new' }, { n: 3, a: 'other' }]
const author = { userId: null, actor: 'test' }

/** The context at a version (from 1), on a history that its revisions name. */
const at = (version: number, life = ''): KnownContext => ({
  ...fromStored(null),
  head: { incarnation: `life${life}`, version, revision: `r${version}${life}` },
  state: states[version - 1]!,
})

/** The entries that lead from a version to another. */
const entries = (from: number, to: number, life = ''): LogEntry[] =>
  states.slice(from, to).map((state, index) =>
    encodeLogEntry({
      version: from + index + 1,
      revision: `r${from + index + 1}${life}`,
      baseRevision: `r${from + index}${life}`,
      committedAt: 0,
      author,
      seq: 0,
      changes: diff(states[from + index - 1]!, state),
    }),
  )

test('reads of the log since one version, for one head, share one', async () => {
  const past = new Past()
  let reads = 0
  const read = async (): Promise<LogEntry[]> => {
    reads += 1
    return []
  }
  await Promise.all([past.log(at(2), 1, read), past.log(at(2), 1, read)])
  expect(reads).toBe(1)
  await Promise.all([past.log(at(2), 1, read), past.log(at(3), 1, read), past.log(at(3), 2, read)])
  expect(reads).toBe(4)
})

test('a delta since the version of the last one does not go back through the log again', () => {
  const past = new Past()
  expect(past.step('a', at(3), entries(1, 3), 'id').delta).toMatchObject({
    baseVersion: 1,
    version: 3,
    changes: diff(states[0]!, states[2]!),
  })
  const unreadable = entries(1, 4).map((entry) => ({ ...entry, text: '' }))
  const step = past.step('a', at(4), unreadable, 'id')
  expect(step.delta).toMatchObject({ baseVersion: 1, version: 4, changes: diff(states[0]!, states[3]!) })
  expect(past.step('a', at(4), unreadable, 'id')).toBe(step)
})

test('another version, or another history, is gone back to', () => {
  const past = new Past()
  past.step('a', at(3), entries(1, 3), 'id')
  expect(past.step('a', at(4), entries(2, 4), 'id').delta.changes).toEqual(diff(states[1]!, states[3]!))
  expect(past.step('a', at(4, '~'), entries(2, 4, '~'), 'id').delta).toMatchObject({ revision: 'r4~' })
  const unreadable = entries(2, 4).map((entry) => ({ ...entry, text: '' }))
  expect(() => past.step('a', at(4), unreadable, 'id')).toThrow(SyntaxError)
})

test('the changes one by one are left out where they are not wanted', () => {
  const { delta, before, after } = new Past().step('a', at(3), entries(1, 3), null)
  expect([delta.changes, before, after]).toEqual([[], states[0], states[2]])
})

/** A batch as it is told once it is stored. */
const batch = (from: number, to: number, life = ''): Parameters<Past['committed']>[0] => ({
  base: at(from, life).head,
  head: at(to, life).head,
  entries: entries(from, to, life),
})
const noRead = async (): Promise<never> => expect.unreachable('the log is not read')

test('a delta leads on by the batches of this node without a look at the log', async () => {
  const past = new Past()
  expect(past.since('a', at(3), { version: 1 }, 0, 'id')).toBeNull()
  past.step('a', at(3), entries(1, 3), 'id')
  past.committed(batch(3, 4))
  await past.follow(at(4), 1, noRead)
  const step = past.since('a', at(4), { version: 1 }, 0, 'id')
  expect(step?.delta).toMatchObject({ baseVersion: 1, version: 4, revision: 'r4', changes: diff(states[0]!, states[3]!) })
  expect(past.since('a', at(4), { version: 1, revision: 'r1' }, 0, 'id')).toBe(step)
})

test('what others committed is read from where the log was last known', async () => {
  const past = new Past()
  past.step('a', at(3), entries(1, 3), 'id')
  expect(past.since('a', at(4), { version: 1 }, 0, 'id')).toBeNull()
  const reads: number[] = []
  await past.follow(at(4), 1, async (after) => {
    reads.push(after)
    return entries(3, 4)
  })
  expect(reads).toEqual([3])
  expect(past.since('a', at(4), { version: 1 }, 0, 'id')?.delta.version).toBe(4)
})

test.each<[string, () => readonly LogEntry[]]>([
  ['has a hole', () => entries(3, 4).slice(1)],
  ['leads elsewhere', () => entries(3, 4, '~')],
])('nothing is known of a log that %s', async (_, log) => {
  const past = new Past()
  past.step('a', at(3), entries(1, 3), 'id')
  await past.follow(at(4), 1, async () => log())
  expect(past.since('a', at(4), { version: 1 }, 0, 'id')).toBeNull()
})

test('the log is read again for another version, revision or life, for one commit, and where entries may be gone', () => {
  const past = new Past()
  past.step('a', at(4), entries(1, 4), 'id')
  expect(past.since('a', at(4), { version: 1 }, 0, 'id')).not.toBeNull()
  expect(past.since('a', at(4), { version: 2 }, 0, 'id')).toBeNull()
  expect(past.since('a', at(4), { version: 1, revision: 'r1~' }, 0, 'id')).toBeNull()
  expect(past.since('a', at(4, '~'), { version: 1 }, 0, 'id')).toBeNull()
  expect(past.since('a', at(4), { version: 1 }, 1, 'id')).toBeNull()
  past.committed({ base: at(4).head, head: at(5).head, entries: [{ ...entries(3, 4)[0]!, text: 'x'.repeat(2_000_000) }] })
  expect(past.since('a', at(5), { version: 1 }, 0, 'id')).toBeNull()
  past.step('b', at(3), entries(2, 3), 'id')
  expect(past.since('b', at(3), { version: 2 }, 0, 'id')).toBeNull()
})
