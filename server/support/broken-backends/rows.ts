import type { CommitBatch, ContextRow, ListQuery, ListedContext, LogEntry, Retention } from '../../src/backends/backend.ts'
import type { Head } from '@contextd/protocol'
import type { StoreCopy } from '../../src/backends/store-model.ts'
import { Broken, afterCommit, aroundSync, beforeCommit, eachRecord } from './broken.ts'
import type { BrokenBackend, BrokenBackends } from './broken.ts'

/** Changes the row that a batch leaves, where there was one before. */
const rowAfter = (change: (row: ContextRow, before: ContextRow, batch: CommitBatch) => Partial<ContextRow>): BrokenBackend[0] =>
  afterCommit((copy, batch, before) => {
    if (batch.remove || copy.row === null || before.row === null || before.row.head.version === 0) return copy
    return { ...copy, row: { ...copy.row, ...change(copy.row, before.row, batch) } }
  })

const retaining = (retention: Partial<Retention>): BrokenBackend[0] =>
  beforeCommit((batch) => ({ ...batch, retention: { ...batch.retention, ...retention } }))

const listing = (change: (query: ListQuery) => ListQuery): BrokenBackend[0] =>
  class extends Broken {
    override async list(query: ListQuery): Promise<readonly ListedContext[]> {
      return this.store.list(change(query))
    }
  }

const logged = (change: (entry: LogEntry) => LogEntry): BrokenBackend[0] =>
  afterCommit((copy: StoreCopy) => ({ ...copy, log: copy.log.map(change) }))

class HeadsOnce extends Broken {
  override async heads(contextIds: readonly string[]): Promise<readonly Head[]> {
    return this.store.heads([...new Set(contextIds)])
  }
}

class OpensAnew extends Broken {
  #opened = false
  override async open(): Promise<void> {
    if (this.#opened) for (const { contextId } of this.store.list(everything)) this.change(contextId, (copy) => ({ ...copy, row: null }))
    this.#opened = true
  }
}
const everything: ListQuery = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 }

/** What is known of a context besides its state, what leaves its log, and lists. */
export const brokenRows: BrokenBackends = {
  'a context was created when it was last written': [
    rowAfter((row) => ({ createdAt: row.updatedAt })),
    /^a context is loaded as its newest/,
  ],
  'a context was last written when it was created': [
    rowAfter((row) => ({ updatedAt: row.createdAt })),
    /^a context is loaded as its newest/,
  ],
  'the first author stays': [rowAfter((_, { updatedBy }) => ({ updatedBy })), /^a row says who wrote last/],
  'the version of the definition stays the first': [rowAfter((_, { schema }) => ({ schema })), /^a row says who wrote last/],
  'a batch in which nothing is applied changes the author': [
    afterCommit((copy, batch) => ({ ...copy, row: copy.row && { ...copy.row, updatedBy: batch.updatedBy } })),
    /^P6: a batch in which nothing is applied/,
  ],
  'the size of the first snapshot stays': [rowAfter((_, { snapshotSize }) => ({ snapshotSize })), /^a row says who wrote last/],
  'the entries since the snapshot are counted from the first': [
    rowAfter((row, before, batch) => ({
      sinceSnapshotSize: before.sinceSnapshotSize + batch.entries.reduce((sum, { text }) => sum + text.length, 0),
    })),
    /^a context is loaded as its newest/,
  ],
  'a log is measured in bytes': [
    afterCommit((copy) => ({
      ...copy,
      row: copy.row && { ...copy.row, logSize: copy.log.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0) },
    })),
    /^texts come back as they were given/,
  ],
  'a log forgets what its entries are based on': [logged((entry) => ({ ...entry, baseRevision: '' })), /^P1: versions of a context/],
  'a log takes the time of the last commit for all': [
    afterCommit((copy, { now }) => ({ ...copy, log: copy.log.map((entry) => ({ ...entry, committedAt: now })) })),
    /^a prune drops entries that are old/,
  ],
  'a delete keeps the state': [
    afterCommit((copy, batch, before) => (batch.remove ? { ...copy, snapshot: before.snapshot } : copy)),
    /^P12: a deleted context/,
  ],
  'young entries leave the log': [retaining({ before: Number.MAX_SAFE_INTEGER }), /^the log keeps what is young or small/],
  'small logs are trimmed': [retaining({ softSize: 0 }), /^the log keeps what is young or small/],
  'old entries stay in the log': [retaining({ before: 0 }), /^the log drops its oldest entries that are old/],
  'a log has no hard limit': [retaining({ hardSize: Number.MAX_SAFE_INTEGER }), /^the log drops entries of any age/],
  'a log may have any number of entries': [retaining({ maxVersions: 0 }), /^the log drops entries of any age/],
  'a sync may span any number of versions': [aroundSync((query) => ({ ...query, maxVersions: 0 })), /^a delta answer spans/],
  'a sync does not tell the record as it was': [
    aroundSync(
      (query) => query,
      (result) => (result.type === 'found' ? { ...result, before: null } : result),
    ),
    /^P11: a record of another epoch/,
  ],
  'a raised epoch is no use of a record': [
    class extends Broken {
      override async sync(query: Parameters<Broken['sync']>[0]): ReturnType<Broken['sync']> {
        const before = this.store.copy(query.contextId).records
        const result = this.store.sync(query)
        this.change(query.contextId, (copy) => ({
          ...copy,
          records: eachRecord(copy.records, (record, key) => ({ ...record, usedAt: before.get(key)?.usedAt ?? record.usedAt })),
        }))
        return result
      }
    },
    /^P14: a sync is a use of a record where it raises/,
  ],
  'lists know no time': [listing((query) => ({ ...query, updatedSince: 0 })), /^contexts changed at a time or later/],
  'lists begin at their beginning': [listing((query) => ({ ...query, offset: 0 })), /^a list is cut/],
  'lists are not cut': [listing((query) => ({ ...query, limit: 0 })), /^a list is cut/],
  'lists are ascending': [listing((query) => ({ ...query, order: 'asc' })), /^contexts are listed by id/],
  'a head is answered once': [HeadsOnce, /^heads are answered in the order/],
  'opening again begins anew': [OpensAnew, /^opening twice is opening once/],
}
