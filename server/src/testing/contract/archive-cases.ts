import type { RestoreBatch, StoredStream } from '../../backends/backend.ts'
import { noHead } from '../../backends/backend.ts'
import {
  appliedAt,
  at,
  author,
  batchOf,
  contextId,
  everything,
  fact,
  freshToken,
  hourMs,
  recordOf,
  refuse,
  refused,
  same,
  sessionTtlMs,
  startAt,
  stateAt,
  store,
  storeMany,
  synced,
} from './kit.ts'
import type { Kit, KitCase } from './kit.ts'
import { held, take, told } from './lock-kit.ts'

type Backend = Kit['backend']

/** Makes a restore: of a context of version 7, unless said otherwise. */
export function restoreOf(spec: Partial<RestoreBatch> = {}): RestoreBatch {
  const token = freshToken()
  const head = { incarnation: `i-${token}`, version: 7, revision: `r-${token}` }
  return {
    contextId,
    base: null,
    head,
    now: startAt,
    sessionTtlMs,
    createdAt: startAt - 5 * hourMs,
    updatedAt: startAt - hourMs,
    updatedBy: author,
    schema: 2,
    snapshot: stateAt(7),
    streams: [],
    message: null,
    ...spec,
  }
}

/** Restores a context, which must succeed; returns the batch. */
async function restore(backend: Backend, spec: Partial<RestoreBatch> = {}): Promise<RestoreBatch> {
  const batch = restoreOf(spec)
  same(await backend.restore(batch), { type: 'restored' }, 'the context is restored')
  return batch
}

const recordAt = (key: string, record: Partial<StoredStream> = {}): StoredStream => ({
  key,
  epoch: 2,
  last: 5,
  verdicts: [
    [4, appliedAt({ incarnation: 'é😀', version: 6, revision: 'r6' })],
    [5, refused],
  ],
  usedAt: startAt - hourMs,
  ...record,
})

/** The row of a restored context, which has no log. */
const rowOf = ({ head, createdAt, updatedAt, updatedBy, schema, snapshot }: RestoreBatch): object => {
  const sizes = {
    snapshotVersion: head.version,
    snapshotSize: snapshot.length,
    firstVersion: head.version + 1,
    logSize: 0,
    sinceSnapshotSize: 0,
  }
  return { head, createdAt, updatedAt, updatedBy, ...sizes, schema, restored: true }
}

/** What an archive is made of, and a context that is put back from one (P13). */
export const archiveCases: readonly KitCase[] = [
  fact('P13: a dump has the state, the entries above it, and all records with their last use, by key', async ({ backend }) => {
    const first = await store(backend, { members: [{ stream: at(1, { key: 'b' }) }, { stream: at(1, { key: 'B' }) }] })
    const members = [{ stream: at(1, { key: 'a' }) }, { stream: at(2, { key: 'b' }), verdict: 'refused' as const }]
    const second = await store(backend, { base: first.head, now: startAt + 9, members, schema: 4 })
    const { stored, streams } = (await backend.dump(contextId))!
    same(stored, await backend.load(contextId))
    same([stored.snapshot, stored.entries, stored.row.schema], [stateAt(2), second.entries, 4])
    const verdicts = [...first.members, ...second.members].map(({ verdict }) => verdict)
    same(streams, [
      { key: 'B', epoch: 0, last: 1, verdicts: [[1, verdicts[1]]], usedAt: startAt },
      { key: 'a', epoch: 0, last: 1, verdicts: [[1, verdicts[2]]], usedAt: startAt + 9 },
      {
        key: 'b',
        epoch: 0,
        last: 2,
        verdicts: [
          [1, verdicts[0]],
          [2, verdicts[3]],
        ],
        usedAt: startAt + 9,
      },
    ])
  }),

  fact('an absent context has no dump', async ({ backend }) => {
    same(await backend.dump(contextId), null)
    const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
    await store(backend, { base, remove: true })
    same(await backend.dump(contextId), null)
    await store(backend, { contextId: 'contract:refused', members: [{ stream: at(1), verdict: 'refused' }] })
    same(await backend.dump('contract:refused'), null)
  }),

  fact(
    'P13: a context is restored with its incarnation, version and revision, and all that is known of it',
    async ({ backend, another }) => {
      const odd = JSON.stringify({ text: '\u0000\u2028é😀\ud800 "\\\n', long: 'ü'.repeat(100_000), '🔑': null })
      const batch = await restore(backend, { snapshot: odd })
      const other = await another()
      same(await other.load(contextId), { row: rowOf(batch), snapshot: odd, entries: [] })
      same([await other.heads([contextId]), await other.log(contextId, 0)], [[batch.head], []])
      const { version, revision } = batch.head
      const { createdAt, updatedAt } = batch
      const listed = await other.list({ limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 })
      same(listed, [{ contextId, version, revision, createdAt, updatedAt }])
      same(await other.dump(contextId), { stored: await other.load(contextId), streams: [] })
      const found = await synced(other, { head: null })
      same([found.way, found.snapshot, found.entries, found.rolledBack], ['stored', odd, [], false])
    },
  ),

  fact('P13: records come with the archive: what was answered before is answered again', async ({ backend }) => {
    const streams = [recordAt('stream-1'), recordAt('stream-2', { epoch: 0, last: 1, verdicts: [] })]
    const { head } = await restore(backend, { streams })
    same((await backend.dump(contextId))!.streams, streams)
    const { epoch, last, verdicts } = streams[0]!
    same(await recordOf(backend, { epoch: 2 }), { epoch, last, verdicts })
    const repeat = batchOf({ base: head, members: [{ stream: at(5, { epoch: 2 }) }, { stream: at(1, { key: 'stream-2' }) }] })
    const answers = [refused, appliedAt(null)].map((verdict, member) => ({ member, answer: { type: 'repeat', verdict } }))
    same(await refuse(backend, repeat), { type: 'members', answers })
    await store(backend, { base: head, members: [{ stream: at(6, { epoch: 2 }) }] })
  }),

  fact('P13: of two records of one stream the newer stays, whichever of them is in the archive', async ({ backend }) => {
    const old = await store(backend, { now: startAt + 3, members: [{ stream: at(1) }, { stream: at(2), verdict: 'refused' }] })
    const verdicts = old.members.map(({ verdict }, index) => [index + 1, verdict])
    const older = [recordAt('stream-1', { epoch: 0, last: 1, verdicts: [] }), recordAt('stream-2'), recordAt('stream-0')]
    await restore(backend, { streams: older })
    const mine = { key: 'stream-1', epoch: 0, last: 2, verdicts, usedAt: startAt + 3 }
    same((await backend.dump(contextId))!.streams, [recordAt('stream-0'), mine, recordAt('stream-2')])
    await restore(backend, { streams: [recordAt('stream-1', { epoch: 0, last: 2, verdicts: [] })] })
    same((await backend.dump(contextId))!.streams[1], mine)

    const longer = recordAt('stream-1', { epoch: 0 })
    await restore(backend, { streams: [longer, recordAt('stream-0', { epoch: 1, last: 9, verdicts: [] })] })
    same((await backend.dump(contextId))!.streams, [recordAt('stream-0'), longer, recordAt('stream-2')])
    const raised = recordAt('stream-1', { epoch: 1, last: 3, verdicts: [[2, refused]] })
    await restore(backend, { streams: [raised] })
    same((await backend.dump(contextId))!.streams, [recordAt('stream-0'), raised, recordAt('stream-2')])
    const { epoch, last, verdicts: known } = raised
    same(await recordOf(backend, { epoch: 1 }), { epoch, last, verdicts: known })
    await restore(backend)
    same((await backend.dump(contextId))!.streams.length, 3)
  }),

  fact('P13: the log goes, and what was computed on the head before conflicts with no way to the new one', async ({ backend }) => {
    const old = await storeMany(backend, 3)
    // The same incarnation and a higher version: an archive of this very context.
    const head = { ...old[2]!.head, version: 7, revision: 'archived' }
    const batch = await restore(backend, { base: old[2]!.head, head })
    same(await backend.load(contextId), { row: rowOf(batch), snapshot: batch.snapshot, entries: [] })
    for (const after of [0, 2, 6, 7]) same(await backend.log(contextId, after), [])
    for (const { head: base } of old) same(await refuse(backend, batchOf({ base })), { type: 'conflict', head, missed: null })
    const behind = await synced(backend, { head: old[1]!.head, known: old[2]!.head })
    same([behind.way, behind.snapshot, behind.entries, behind.rolledBack], ['stored', batch.snapshot, [], false])
    const next = await store(backend, { base: head, now: startAt + 1 })
    same([next.head.version, await backend.log(contextId, 0)], [8, next.entries])
    same((await synced(backend, { head })).way, 'since')
  }),

  fact('P13: a context is restored only on the head that was named; none named: on any', async ({ backend }) => {
    const { head } = await store(backend, { members: [{ stream: at(1) }] })
    const streams = [recordAt('stream-9')]
    const others = [noHead, { ...head, revision: 'other' }, { ...head, version: 2 }, { ...head, incarnation: 'other' }]
    const before = [await everything(backend), await backend.dump(contextId)]
    for (const base of others) {
      same(await backend.restore(restoreOf({ base, streams })), { type: 'conflict', head }, JSON.stringify(base))
      same([await everything(backend), await backend.dump(contextId)], before, 'a refused restore changes nothing')
    }
    await restore(backend, { base: head })
    const { head: any } = await restore(backend)
    const removed = await store(backend, { base: any, remove: true })
    same(await backend.restore(restoreOf({ base: noHead })), { type: 'conflict', head: removed.head })
    await restore(backend, { base: removed.head })
    await restore(backend, { contextId: 'contract:2', base: noHead })
  }),

  fact('a row says that its life began from an archive, until it ends', async ({ backend }) => {
    const restoredOf = async (): Promise<boolean> => (await backend.load(contextId))!.row.restored
    const { head: first } = await store(backend)
    same(await restoredOf(), false)
    const { head } = await restore(backend, { base: first })
    const next = await store(backend, { base: head, members: [{ stream: at(1), verdict: 'refused' }] })
    const third = await store(backend, { base: next.head, snapshot: true, schema: 5 })
    same([await restoredOf(), (await synced(backend)).row!.restored], [true, true])
    same((await backend.load(contextId))!.row.schema, 5)
    const removed = await store(backend, { base: third.head, remove: true })
    same(await restoredOf(), false)
    await store(backend, { base: removed.head })
    same(await restoredOf(), false)
  }),

  fact('P11: a client whose head is above the restored one, or beside it, is rolled back', async ({ backend }) => {
    const old = await storeMany(backend, 9)
    await restore(backend, { head: { ...old[6]!.head } })
    const { rolledBack, row } = await synced(backend, { head: old[8]!.head })
    same([rolledBack, row!.restored], [true, true])
    same((await synced(backend, { head: { ...old[6]!.head, revision: 'other' }, stream: { epoch: 1 } })).rolledBack, true)
    same((await synced(backend, { head: old[6]!.head, stream: { epoch: 2 } })).rolledBack, false)
  }),

  fact('an archive has nothing to do with locks: they stay as they are', async ({ backend }) => {
    const lock = await take(backend, 'a')
    await restore(backend)
    same(await held(backend), [told(lock)])
    same((await take(backend, 'b', { key: 'doc2' })).token, startAt + 1)
  }),

  fact('P13: what is restored into another store is what was there: state, head and records', async ({ backend }) => {
    const batches = await storeMany(backend, 3, { statePad: 50 })
    await store(backend, { base: batches[2]!.head, snapshot: true, members: [{ stream: at(1) }, { stream: at(2), verdict: 'refused' }] })
    const { stored, streams } = (await backend.dump(contextId))!
    const { head, createdAt, updatedAt, updatedBy, schema } = stored.row
    const batch = { head, createdAt, updatedAt, updatedBy, schema, streams, snapshot: stored.snapshot! }
    await restore(backend, { ...batch, contextId: 'contract:copy', base: noHead })
    same((await backend.dump('contract:copy'))!.streams, streams)
    const found = await synced(backend, { contextId: 'contract:copy', head })
    same([found.way, found.record.last, found.rolledBack], ['same', 2, false])
    await store(backend, { contextId: 'contract:copy', base: head, members: [{ stream: at(3) }] })
  }),
]
