import type { ContextBackend, PrunableQuery, PruneBatch, StaleContext } from '../../backends/backend.ts'
import { noHead } from '../../backends/backend.ts'
import { restoreOf } from './archive-cases.ts'
import { at, batchOf, contextId, entriesOf, everything, fact, refuse, same, startAt, stateAt, store, storeMany, synced } from './kit.ts'
import type { KitCase } from './kit.ts'

async function staleIds(backend: ContextBackend, before: number, limit = 1_000): Promise<string[]> {
  const found: readonly StaleContext[] = await backend.stale(before, limit)
  return found.map(({ contextId: id }) => id)
}

/** Contexts that nobody has used for long. */
export const staleCases: readonly KitCase[] = [
  fact('contexts are stale that were written before a time, not at it or later; the oldest come first', async ({ backend, another }) => {
    const stored = new Map<string, Awaited<ReturnType<typeof store>>>()
    for (const [index, id] of ['c', 'a', 'd', 'b'].entries()) stored.set(id, await store(backend, { contextId: id, now: startAt + index }))
    const other = await another()
    same(await staleIds(other, startAt), [])
    same(await staleIds(other, startAt + 1), ['c'])
    same(await staleIds(other, startAt + 3), ['c', 'a', 'd'])
    same(await staleIds(other, startAt + 9), ['c', 'a', 'd', 'b'])
    same(await staleIds(other, startAt + 9, 2), ['c', 'a'])
    const again = await store(backend, { contextId: 'a', base: stored.get('a')!.head, now: startAt + 7, members: [{}, {}] })
    same(await staleIds(other, startAt + 9), ['c', 'd', 'b', 'a'])
    same((await other.stale(startAt + 9, 10)).at(-1), { contextId: 'a', head: again.head, logged: 3 })
  }),

  fact('of contexts that are stale for as long those come first whose ids do', async ({ backend }) => {
    for (const id of ['b', 'B', 'a0', 'a', 'a_', 'Z']) await store(backend, { contextId: id })
    await backend.touch(['Z'], startAt + 5)
    await store(backend, { contextId: 'A', now: startAt + 5 })
    same(await staleIds(backend, startAt + 6), ['B', 'a', 'a0', 'a_', 'b', 'A', 'Z'])
    same(await staleIds(backend, startAt + 6, 3), ['B', 'a', 'a0'])
  }),

  fact('a context that is touched is as good as written', async ({ backend, another }) => {
    for (const [index, id] of ['a', 'b', 'c'].entries()) await store(backend, { contextId: id, now: startAt + index })
    const before = await everything(backend, 'a')
    await (await another()).touch(['a', 'c'], startAt + 8)
    same(await everything(backend, 'a'), before, 'nothing that can be read of it changes')
    same(await staleIds(backend, startAt + 8), ['b'])
    same(await staleIds(backend, startAt + 9), ['b', 'a', 'c'])
    await backend.touch(['a'], startAt + 20)
    await backend.touch(['a', 'b'], startAt + 4)
    same(await staleIds(backend, startAt + 30), ['b', 'c', 'a'], 'an earlier time changes nothing')
    same(await staleIds(backend, startAt + 4), [])
    await backend.touch([], startAt + 50)
  }),

  fact('a restored context was used when its archive says, or when it is touched', async ({ backend }) => {
    const { head } = await store(backend, { now: startAt + 9 })
    await store(backend, { contextId: 'other', now: startAt + 3 })
    const restored = restoreOf({ base: head, now: startAt + 9, createdAt: startAt, updatedAt: startAt + 1 })
    same(await backend.restore(restored), { type: 'restored' })
    same(await backend.stale(startAt + 2, 9), [{ contextId, head: restored.head, logged: 0 }])
    await backend.touch([contextId], startAt + 5)
    same(await staleIds(backend, startAt + 6), ['other', contextId])
  }),

  fact('a batch in which nothing is applied is no use of a context', async ({ backend }) => {
    const { head: base } = await store(backend)
    await store(backend, { base, now: startAt + 9, members: [{ stream: at(1), verdict: 'refused' }, { verdict: 'nothing' }] })
    same(await staleIds(backend, startAt + 1), [contextId])
  }),

  fact('contexts that are not there are not stale, and not made by touching them', async ({ backend }) => {
    const { head: base } = await store(backend)
    const removed = await store(backend, { base, remove: true })
    await store(backend, { contextId: 'refused', members: [{ stream: at(1), verdict: 'refused' }] })
    await backend.touch(['never', contextId, 'refused'], startAt + 5)
    same(await staleIds(backend, startAt + 100), [])
    same([await backend.load('never'), (await backend.load(contextId))!.row.head], [null, removed.head])
    await store(backend, { base: removed.head, now: startAt + 2 })
    same(await staleIds(backend, startAt + 3), [contextId], 'a touch while it was not there counts for nothing')
  }),

  fact('a stale context expires by a delete on the head that was told, and not when it was written since', async ({ backend }) => {
    const { head: first } = await store(backend)
    const second = await store(backend, { contextId: 'written' })
    const found = await backend.stale(startAt + 1, 10)
    same(
      found.map(({ contextId: id, head, logged }) => [id, head, logged]),
      [
        [contextId, first, 1],
        ['written', second.head, 1],
      ],
    )
    const next = await store(backend, { contextId: 'written', base: second.head, now: startAt + 9 })
    const expire = (id: string, base: typeof first): ReturnType<typeof batchOf> => {
      const batch = batchOf({ contextId: id, base, remove: true, now: startAt + 10 })
      return { ...batch, members: [] }
    }
    same(await backend.commit(expire(contextId, first)), { type: 'committed' })
    same((await refuse(backend, expire('written', second.head))).type, 'conflict')
    same(await staleIds(backend, startAt + 20), ['written'])
    same(await backend.heads(['written']), [next.head])
    same((await backend.load(contextId))!.snapshot, null)
  }),
]

async function prunableIds(backend: ContextBackend, query: Partial<PrunableQuery> = {}): Promise<string[]> {
  const found = await backend.prunable({ before: 0, maxVersions: 0, limit: 1_000, ...query })
  return found.toSorted((a, b) => (a < b ? -1 : 1))
}

const pruneOf = (base: PruneBatch['base'], spec: Partial<PruneBatch> = {}): PruneBatch => ({
  contextId,
  base,
  snapshot: null,
  before: 0,
  maxVersions: 0,
  ...spec,
})

/** Contexts with logs of one entry for each of some times. */
async function fill(backend: ContextBackend, times: Readonly<Record<string, readonly number[]>>): Promise<void> {
  for (const [id, all] of Object.entries(times)) {
    let base = noHead
    for (const time of all) base = (await store(backend, { contextId: id, base, now: startAt + time })).head
  }
}

/** What leaves logs by a cleanup. */
export const pruneCases: readonly KitCase[] = [
  fact('logs are found that have entries committed before a time, or more entries than a number', async ({ backend, another }) => {
    await fill(backend, { a: [0], b: [1, 2, 3], c: [2, 9], d: [3, 3, 3, 3] })
    const other = await another()
    same(await prunableIds(other), [])
    same(await prunableIds(other, { before: startAt }), [])
    same(await prunableIds(other, { before: startAt + 1 }), ['a'])
    same(await prunableIds(other, { before: startAt + 3 }), ['a', 'b', 'c'])
    same(await prunableIds(other, { maxVersions: 4 }), [])
    same(await prunableIds(other, { maxVersions: 3 }), ['d'])
    same(await prunableIds(other, { maxVersions: 1 }), ['b', 'c', 'd'])
    same(await prunableIds(other, { before: startAt + 2, maxVersions: 3 }), ['a', 'b', 'd'])
    same((await prunableIds(other, { before: startAt + 9, limit: 3 })).length, 3)
    same((await prunableIds(other, { before: startAt + 2, maxVersions: 2, limit: 2 })).length, 2)
  }),

  fact('contexts that are not there, and empty logs, are not found', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [{}, {}, {}] })
    const removed = await store(backend, { base, remove: true })
    await store(backend, { contextId: 'refused', members: [{ stream: at(1), verdict: 'refused' }] })
    const whole = { before: startAt + 10, maxVersions: 1 }
    same(await prunableIds(backend, whole), [])
    const again = await store(backend, { base: removed.head, now: startAt + 5 })
    same(await prunableIds(backend, { before: startAt + 5 }), [], 'nothing is left of the old log')
    same(await backend.prune(pruneOf(again.head, whole)), 1)
    same(await prunableIds(backend, whole), [])
    const next = await store(backend, { base: again.head, now: startAt + 12, members: [{}, {}] })
    same(await prunableIds(backend, { before: startAt + 12 }), [])
    same(await prunableIds(backend, { before: startAt + 13 }), [contextId])
    same([await prunableIds(backend, { maxVersions: 1 }), (await backend.log(contextId, 0)).length], [[contextId], next.entries.length])
  }),

  fact('a prune drops entries that are old, from the oldest on, and counts them', async ({ backend }) => {
    const batches = await storeMany(backend, 3)
    batches.push(await store(backend, { base: batches[2]!.head, now: startAt + 5, snapshot: true }))
    batches.push(await store(backend, { base: batches[3]!.head, now: startAt + 6 }))
    const head = batches[4]!.head
    same(await backend.prune(pruneOf(head, { before: startAt })), 0)
    same(await backend.log(contextId, 0), entriesOf(batches))
    same(await backend.prune(pruneOf(head, { before: startAt + 5 })), 3)
    same(await backend.log(contextId, 0), entriesOf(batches.slice(3)))
    const { row, snapshot, entries } = (await backend.load(contextId))!
    const logSize = entriesOf(batches.slice(3)).reduce((sum, { text }) => sum + text.length, 0)
    same([row.head, row.firstVersion, row.logSize, row.updatedAt], [head, 4, logSize, startAt + 6])
    same([snapshot, entries], [stateAt(4), batches[4]!.entries])
    same(await prunableIds(backend, { before: startAt + 5 }), [])
    same(await backend.prune(pruneOf(head, { before: startAt + 5 })), 0)
  }),

  fact('a prune drops the oldest of too many entries', async ({ backend }) => {
    const batches = await storeMany(backend, 6, { snapshot: true })
    const head = batches[5]!.head
    same(await backend.prune(pruneOf(head, { maxVersions: 6 })), 0)
    same(await backend.prune(pruneOf(head, { maxVersions: 2 })), 4)
    same(await backend.log(contextId, 0), entriesOf(batches.slice(4)))
    same(await prunableIds(backend, { maxVersions: 2 }), [])
    same(await prunableIds(backend, { maxVersions: 1 }), [contextId])
  }),

  fact('a prune stops at the first entry that stays, though a later one is older', async ({ backend }) => {
    const first = await store(backend, { now: startAt + 5 })
    const { head } = await store(backend, { base: first.head, now: startAt, snapshot: true })
    same(await prunableIds(backend, { before: startAt + 1 }), [])
    same(await backend.prune(pruneOf(head, { before: startAt + 1 })), 0)
    same(await backend.prune(pruneOf(head, { before: startAt + 6 })), 2)
  }),

  fact('no entry above the snapshot is dropped by a prune, unless a snapshot is given with it', async ({ backend }) => {
    const first = await store(backend, { members: [{}, {}] })
    const second = await store(backend, { base: first.head, members: [{}, {}, {}] })
    const whole = { before: startAt + 1, maxVersions: 1 }
    same(await backend.prune(pruneOf(second.head, whole)), 2)
    const stored = await backend.load(contextId)
    same([stored!.snapshot, stored!.entries], [stateAt(2), second.entries])
    same(await backend.prune(pruneOf(second.head, whole)), 0)
    const snapshot = stateAt(5, 10)
    same(await backend.prune(pruneOf(second.head, { maxVersions: 2, snapshot })), 1)
    const rest = second.entries.slice(1)
    const { row, ...after } = (await backend.load(contextId))!
    same(after, { snapshot, entries: [] })
    const sizes = { snapshotVersion: 5, snapshotSize: snapshot.length, sinceSnapshotSize: 0, firstVersion: 4 }
    same(row, { ...stored!.row, ...sizes, logSize: rest.reduce((sum, { text }) => sum + text.length, 0) })
    same(await backend.log(contextId, 0), rest)
    same(await backend.prune(pruneOf(second.head, { ...whole, snapshot })), 2)
    same([await backend.log(contextId, 0), (await backend.load(contextId))!.row.firstVersion], [[], 6])
  }),

  fact('a prune is done only on the head that was named', async ({ backend }) => {
    const batches = await storeMany(backend, 3, { snapshot: true })
    const { head } = batches[2]!
    const before = await everything(backend)
    const whole = { before: startAt + 1, snapshot: '"wrong"' }
    const others = [batches[1]!.head, { ...head, incarnation: 'other' }, { ...head, revision: 'other' }, { ...head, version: 4 }, noHead]
    for (const base of others) same(await backend.prune(pruneOf(base, whole)), null, JSON.stringify(base))
    same(await everything(backend), before, 'a prune on another head changes nothing')
    same(await backend.prune(pruneOf(noHead, { ...whole, contextId: 'never' })), null)
    const removed = await store(backend, { base: head, remove: true })
    same(await backend.prune(pruneOf(removed.head, whole)), null)
    same((await backend.load(contextId))!.snapshot, null)
  }),

  fact('a pruned context is read and written on', async ({ backend }) => {
    const batches = await storeMany(backend, 4)
    const head = batches[3]!.head
    same(await backend.prune(pruneOf(head, { before: startAt + 1, snapshot: stateAt(4) })), 4)
    const late = await synced(backend, { head: batches[1]!.head })
    same([late.way, late.snapshot, late.entries, late.rolledBack], ['stored', stateAt(4), [], false])
    same(await refuse(backend, batchOf({ base: batches[1]!.head })), { type: 'conflict', head, missed: null })
    const next = await store(backend, { base: head, members: [{ stream: at(1) }] })
    same(await backend.log(contextId, 0), next.entries)
    same((await synced(backend, { head, stream: { told: 1 } })).entries, next.entries)
    const { row } = (await backend.load(contextId))!
    same([row.firstVersion, row.logSize, row.sinceSnapshotSize], [5, next.entries[0]!.text.length, next.entries[0]!.text.length])
  }),

  fact('a cleanup in steps reaches every context in the end, each once', async ({ backend }) => {
    const ids = Array.from({ length: 30 }, (_, index) => `many:${index}`)
    await Promise.all(ids.map((id) => storeMany(backend, 3, { contextId: id })))
    await store(backend, { contextId: 'young', now: startAt + 9 })
    const query = { before: startAt + 1, maxVersions: 0, limit: 7 }
    const pruned: string[] = []
    for (let found = await backend.prunable(query); found.length > 0; found = await backend.prunable(query)) {
      same(found.length <= 7, true)
      const heads = await backend.heads(found)
      for (const [index, id] of found.entries()) {
        same(await backend.prune(pruneOf(heads[index]!, { contextId: id, before: query.before, snapshot: stateAt(3) })), 3)
      }
      pruned.push(...found)
      same(pruned.length <= 30, true)
    }
    same(pruned.toSorted(), ids.toSorted())
    const expired: string[] = []
    for (let found = await backend.stale(startAt + 1, 7); found.length > 0; found = await backend.stale(startAt + 1, 7)) {
      for (const { contextId: id, head, logged } of found) {
        same(logged, 0)
        same(await backend.commit({ ...batchOf({ contextId: id, base: head, remove: true }), members: [] }), { type: 'committed' })
        expired.push(id)
      }
      same(expired.length <= 30, true)
    }
    same(expired.toSorted(), ids.toSorted())
  }),
]
