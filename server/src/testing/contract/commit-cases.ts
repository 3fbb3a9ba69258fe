import { noHead } from '../../backends/backend.ts'
import type { CommitBatch, CommitResult, ContextBackend } from '../../backends/backend.ts'
import {
  at,
  author,
  batchOf,
  contextId,
  entriesOf,
  everything,
  fact,
  otherAuthor,
  recordOf,
  refuse,
  same,
  stateAt,
  store,
  storeMany,
  startAt,
} from './kit.ts'
import type { KitCase } from './kit.ts'

/** Order, atomicity and conflicts (P1, P5, P6, P7). */
export const commitCases: readonly KitCase[] = [
  fact('P1: versions of a context are 1, 2, 3, … without a hole', async ({ backend }) => {
    const batches: CommitBatch[] = []
    for (const length of [1, 3, 1, 2, 5]) {
      const members = Array.from({ length }, () => ({}))
      batches.push(await store(backend, { base: batches.at(-1)?.head ?? noHead, members }))
      same(await backend.heads([contextId]), [batches.at(-1)!.head])
    }
    const log = await backend.log(contextId, 0)
    same(log, entriesOf(batches))
    same(
      log.map(({ version }) => version),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    )
  }),

  fact('a created context is stored with its snapshot and all that is known of it', async ({ backend }) => {
    const { head, entries } = await store(backend, { members: [{}, {}], schema: 3 })
    const size = entries[0]!.text.length + entries[1]!.text.length
    const times = { createdAt: startAt, updatedAt: startAt, updatedBy: author }
    const snapshot = stateAt(2)
    const sizes = { snapshotVersion: 2, snapshotSize: snapshot.length, firstVersion: 1, logSize: size, sinceSnapshotSize: 0 }
    same(await backend.load(contextId), { row: { head, ...times, ...sizes, schema: 3, restored: false }, snapshot, entries: [] })
  }),

  fact('a row says who wrote last, and of what its state is', async ({ backend }) => {
    const { head: first } = await store(backend, { schema: 1, updatedBy: otherAuthor })
    const { head: second } = await store(backend, { base: first, schema: 3, snapshot: true, pad: 40 })
    const stored = (await backend.load(contextId))!
    same([stored.row.updatedBy, stored.row.schema, stored.row.snapshotSize], [author, 3, stateAt(2, 40).length])
    await store(backend, { base: second, schema: 2, updatedBy: { userId: null, actor: 'server' } })
    const { row } = (await backend.load(contextId))!
    same([row.updatedBy, row.schema, row.snapshotSize], [{ userId: null, actor: 'server' }, 2, stateAt(2, 40).length])
  }),

  fact('a context is loaded as its newest snapshot and the entries above it', async ({ backend }) => {
    const [first, second] = await storeMany(backend, 2, { now: startAt })
    const third = await store(backend, { base: second!.head, snapshot: true, now: startAt + 5 })
    const fourth = await store(backend, { base: third.head, now: startAt + 6 })
    const stored = await backend.load(contextId)
    same(stored!.snapshot, stateAt(3))
    same(stored!.entries, fourth.entries)
    const { createdAt, updatedAt, snapshotVersion, firstVersion, logSize, sinceSnapshotSize } = stored!.row
    same(
      { createdAt, updatedAt, snapshotVersion, firstVersion },
      { createdAt: startAt, updatedAt: startAt + 6, snapshotVersion: 3, firstVersion: 1 },
    )
    const texts = entriesOf([first!, second!, third, fourth]).map(({ text }) => text.length)
    same({ logSize, sinceSnapshotSize }, { logSize: texts.reduce((sum, size) => sum + size, 0), sinceSnapshotSize: texts[3] })
  }),

  fact('the log is read from any version on', async ({ backend }) => {
    const all = entriesOf(await storeMany(backend, 5))
    for (const after of [0, 1, 4, 5, 6, 1_000]) same(await backend.log(contextId, after), all.slice(after), `after ${after}`)
    same(await backend.log('contract:unknown', 0), [])
  }),

  fact('texts come back as they were given', async ({ backend }) => {
    const batch = batchOf({ members: [{ stream: at(1) }] })
    const odd = JSON.stringify({ text: '\u0000\u2028é😀\ud800 "\\\n', long: 'ü'.repeat(300_000), '🔑': null, number: 1e-7, big: 2 ** 53 })
    const entries = batch.entries.map((entry) => ({ ...entry, text: entry.text.replace(/\]$/, `,${odd}]`) }))
    same(await backend.commit({ ...batch, entries, snapshot: odd }), { type: 'committed' })
    same((await backend.load(contextId))!.snapshot, odd)
    same(await backend.log(contextId, 0), entries)
    same((await backend.load(contextId))!.row.logSize, entries[0]!.text.length, 'sizes are counted in UTF-16 units')
  }),

  fact('P1: a batch is stored only on its base: incarnation, version and revision are all compared', async ({ backend }) => {
    const [, second] = await storeMany(backend, 2)
    const head = second!.head
    const others = [
      { ...head, incarnation: 'other' },
      { ...head, version: 1 },
      { ...head, version: 3 },
      { ...head, revision: 'other' },
      noHead,
    ]
    for (const base of others)
      same(await refuse(backend, batchOf({ base })), { type: 'conflict', head, missed: null }, JSON.stringify(base))
    await store(backend, { base: head })
  }),

  fact('P5: a conflict answers what was missed since the base', async ({ backend }) => {
    const batches = await storeMany(backend, 5, { members: [{}, {}] })
    const head = batches[4]!.head
    for (const known of [0, 2, 3]) {
      const missed = entriesOf(batches.slice(known + 1))
      same(await refuse(backend, batchOf({ base: batches[known]!.head })), { type: 'conflict', head, missed })
    }
  }),

  fact('P5: a conflict on a base that is not in the history answers no way to the head', async ({ backend }) => {
    const batches = await storeMany(backend, 4)
    const { head } = batches[3]!
    const gone = { ...batches[1]!.head, revision: 'gone' }
    same(await refuse(backend, batchOf({ base: gone })), { type: 'conflict', head, missed: null })
  }),

  fact('P5: a batch without a delta checks the head too, and writes no verdict on another', async ({ backend }) => {
    const [first, second] = await storeMany(backend, 2)
    const batch = batchOf({ base: first!.head, members: [{ stream: at(1), verdict: 'nothing' }] })
    same(await refuse(backend, batch), { type: 'conflict', head: second!.head, missed: second!.entries })
    same(await recordOf(backend), { epoch: 0, last: 0, verdicts: [] })
  }),

  fact('P5: a batch that conflicts leaves no verdict', async ({ backend }) => {
    const [first, second] = await storeMany(backend, 2)
    const members = [{ stream: at(1) }, { stream: at(2), verdict: 'refused' as const }, { stream: at(1, { key: 'stream-2' }) }]
    for (const base of [first!.head, noHead]) same((await refuse(backend, batchOf({ base, members }))).type, 'conflict')
    for (const key of ['stream-1', 'stream-2']) same(await recordOf(backend, { key }), { epoch: 0, last: 0, verdicts: [] })
    await store(backend, { base: second!.head, members })
  }),

  fact(
    'P6: members that are refused or change nothing are left out of the versions, and get their verdicts by the same step',
    async ({ backend }) => {
      const { head: base } = await store(backend)
      const members = [
        { stream: at(1), verdict: 'refused' as const },
        { stream: at(2) },
        { stream: at(3), verdict: 'nothing' as const },
        { stream: at(1, { key: 'stream-2' }) },
        {},
      ]
      const batch = await store(backend, { base, members })
      same(batch.head.version, 4)
      same(await backend.log(contextId, 1), batch.entries)
      const verdicts = batch.members.map(({ verdict }) => verdict)
      same(await recordOf(backend), {
        epoch: 0,
        last: 3,
        verdicts: [
          [1, verdicts[0]],
          [2, verdicts[1]],
          [3, verdicts[2]],
        ],
      })
      same(await recordOf(backend, { key: 'stream-2' }), { epoch: 0, last: 1, verdicts: [[1, verdicts[3]]] })
    },
  ),

  fact('P6: a batch in which nothing is applied leaves the context as it is', async ({ backend }) => {
    const { head: base } = await store(backend)
    const before = await everything(backend)
    const members = [{ stream: at(1), verdict: 'refused' as const }, { verdict: 'nothing' as const }]
    await store(backend, { base, now: startAt + 9, members, updatedBy: otherAuthor })
    same(await everything(backend), before)
    same((await recordOf(backend)).last, 1)
  }),

  fact('P7: a batch of the server given again is not stored again, and finds its revision among what it missed', async ({ backend }) => {
    const { head: base } = await store(backend)
    const batch = await store(backend, { base })
    same(await refuse(backend, batch), { type: 'conflict', head: batch.head, missed: batch.entries })
    const next = await store(backend, { base: batch.head })
    same(await refuse(backend, batch), { type: 'conflict', head: next.head, missed: entriesOf([batch, next]) })
  }),

  fact('P6: a batch of a stream given again is not stored again, and gets its verdicts', async ({ backend }) => {
    const { head: base } = await store(backend)
    const batch = await store(backend, { base, members: [{ stream: at(1) }, { stream: at(2), verdict: 'refused' }] })
    await store(backend, { base: batch.head })
    const answers = batch.members.map(({ verdict }, member) => ({ member, answer: { type: 'repeat', verdict } }))
    same(await refuse(backend, batch), { type: 'members', answers })
  }),

  fact('of batches that race on one base exactly one is stored', async ({ backend, another }) => {
    const handles = [backend, await another()]
    let base = noHead
    for (let round = 0; round < 12; round += 1) {
      const batches = Array.from({ length: 8 }, () => batchOf({ base }))
      const results = await Promise.all(batches.map((batch, index) => handles[index % 2]!.commit(batch)))
      const winners = batches.filter((_, index) => results[index]!.type === 'committed')
      same(winners.length, 1, 'one batch is stored')
      const conflict: CommitResult = { type: 'conflict', head: winners[0]!.head, missed: base.version === 0 ? null : winners[0]!.entries }
      for (const result of results) if (result.type !== 'committed') same(result, conflict)
      base = winners[0]!.head
    }
    same(
      (await backend.log(contextId, 0)).map(({ version }) => version),
      Array.from({ length: 12 }, (_, index) => index + 1),
    )
  }),

  fact('writers on several handles that repeat after each conflict lose nothing and store nothing twice', async ({ backend, another }) => {
    const handles = [backend, await another(), backend, await another()]
    const stored = await Promise.all(handles.map((handle) => writeTen(handle)))
    const log = await backend.log(contextId, 0)
    same(
      log.map(({ version }) => version),
      Array.from({ length: 40 }, (_, index) => index + 1),
    )
    same(log.map(({ revision }) => revision).toSorted(), stored.flat().toSorted())
    log.slice(1).forEach(({ baseRevision }, index) => same(baseRevision, log[index]!.revision, 'each entry names the one before'))
  }),

  fact('contexts are written side by side', async ({ backend }) => {
    const ids = Array.from({ length: 50 }, (_, index) => `contract:many-${index}`)
    const batches = await Promise.all(ids.map((id) => store(backend, { contextId: id, members: [{ stream: at(1) }] })))
    same(
      await backend.heads(ids),
      batches.map(({ head }) => head),
    )
    const again = await Promise.all(batches.map((batch) => backend.commit(batch)))
    for (const result of again) same(result.type, 'members')
  }),
]

/** Stores ten commits, each on the head that it was told last; returns their revisions. */
async function writeTen(backend: ContextBackend): Promise<string[]> {
  const revisions: string[] = []
  let base = noHead
  for (let tries = 0; revisions.length < 10; tries += 1) {
    if (tries > 10_000) throw new Error('Writers that repeat after each conflict come to no end.')
    const batch = batchOf({ base })
    const result = await backend.commit(batch)
    if (result.type === 'members') throw new Error('A commit of the server has no stream.')
    if (result.type === 'committed') revisions.push(batch.head.revision)
    base = result.type === 'conflict' ? result.head : batch.head
  }
  return revisions
}
