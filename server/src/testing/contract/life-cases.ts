import { noHead } from '../../backends/backend.ts'
import {
  appliedAt,
  at,
  batchOf,
  contextId,
  entriesOf,
  fact,
  recordOf,
  refuse,
  same,
  startAt,
  stateAt,
  store,
  storeMany,
  synced,
} from './kit.ts'
import type { KitCase } from './kit.ts'

const everyContext = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

/** Delete and re-create (P1, P12), and what leaves the log. */
export const lifeCases: readonly KitCase[] = [
  fact('P12: a deleted context has no state and no log, and a revision', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [{}, {}, {}] })
    const removed = await store(backend, { base, remove: true, now: startAt + 7 })
    same(removed.head.version, 0)
    const stored = await backend.load(contextId)
    same([stored!.row.head, stored!.row.updatedAt, stored!.snapshot, stored!.entries], [removed.head, startAt + 7, null, []])
    same(await backend.log(contextId, 0), [])
    same(await backend.heads([contextId]), [removed.head])
    same(await backend.list(everyContext), [])
  }),

  fact('P12: records outlive the context, with the verdict of the delete itself', async ({ backend }) => {
    const { head: base, members } = await store(backend, { members: [{ stream: at(1) }] })
    const removed = await store(backend, { base, remove: true, members: [{ stream: at(2) }] })
    const verdicts = [
      [1, members[0]!.verdict],
      [2, appliedAt(removed.head)],
    ]
    same(await recordOf(backend), { epoch: 0, last: 2, verdicts })
    const repeat = { type: 'members', answers: [{ member: 0, answer: { type: 'repeat', verdict: members[0]!.verdict } }] }
    same(await refuse(backend, batchOf({ base: removed.head, members: [{ stream: at(1) }] })), repeat)
    const created = await store(backend, { base: removed.head, members: [{ stream: at(3) }] })
    same(await recordOf(backend), { epoch: 0, last: 3, verdicts: [...verdicts, [3, created.members[0]!.verdict]] })
  }),

  fact('P1: an absent context has a revision: what was made for another absence is not stored', async ({ backend }) => {
    const late = batchOf()
    const { head: base } = await store(backend)
    const removed = await store(backend, { base, remove: true })
    same(await refuse(backend, late), { type: 'conflict', head: removed.head, missed: null })
    same(await refuse(backend, batchOf({ base })), { type: 'conflict', head: removed.head, missed: null })
    await store(backend, { base: removed.head })
  }),

  fact('P1: a delete of what is not there leaves another revision', async ({ backend }) => {
    const never = await store(backend, { remove: true, members: [{ stream: at(1) }] })
    same(await backend.heads([contextId]), [never.head])
    same((await refuse(backend, batchOf())).type, 'conflict')
    const again = await store(backend, { base: never.head, remove: true, now: startAt + 5 })
    same(await backend.heads([contextId]), [again.head])
    const { row, snapshot, entries } = (await backend.load(contextId))!
    same([row.head, row.updatedAt, snapshot, entries], [again.head, startAt + 5, null, []])
    same([await backend.list(everyContext), await backend.dump(contextId), (await recordOf(backend)).last], [[], null, 1])
    same((await refuse(backend, batchOf({ base: never.head }))).type, 'conflict')
    const created = await store(backend, { base: again.head })
    same([created.head.version, await backend.heads([contextId])], [1, [created.head]])
  }),

  fact('P12: a context that is created again begins at version 1, in a new incarnation, with nothing of the old', async ({ backend }) => {
    const old = await storeMany(backend, 3, { snapshot: true })
    const removed = await store(backend, { base: old[2]!.head, remove: true })
    const again = await store(backend, { base: removed.head, now: startAt + 9 })
    const second = await store(backend, { base: again.head, now: startAt + 10 })
    same([again.head.version, again.head.incarnation === old[0]!.head.incarnation], [1, false])
    same(await backend.log(contextId, 0), entriesOf([again, second]))
    const { row, snapshot, entries } = (await backend.load(contextId))!
    same([row.head, row.createdAt, row.updatedAt, row.firstVersion, row.snapshotVersion], [second.head, startAt + 9, startAt + 10, 1, 1])
    same([snapshot, entries, row.logSize], [stateAt(1), second.entries, again.entries[0]!.text.length + second.entries[0]!.text.length])
  }),

  fact(
    'P12: what was computed on the old incarnation is not applied to the new one, though version and revision are the same',
    async ({ backend }) => {
      const [first] = await storeMany(backend, 1)
      const removed = await store(backend, { base: first!.head, remove: true })
      const created = batchOf({ base: removed.head })
      const head = { ...created.head, revision: first!.head.revision }
      const entries = created.entries.map((entry) => ({
        ...entry,
        revision: head.revision,
        text: entry.text.replace(entry.revision, head.revision),
      }))
      same(await backend.commit({ ...created, head, entries }), { type: 'committed' })
      same(await refuse(backend, batchOf({ base: first!.head })), { type: 'conflict', head, missed: null })
      const late = await synced(backend, { head: first!.head, known: first!.head })
      same([late.way, late.rolledBack], ['stored', false])
    },
  ),

  fact('a verdict is recorded also where there is no context', async ({ backend }) => {
    const batch = await store(backend, { members: [{ stream: at(1), verdict: 'refused' }] })
    same(await recordOf(backend), { epoch: 0, last: 1, verdicts: [[1, batch.members[0]!.verdict]] })
    same(await backend.heads([contextId]), [noHead])
    same(await backend.list(everyContext), [])
    same((await refuse(backend, batch)).type, 'members')
    await store(backend, { members: [{ stream: at(2) }] })
  }),

  fact('the log keeps what is young or small', async ({ backend }) => {
    const young = { before: startAt - 1, softSize: 100, hardSize: 1e9 }
    const small = { before: startAt + 1, softSize: 1e6, hardSize: 1e9 }
    const batches = await storeMany(backend, 6, { pad: 200, snapshot: true, retention: young })
    batches.push(await store(backend, { base: batches.at(-1)!.head, snapshot: true, retention: small }))
    same(await backend.log(contextId, 0), entriesOf(batches))
  }),

  fact('the log drops its oldest entries that are old, as long as it is larger than the state and the soft limit', async ({ backend }) => {
    const batches = await storeMany(backend, 10, { snapshot: true })
    const size = batches[0]!.entries[0]!.text.length
    const last = await store(backend, {
      base: batches.at(-1)!.head,
      snapshot: true,
      retention: { before: startAt + 1, softSize: size * 4 },
    })
    const rest = [...entriesOf(batches), ...last.entries].slice(-4)
    const log = await backend.log(contextId, 0)
    const logSize = log.reduce((sum, { text }) => sum + text.length, 0)
    same(logSize <= size * 4 && logSize > size * 2, true, 'it is cut to its soft limit, not further')
    same(log, rest.slice(-log.length))
    const { row } = (await backend.load(contextId))!
    same([row.firstVersion, row.logSize], [11 - log.length + 1, logSize])
  }),

  fact('the log drops entries of any age above its hard limit, and above its most versions', async ({ backend }) => {
    const batches = await storeMany(backend, 6, { snapshot: true })
    const next = await store(backend, { base: batches[5]!.head, snapshot: true, retention: { maxVersions: 3 } })
    same(await backend.log(contextId, 0), entriesOf([...batches.slice(4), next]))
    const size = next.entries[0]!.text.length
    const last = await store(backend, { base: next.head, snapshot: true, retention: { hardSize: size * 2 + 10 } })
    same(await backend.log(contextId, 0), entriesOf([next, last]).slice(-2))
  }),

  fact('no entry above the snapshot leaves the log, whatever the limits', async ({ backend }) => {
    const nothingStays = { before: startAt + 1, softSize: 0, hardSize: 0, maxVersions: 1 }
    const first = await store(backend, { members: [{}, {}, {}] })
    const second = await store(backend, { base: first.head, members: [{}, {}], retention: nothingStays })
    same(await backend.log(contextId, 0), second.entries)
    const stored = await backend.load(contextId)
    same([stored!.snapshot, stored!.entries], [stateAt(3), second.entries])
    const third = await store(backend, { base: second.head, retention: nothingStays })
    same((await backend.load(contextId))!.entries, entriesOf([second, third]))
  }),

  fact('a step drops at most 64 entries more than it adds, and the next ones the rest', async ({ backend }) => {
    const members = Array.from({ length: 150 }, () => ({}))
    const first = await store(backend, { members })
    const retention = { maxVersions: 1 }
    let base = first.head
    for (const firstVersion of [66, 131, 153]) {
      base = (await store(backend, { base, snapshot: true, retention })).head
      same((await backend.load(contextId))!.row.firstVersion, firstVersion)
      same((await backend.log(contextId, 0)).length, base.version - firstVersion + 1)
    }
  }),

  fact('a base that has left the log conflicts with no way to the head, and its client gets the state', async ({ backend }) => {
    const batches = await storeMany(backend, 4)
    const last = await store(backend, { base: batches[3]!.head, snapshot: true, retention: { maxVersions: 2 } })
    same(await refuse(backend, batchOf({ base: batches[1]!.head })), { type: 'conflict', head: last.head, missed: null })
    const missed = entriesOf([batches[3]!, last])
    same(await refuse(backend, batchOf({ base: batches[2]!.head })), { type: 'conflict', head: last.head, missed })
    const { way, entries, snapshot } = await synced(backend, { head: batches[1]!.head })
    same([way, entries, snapshot], ['stored', [], stateAt(5)])
  }),
]
