import type { StreamPosition } from '../../backends/backend.ts'
import { recordGraceMs, recordsPrunedPerStep } from '../../commits/commit-step.ts'
import {
  appliedAt,
  at,
  batchOf,
  contextId,
  fact,
  hourMs,
  queryOf,
  recordOf,
  refuse,
  same,
  sessionTtlMs,
  startAt,
  store,
  storeMany,
  synced,
} from './kit.ts'
import type { KitCase } from './kit.ts'

const stream = (seq: number, more: Partial<StreamPosition> = {}): { stream: StreamPosition } => ({ stream: at(seq, more) })
const answer = (member: number, type: 'gap' | 'fenced' | 'expired'): object => ({ member, answer: { type } })

/** Numbers, verdicts, records (P3–P6, P14). */
export const streamCases: readonly KitCase[] = [
  fact('P4: a number that has a verdict is told the same again, with all that it says', async ({ backend }) => {
    const { head: base } = await store(backend)
    const verdictKinds = ['applied', 'nothing', 'refused', 'applied'] as const
    const batch = await store(backend, { base, members: verdictKinds.map((verdict, index) => ({ ...stream(index + 1), verdict })) })
    for (const [index, { verdict }] of batch.members.entries()) {
      const repeat = batchOf({ base: batch.head, members: [stream(index + 1)] })
      same(await refuse(backend, repeat), { type: 'members', answers: [{ member: 0, answer: { type: 'repeat', verdict } }] })
    }
  }),

  fact(
    'P4: a record holds every verdict above the settled number; a repeat below it is told applied, without a head',
    async ({ backend }) => {
      const { head: base } = await store(backend)
      const first = await store(backend, { base, members: [stream(1), { ...stream(2), verdict: 'refused' }, stream(3)] })
      const second = await store(backend, { base: first.head, members: [stream(4, { settled: 2 })] })
      const verdicts = [
        [3, first.members[2]!.verdict],
        [4, second.members[0]!.verdict],
      ]
      same(await recordOf(backend), { epoch: 0, last: 4, verdicts })
      const repeat = batchOf({ base: second.head, members: [stream(2, { settled: 2 })] })
      same(await refuse(backend, repeat), {
        type: 'members',
        answers: [{ member: 0, answer: { type: 'repeat', verdict: appliedAt(null) } }],
      })
      await store(backend, { base: second.head, members: [stream(5, { settled: 5 })] })
      same(await recordOf(backend), { epoch: 0, last: 5, verdicts: [] }, 'a number settled before it comes leaves no verdict')
    },
  ),

  fact('P5: a number after a missing one is a gap', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [stream(1)] })
    same(await refuse(backend, batchOf({ base, members: [stream(3)] })), { type: 'members', answers: [answer(0, 'gap')] })
    const fresh = batchOf({ base, members: [stream(2, { key: 'stream-2' })] })
    same(await refuse(backend, fresh), { type: 'members', answers: [answer(0, 'gap')] }, 'a stream begins at 1')
    await store(backend, { base, members: [stream(2)] })
  }),

  fact('P5: a number of another epoch is fenced, lower or higher, repeat or not', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [stream(1)] })
    await synced(backend, { stream: { epoch: 2 } })
    for (const [epoch, seq] of [
      [0, 1],
      [2, 2],
      [4, 2],
      [4, 1],
      [4, 9],
    ] as const) {
      const batch = batchOf({ base, members: [stream(seq, { epoch })] })
      same(await refuse(backend, batch), { type: 'members', answers: [answer(0, 'fenced')] }, `epoch ${epoch}, seq ${seq}`)
    }
    await store(backend, { base, members: [stream(2, { epoch: 3 })] })
    same((await recordOf(backend, { epoch: 3 })).epoch, 3)
  }),

  fact('P5: a session minted more than its life ago begins no record', async ({ backend }) => {
    const { head: base } = await store(backend)
    const late = startAt + sessionTtlMs
    for (const epoch of [0, 1]) {
      const batch = batchOf({ base, now: late + 1, members: [stream(1, { epoch })] })
      same(await refuse(backend, batch), { type: 'members', answers: [answer(0, 'expired')] })
    }
    const { head } = await store(backend, { base, now: late, members: [stream(1)] })
    await store(backend, { base: head, now: late + hourMs, members: [stream(2)] })
  }),

  fact('P5: a stream is looked at before the head is', async ({ backend }) => {
    const [first, second] = await storeMany(backend, 2)
    const batch = await store(backend, { base: second!.head, members: [stream(1)] })
    const verdict = batch.members[0]!.verdict
    const { head: stale } = first!
    const repeat = { type: 'members', answers: [{ member: 0, answer: { type: 'repeat', verdict } }] }
    same(await refuse(backend, batchOf({ base: stale, members: [stream(1)] })), repeat)
    same(await refuse(backend, batchOf({ base: stale, members: [stream(3)] })), { type: 'members', answers: [answer(0, 'gap')] })
    same((await refuse(backend, batchOf({ base: stale, members: [stream(2)] }))).type, 'conflict')
  }),

  fact('P6: a batch with a repeat, a gap or a fence writes nothing, and is told all of them', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [stream(1)] })
    const { verdict } = (await store(backend, { base, members: [{ ...stream(2), verdict: 'refused' }] })).members[0]!
    const members = [
      stream(1, { key: 'fresh' }),
      stream(2),
      stream(3),
      stream(5),
      stream(6),
      {},
      stream(1, { key: 'fenced', epoch: 1 }),
      stream(1, { key: 'old', mintedAt: startAt - sessionTtlMs - 1 }),
    ]
    const result = await refuse(backend, batchOf({ base, members }))
    const answers = [
      { member: 1, answer: { type: 'repeat', verdict } },
      answer(3, 'gap'),
      answer(4, 'gap'),
      answer(6, 'fenced'),
      answer(7, 'expired'),
    ]
    same(result, { type: 'members', answers })
    same((await recordOf(backend)).last, 2)
    same(await recordOf(backend, { key: 'fresh' }), { epoch: 0, last: 0, verdicts: [] })
  }),

  fact('P6: a number that is twice in a batch is a repeat of itself', async ({ backend }) => {
    const { head: base } = await store(backend)
    const batch = batchOf({ base, members: [stream(1), stream(1)] })
    const repeat = { member: 1, answer: { type: 'repeat', verdict: batch.members[0]!.verdict } }
    same(await refuse(backend, batch), { type: 'members', answers: [repeat] })
    same((await recordOf(backend)).last, 0)
  }),

  fact('P6: numbers of several streams go in one batch, each in its order', async ({ backend }) => {
    const two = { key: 'stream-2' }
    const batch = await store(backend, { members: [stream(1), stream(1, two), stream(2), stream(2, two), stream(3)] })
    same(
      (await recordOf(backend)).verdicts,
      [0, 2, 4].map((index, seq) => [seq + 1, batch.members[index]!.verdict]),
    )
    same(
      (await recordOf(backend, two)).verdicts,
      [1, 3].map((index, seq) => [seq + 1, batch.members[index]!.verdict]),
    )
  }),

  fact('P3: a session has a stream of its own in each context', async ({ backend }) => {
    await store(backend, { members: [stream(1), stream(2)] })
    await store(backend, { contextId: 'contract:2', members: [stream(1)] })
    same((await recordOf(backend)).last, 2)
    same((await recordOf(backend, {}, 'contract:2')).last, 1)
  }),

  fact('G3: a number that is sent by two handles at once is stored once', async ({ backend, another }) => {
    const other = await another()
    let { head: base } = await store(backend)
    for (let seq = 1; seq <= 10; seq += 1) {
      const batches = [batchOf({ base, members: [stream(seq)] }), batchOf({ base, members: [stream(seq)] })]
      const results = await Promise.all([backend.commit(batches[0]!), other.commit(batches[1]!)])
      const winner = results.findIndex(({ type }) => type === 'committed')
      const { verdict } = batches[winner]!.members[0]!
      same(results[1 - winner], { type: 'members', answers: [{ member: 0, answer: { type: 'repeat', verdict } }] })
      base = batches[winner]!.head
    }
    same((await backend.heads([contextId]))[0]!.version, 11)
  }),

  fact('P14: a step removes at most eight records past their time, those first that were used longest ago', async ({ backend }) => {
    let { head: base } = await store(backend)
    const keys = Array.from({ length: 12 }, (_, index) => `stream-${String.fromCharCode(97 + ((index * 5) % 12))}`)
    for (const [index, key] of keys.entries()) {
      base = (await store(backend, { base, now: startAt + index, members: [{ ...stream(1, { key }), verdict: 'refused' }] })).head
    }
    const expired = async (now: number): Promise<string[]> => {
      const results = await Promise.all(keys.map((key) => backend.sync(queryOf({ now, stream: { key } }))))
      return keys.filter((_, index) => results[index]!.type === 'expired')
    }
    const due = startAt + sessionTtlMs + recordGraceMs
    base = (await store(backend, { base, now: due })).head
    same(await expired(due), [], 'none is past its time yet')
    await refuse(backend, batchOf({ base: { ...base, revision: 'other' }, now: due + 20 }))
    same(await expired(due + 20), [], 'a step that stores nothing removes nothing')
    base = (await store(backend, { base, now: due + 20 })).head
    same(await expired(due + 20), keys.slice(0, recordsPrunedPerStep))
    base = (await store(backend, { base, now: due + 9 })).head
    same(await expired(due + 20), keys.slice(0, 9), 'one more was past its time by the clock of that step')
    await store(backend, { base, now: due + 20 })
    same(await expired(due + 20), keys)
  }),

  fact('P14: a record that is used lives on', async ({ backend }) => {
    let { head: base } = await store(backend, { members: [stream(1)] })
    const later = startAt + sessionTtlMs + recordGraceMs - 1
    base = (await store(backend, { base, now: later, members: [{ ...stream(2), verdict: 'nothing' }] })).head
    await store(backend, { base, now: later + sessionTtlMs })
    same((await recordOf(backend)).last, 2)
  }),
]
