import type { CommitBatch, CommitResult, ContextRow, SyncQuery, SyncResult } from '../../src/backends/backend.ts'
import type { StoreCopy } from '../../src/backends/store-model.ts'
import { Broken, afterCommit, aroundSync, beforeCommit, eachRecord } from './broken.ts'
import type { BrokenBackend, BrokenBackends } from './broken.ts'

/** Knows a stream in every context that knows it in one. */
class StreamsOverContexts extends Broken {
  readonly #ids = new Set<string>()
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const others = [...this.#ids].flatMap((id) => [...this.store.copy(id).records])
    this.#ids.add(batch.contextId)
    this.change(batch.contextId, (copy) => ({ ...copy, records: new Map([...others, ...copy.records]) }))
    return this.store.commit(batch)
  }
}

/** Answers conflicts before it looks at streams. */
class HeadFirst extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const before = this.store.copy(batch.contextId)
    const result = this.store.commit({ ...batch, members: batch.members.map((member) => ({ ...member, stream: null })) })
    if (result.type === 'conflict') return result
    this.store.putBack(before)
    return this.store.commit(batch)
  }
}

/** Keeps the records that it has written itself, and knows no others. */
class RecordsOfEachHandle extends Broken {
  readonly #records = new Map<string, StoreCopy['records']>()
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    this.#mine(batch.contextId)
    const result = this.store.commit(batch)
    this.#records.set(batch.contextId, this.store.copy(batch.contextId).records)
    return result
  }
  override async sync(query: SyncQuery): Promise<SyncResult> {
    this.#mine(query.contextId)
    const result = this.store.sync(query)
    this.#records.set(query.contextId, this.store.copy(query.contextId).records)
    return result
  }
  #mine(contextId: string): void {
    this.change(contextId, (copy) => ({ ...copy, records: this.#records.get(contextId) ?? new Map() }))
  }
}

/** Sends the entries after the client's head, whatever else would be smaller. */
class SendsEntries extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const result = this.store.sync(query)
    const entries = query.head === null ? [] : this.store.log(query.contextId, query.head.version)
    if (result.type !== 'found' || entries[0]?.baseRevision !== query.head?.revision) return result
    return { ...result, way: 'since', entries, snapshot: null }
  }
}

/** Changes a context's row after each sync. */
const rowAfterSync = (change: (row: ContextRow | null, result: SyncResult & { type: 'found' }, query: SyncQuery) => ContextRow | null) =>
  class extends Broken {
    override async sync(query: SyncQuery): Promise<SyncResult> {
      const result = this.store.sync(query)
      if (result.type === 'found') this.change(query.contextId, (copy) => ({ ...copy, row: change(copy.row, result, query) }))
      return result
    }
  }

const rolledBackWhere = (when: (result: SyncResult & { type: 'found' }, query: SyncQuery) => boolean): BrokenBackend[0] =>
  class extends Broken {
    override async sync(query: SyncQuery): Promise<SyncResult> {
      const result = this.store.sync(query)
      return result.type === 'found' ? { ...result, rolledBack: when(result, query) } : result
    }
  }

const noRow: ContextRow = {
  head: { incarnation: '', version: 0, revision: 'looked' },
  createdAt: 0,
  updatedAt: 0,
  updatedBy: { userId: null, actor: 'server' },
  snapshotVersion: 0,
  snapshotSize: 0,
  firstVersion: 1,
  logSize: 0,
  sinceSnapshotSize: 0,
  schema: 0,
  restored: false,
}

/** Streams, their records, and what clients are told. */
export const brokenStreams: BrokenBackends = {
  'a stream is one over all contexts': [StreamsOverContexts, /^P3: a session has a stream of its own/],
  'the head is looked at before streams': [
    HeadFirst,
    /^P5: a stream is looked at before the head|^P6: a batch of a stream given again|^P6: a commit that has its verdict/,
  ],
  'all streams are counted as one': [
    beforeCommit((batch) => ({
      ...batch,
      members: batch.members.map((member) => ({ ...member, stream: member.stream && { ...member.stream, key: 'stream-1' } })),
    })),
    /^P6: numbers of several streams/,
  ],
  'a number that is twice in a batch is taken once': [
    beforeCommit((batch) => {
      const numbers = batch.members.map(({ stream }, index) => (stream ? `${stream.key} ${stream.seq}` : `${index}`))
      return { ...batch, members: batch.members.filter((_, index) => numbers.indexOf(numbers[index]!) === index) }
    }),
    /^P6: a number that is twice in a batch/,
  ],
  'each handle keeps records for itself': [RecordsOfEachHandle, /^G3: a number that is sent by two handles|^a backend opened later/],
  'the use of a record is not noted': [
    afterCommit((copy, _, before) => ({
      ...copy,
      records: eachRecord(copy.records, (record, key) => ({ ...record, usedAt: before.records.get(key)?.usedAt ?? record.usedAt })),
    })),
    /^P14: a record that is used lives on/,
  ],
  'verdicts need a context': [
    beforeCommit((batch) => (batch.base.version === 0 && batch.entries.length === 0 && !batch.remove ? { ...batch, members: [] } : batch)),
    /^a verdict is recorded also where/,
  ],
  'a sync does not look where the client stands': [
    aroundSync((query) => ({ ...query, head: null })),
    /^P10: a client at the head|^P10: a client behind the head/,
  ],
  'a sync leaves a row where there was none': [rowAfterSync((row) => row ?? noRow), /^P10: a context that was never there/],
  'entries are sent however many': [SendsEntries, /^P10: what is smaller is sent/],
  'a raised epoch is a use of its context': [
    rowAfterSync((row, { before }, { now }) => (row === null || before === null ? row : { ...row, updatedAt: now + 1 })),
    /^P11: a raised epoch is all that a sync writes/,
  ],
  'another life is taken for a lost history': [
    rolledBackWhere(({ rolledBack, row }, { head }) => rolledBack || (head !== null && head.incarnation !== row?.head.incarnation)),
    /^P11: a head of another incarnation/,
  ],
  'each fence is a rollback': [rolledBackWhere(({ before }) => before !== null), /^P11: a fence behind a trimmed log/],
  'what was restored is never rolled back': [
    rolledBackWhere(({ rolledBack, row }) => rolledBack && row?.restored !== true),
    /^P11: a client whose head is above the restored one/,
  ],
}
