import { setImmediate as turn } from 'node:timers/promises'
import { noHead } from '../../backends/backend.ts'
import type { CommitBatch, ContextBackend, SyncResult } from '../../backends/backend.ts'
import {
  at,
  batchOf,
  contextId,
  entriesOf,
  everything,
  fact,
  queryOf,
  recordOf,
  refuse,
  same,
  sessionTtlMs,
  startAt,
  stateAt,
  store,
  storeMany,
  synced,
} from './kit.ts'
import type { KitCase, SyncSpec } from './kit.ts'

const empty = { epoch: 0, last: 0, verdicts: [] }
/** The part of an answer that leads to the head. */
const way = ({ way: name, entries, snapshot }: SyncResult & { type: 'found' }): object => ({ way: name, entries, snapshot })
const noWay = { way: 'same', entries: [], snapshot: null }

/** Syncs that ask for a stream's record in many epochs, with what is left of the answer. */
async function fenceOf(backend: ContextBackend, spec: SyncSpec): Promise<object> {
  const { record, before, rolledBack } = await synced(backend, spec)
  return { record, before, rolledBack }
}

/** The ways to the head (P10), and histories that are gone (P11). */
export const syncCases: readonly KitCase[] = [
  fact('P10: a client at the head is told so', async ({ backend }) => {
    const [, second] = await storeMany(backend, 2)
    const result = await synced(backend, { head: second!.head })
    same(result, { type: 'found', row: (await backend.load(contextId))!.row, record: empty, before: null, rolledBack: false, ...noWay })
  }),

  fact('P10: a context that was never there has no row, and its sync leaves nothing', async ({ backend }) => {
    for (const head of [null, noHead]) {
      same(await synced(backend, { head }), { type: 'found', row: null, record: empty, before: null, rolledBack: false, ...noWay })
    }
    same(await backend.load(contextId), null)
    same(await backend.heads([contextId]), [noHead])
  }),

  fact('P10: a client behind the head gets what it misses', async ({ backend }) => {
    const batches = await storeMany(backend, 6, { pad: 100 })
    for (const known of [null, batches[5]!.head]) {
      const result = await synced(backend, { head: batches[4]!.head, known })
      same(way(result), { way: 'since', entries: entriesOf(batches.slice(5)), snapshot: null })
    }
  }),

  fact('P10: what is smaller is sent: many entries of a small context give way to its state', async ({ backend }) => {
    const batches = [await store(backend)]
    for (let count = 0; count < 20; count += 1) batches.push(await store(backend, { base: batches.at(-1)!.head, pad: 100, snapshot: true }))
    same(way(await synced(backend, { head: batches[15]!.head })), { way: 'stored', entries: [], snapshot: stateAt(21, 100) })
    same(way(await synced(backend, { head: batches[19]!.head, known: batches[20]!.head })), { way: 'known', entries: [], snapshot: null })
  }),

  fact(
    'P10: a client that has nothing gets the state, from what its node has in memory where that is in the history',
    async ({ backend }) => {
      const batches = await storeMany(backend, 4)
      const head = batches[3]!.head
      same(way(await synced(backend)), { way: 'stored', entries: entriesOf(batches.slice(1)), snapshot: stateAt(1) })
      same(way(await synced(backend, { known: head })), { way: 'known', entries: [], snapshot: null })
      same(way(await synced(backend, { known: batches[1]!.head })), { way: 'known', entries: entriesOf(batches.slice(2)), snapshot: null })
      for (const known of [
        { ...head, revision: 'gone' },
        { ...head, incarnation: 'other' },
        { ...head, version: 9 },
        { ...batches[1]!.head, revision: 'gone' },
        noHead,
      ]) {
        same(way(await synced(backend, { known })), { way: 'stored', entries: entriesOf(batches.slice(1)), snapshot: stateAt(1) })
      }
    },
  ),

  fact('a delta answer spans at most as many versions as were asked for', async ({ backend }) => {
    const batches = await storeMany(backend, 4, { statePad: 5_000 })
    const spec = { head: batches[1]!.head, known: batches[3]!.head }
    for (const [maxVersions, expected] of [
      [0, 'since'],
      [3, 'since'],
      [2, 'since'],
      [1, 'known'],
    ] as const) {
      same((await synced(backend, { ...spec, maxVersions })).way, expected, `at most ${maxVersions}`)
    }
  }),

  fact('P10: the record comes with the state of the same moment', async ({ backend, another }) => {
    const writer = await another()
    await store(backend, { pad: 3_000 })
    let head = (await backend.heads([contextId]))[0]!
    const progress = { done: false }
    const writing = writeTwenty(writer, head).finally(() => (progress.done = true))
    while (!progress.done) {
      const result = await synced(backend, { head })
      same(result.record.last, result.row!.head.version - 1, 'each version has its verdict in the record')
      same(result.entries.length, result.row!.head.version - head.version)
      head = result.row!.head
      // A store that answers within the turn would not let the writer write.
      await turn()
    }
    await writing
    same((await synced(backend, { head })).row!.head.version, 21)
  }),

  fact('P10: the record of an expired session is not made by a sync', async ({ backend }) => {
    const { head } = await store(backend)
    const old = { now: startAt + sessionTtlMs + 1, stream: { epoch: 3, told: 2 } }
    same(await backend.sync(queryOf({ ...old, head })), { type: 'expired' })
    same(await backend.sync(queryOf({ ...old, head: { ...head, version: 9 } })), { type: 'expired' })
    same(await backend.sync(queryOf(old)), { type: 'expired' }, 'the syncs before made no record')
    same(await recordOf(backend), empty)
  }),

  fact('P11: a record of another epoch raises the epoch above both, and keeps the verdicts', async ({ backend }) => {
    const { head, members } = await store(backend, { members: [{ stream: at(1) }, { stream: at(2), verdict: 'refused' }] })
    const verdicts = members.map(({ verdict }, index) => [index + 1, verdict])
    const was = { epoch: 0, last: 2, verdicts }
    same(await fenceOf(backend, { head, stream: { epoch: 4 } }), { record: { ...was, epoch: 5 }, before: was, rolledBack: false })
    same(await fenceOf(backend, { head, stream: { epoch: 5, told: 2 } }), { record: { ...was, epoch: 5 }, before: null, rolledBack: false })
    const lower = { head, stream: { epoch: 1, settled: 7 } }
    const raised = { record: { epoch: 6, last: 7, verdicts }, before: { ...was, epoch: 5 }, rolledBack: false }
    same(await fenceOf(backend, lower), raised, 'the last number becomes the settled one where that is higher')
    await store(backend, { base: head, members: [{ stream: at(8, { epoch: 6 }) }] })
  }),

  fact('P11: a record that ends below a number that the client was told raises the epoch', async ({ backend }) => {
    const { head } = await store(backend, { members: [{ stream: at(1) }] })
    same((await synced(backend, { head, stream: { told: 1 } })).before, null)
    const { record, before, rolledBack } = await synced(backend, { head, stream: { told: 3, settled: 2 } })
    same([record.epoch, record.last, before?.last, rolledBack], [1, 2, 1, false])
    same(
      (await refuse(backend, batchOf({ base: head, members: [{ stream: at(4) }] }))).type,
      'members',
      'late commits of the epoch before are fenced',
    )
  }),

  fact('P11: a raised epoch is all that a sync writes, also where the context was never there', async ({ backend }) => {
    const { head } = await store(backend)
    const before = await everything(backend)
    await synced(backend, { head, stream: { epoch: 1 } })
    same(await everything(backend), before)
    const never = { contextId: 'contract:never', stream: { epoch: 1 } }
    same(await fenceOf(backend, never), { record: { epoch: 2, last: 0, verdicts: [] }, before: empty, rolledBack: false })
    same(await fenceOf(backend, { ...never, stream: { epoch: 2 } }), {
      record: { epoch: 2, last: 0, verdicts: [] },
      before: null,
      rolledBack: false,
    })
    same(await backend.load('contract:never'), null)
    const created = await store(backend, { contextId: 'contract:never', members: [{ stream: at(1, { epoch: 2 }) }] })
    same(await backend.heads(['contract:never']), [created.head])
  }),

  fact('P14: a sync is a use of a record where it raises its epoch, and only there', async ({ backend }) => {
    const usedAt = async (): Promise<number> => (await backend.dump(contextId))!.streams[0]!.usedAt
    await store(backend, { members: [{ stream: at(1) }] })
    await synced(backend, { now: startAt + 5, stream: { told: 1 } })
    same(await usedAt(), startAt)
    await synced(backend, { now: startAt + 7, stream: { epoch: 1 } })
    same(await usedAt(), startAt + 7)
  }),

  fact('P11: a head that is not in the history is rolled back: above the head, or with another revision', async ({ backend }) => {
    const batches = await storeMany(backend, 4, { pad: 500 })
    const head = batches[3]!.head
    const gone = [
      { ...head, version: 5, revision: 'gone' },
      { ...head, revision: 'gone' },
      { ...batches[2]!.head, revision: 'gone' },
      { ...batches[0]!.head, revision: 'gone' },
    ]
    for (const [epoch, client] of gone.entries()) {
      const result = await synced(backend, { head: client, stream: { epoch } })
      same([result.rolledBack, result.record.epoch, result.before?.epoch], [true, epoch + 1, epoch], JSON.stringify(client))
      same(way(result), { way: 'stored', entries: entriesOf(batches.slice(1)), snapshot: stateAt(1, 500) })
    }
  }),

  fact('P11: a head of another incarnation, or of a context that is gone, is not rolled back', async ({ backend }) => {
    const { head } = await store(backend)
    for (const client of [
      { ...head, incarnation: 'other', version: 7 },
      { ...head, incarnation: 'other' },
      noHead,
      { ...noHead, revision: 'deleted' },
    ]) {
      const { rolledBack, before, way: name } = await synced(backend, { head: client })
      same([rolledBack, before, name], [false, null, 'stored'], JSON.stringify(client))
    }
    const removed = await store(backend, { base: head, remove: true })
    const result = await synced(backend, { head })
    same([result.rolledBack, result.before, way(result)], [false, null, noWay])
    same(result.row!.head, removed.head)
  }),

  fact('P11: a trimmed log proves nothing: what may have been in it is not rolled back', async ({ backend }) => {
    const batches = await trimmed(backend)
    const known = batches.at(-1)!.head
    const first = (await backend.load(contextId))!.row.firstVersion
    same(first, 5)
    for (const client of [batches[1]!.head, { ...batches[1]!.head, revision: 'gone' }, { ...batches[2]!.head, revision: 'gone' }]) {
      const result = await synced(backend, { head: client, known })
      same([result.rolledBack, result.before, result.way], [false, null, 'known'], JSON.stringify(client))
    }
    same((await synced(backend, { head: batches[first - 2]!.head, known })).way, 'since', 'the log begins right after this head')
    same((await synced(backend, { head: { ...batches[first - 2]!.head, revision: 'gone' }, known })).rolledBack, true)
  }),

  fact('P11: a fence behind a trimmed log is a rollback, one with a head in the log is not', async ({ backend }) => {
    const batches = await trimmed(backend)
    same((await synced(backend, { head: batches[1]!.head, stream: { epoch: 1 } })).rolledBack, true)
    same((await synced(backend, { head: batches[5]!.head, stream: { epoch: 1 } })).rolledBack, false)
    same((await synced(backend, { head: null, stream: { epoch: 1 } })).rolledBack, false)
  }),
]

/** Eight versions, of which the first four have left the log. */
async function trimmed(backend: ContextBackend): Promise<CommitBatch[]> {
  const batches = await storeMany(backend, 7, { pad: 1_000 })
  batches.push(await store(backend, { base: batches[6]!.head, snapshot: true, statePad: 20_000, retention: { maxVersions: 4 } }))
  return batches
}

/** Twenty commits of the stream, one by one. */
async function writeTwenty(backend: ContextBackend, from: CommitBatch['head']): Promise<void> {
  let base = from
  for (let seq = 1; seq <= 20; seq += 1) {
    base = (await store(backend, { base, members: [{ stream: at(seq) }] })).head
    await turn()
  }
}
