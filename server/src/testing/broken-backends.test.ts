import { setImmediate as turn } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import type { Head } from '@contextd/protocol'
import { noHead, sameHead } from '../backends/backend.ts'
import type { CommitBatch, CommitResult, ContextBackend, ListQuery, ListedContext, SyncQuery, SyncResult } from '../backends/backend.ts'
import { MemoryBackend } from '../backends/memory.ts'
import type { StoreCopy, StoreModel } from '../backends/store-model.ts'
import type { StoredRecord } from '../commit-step.ts'
import { backendContract } from './backend-contract.ts'
import { SharedMemory } from './shared-memory.ts'

vi.setConfig({ testTimeout: 60_000 })

/** A memory backend that can be broken in one place. */
class Broken extends MemoryBackend {
  readonly store: StoreModel
  constructor(store: StoreModel) {
    super(store)
    this.store = store
  }
}

/** Changes what is stored of a batch's context after each stored batch. */
const afterCommit = (change: (dump: StoreCopy, batch: CommitBatch, before: StoreCopy) => StoreCopy) =>
  class extends Broken {
    override async commit(batch: CommitBatch): Promise<CommitResult> {
      const before = this.store.copy(batch.contextId)
      const result = this.store.commit(batch)
      if (result.type === 'committed') this.store.putBack(change(this.store.copy(batch.contextId), batch, before))
      return result
    }
  }

/** Changes batches before they are looked at. */
const beforeCommit = (change: (batch: CommitBatch, store: StoreModel) => CommitBatch) =>
  class extends Broken {
    override async commit(batch: CommitBatch): Promise<CommitResult> {
      return this.store.commit(change(batch, this.store))
    }
  }

/** Changes queries before, and results after a sync. */
const aroundSync = (query: (query: SyncQuery) => SyncQuery, result: (result: SyncResult) => SyncResult = (same) => same) =>
  class extends Broken {
    override async sync(asked: SyncQuery): Promise<SyncResult> {
      return result(this.store.sync(query(asked)))
    }
  }

const eachRecord = (
  records: StoreCopy['records'],
  change: (record: StoredRecord, key: string) => StoredRecord | null,
): StoreCopy['records'] =>
  new Map([...records].flatMap(([key, record]) => ((changed) => (changed ? [[key, changed] as const] : []))(change(record, key))))

const headOf = (store: StoreModel, contextId: string): Head => store.heads([contextId])[0] ?? noHead
const onHead = (batch: CommitBatch, store: StoreModel): CommitBatch => ({ ...batch, base: headOf(store, batch.contextId) })

/** Checks the head, and writes a moment later on whatever head there is then. */
class HeadCheckedEarlier extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (!sameHead(headOf(this.store, batch.contextId), batch.base)) return this.store.commit(batch)
    await turn()
    return this.store.commit(onHead(batch, this.store))
  }
}

/** Reads the state a moment after the record. */
class SyncInTwoSteps extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const first = this.store.sync(query)
    await turn()
    const second = this.store.sync(query)
    return first.type === 'found' && second.type === 'found' ? { ...second, record: first.record } : second
  }
}

/** Writes the members that it may, and answers for the others. */
class WritesAroundRepeats extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    if (result.type !== 'members' || batch.entries.length > 0) {
      const stopped = result.type === 'members' ? new Set(result.answers.map(({ member }) => member)) : new Set()
      if (stopped.size > 0) this.store.commit({ ...batch, members: batch.members.filter((_, index) => !stopped.has(index)) })
    }
    return result
  }
}

/** A list in the order in which contexts were created. */
class Unsorted extends Broken {
  readonly #order: string[] = []
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (!this.#order.includes(batch.contextId)) this.#order.push(batch.contextId)
    return super.commit(batch)
  }
  override async list(query: ListQuery): Promise<readonly ListedContext[]> {
    return this.store.list(query).toSorted((a, b) => this.#order.indexOf(a.contextId) - this.#order.indexOf(b.contextId))
  }
}

class AnswersNothingMissed extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    return result.type === 'conflict' ? { ...result, missed: null } : result
  }
}

class TellsNobody extends Broken {
  override readonly publishing = { type: 'poll' as const, onChange: () => () => {} }
}

/** What is broken, and how. */
const broken: Record<string, new (store: StoreModel) => ContextBackend> = {
  'the head is not compared': beforeCommit(onHead),
  'the head is compared before the write, not with it': HeadCheckedEarlier,
  'incarnations are not compared': beforeCommit((batch, store) => {
    const { base } = onHead(batch, store)
    const alike = base.version > 0 && base.version === batch.base.version && base.revision === batch.base.revision
    return alike ? { ...batch, base } : batch
  }),
  'revisions are not compared': beforeCommit((batch, store) => {
    const { base } = onHead(batch, store)
    return base.incarnation === batch.base.incarnation && base.version === batch.base.version ? { ...batch, base } : batch
  }),
  'the revision of an absent context is not compared': beforeCommit((batch, store) => {
    const { base } = onHead(batch, store)
    return base.version === 0 && batch.base.version === 0 ? { ...batch, base } : batch
  }),
  'batches without a delta do not check the head': beforeCommit((batch, store) =>
    batch.entries.length === 0 && !batch.remove ? { ...batch, base: onHead(batch, store).base, head: onHead(batch, store).base } : batch,
  ),
  'verdicts are forgotten': afterCommit((dump) => ({
    ...dump,
    records: eachRecord(dump.records, (record) => ({ ...record, verdicts: [] })),
  })),
  'verdicts lose their details': afterCommit((dump) => ({
    ...dump,
    records: eachRecord(dump.records, (record) => ({
      ...record,
      verdicts: record.verdicts.map(([seq, verdict]) => [
        seq,
        verdict.type === 'refused' ? { type: 'refused', code: verdict.code, message: verdict.message } : verdict,
      ]),
    })),
  })),
  'settled verdicts are kept': beforeCommit((batch) => ({
    ...batch,
    members: batch.members.map((member) => ({ ...member, stream: member.stream && { ...member.stream, settled: 0 } })),
  })),
  'refusals are not recorded': beforeCommit((batch) =>
    batch.entries.length === 0 && !batch.remove
      ? { ...batch, members: batch.members.filter(({ verdict }) => verdict.type !== 'refused') }
      : batch,
  ),
  'records are dropped with the context': afterCommit((dump, batch) => (batch.remove ? { ...dump, records: new Map() } : dump)),
  'a delete leaves no revision': afterCommit((dump, batch) => (batch.remove ? { ...dump, row: { ...dump.row!, head: noHead } } : dump)),
  'a delete keeps the log': afterCommit((dump, batch, before) => (batch.remove ? { ...dump, log: before.log } : dump)),
  'epochs are not compared': beforeCommit((batch, store) => ({
    ...batch,
    members: batch.members.map(({ stream, ...rest }) => {
      const epoch = stream === null ? undefined : store.copy(batch.contextId).records.get(stream.key)?.epoch
      return { stream: stream && { ...stream, epoch: epoch ?? 0 }, ...rest }
    }),
  })),
  'old sessions begin records': beforeCommit((batch) => ({ ...batch, sessionTtlMs: Number.MAX_SAFE_INTEGER })),
  'numbers may be skipped': beforeCommit((batch, store) => ({
    ...batch,
    members: batch.members.map(({ stream, ...rest }) => {
      const last = stream === null ? 0 : (store.copy(batch.contextId).records.get(stream.key)?.last ?? 0)
      return { stream: stream && { ...stream, seq: stream.seq > last + 1 && batch.members.length === 1 ? last + 1 : stream.seq }, ...rest }
    }),
  })),
  'a batch is written around its repeats': WritesAroundRepeats,
  'a conflict never says what was missed': AnswersNothingMissed,
  'entries above the snapshot are trimmed': afterCommit((dump, batch) => {
    const { maxVersions } = batch.retention
    const extra = maxVersions > 0 ? Math.max(0, dump.log.length - maxVersions) : 0
    return { ...dump, log: dump.log.slice(extra), row: dump.row && { ...dump.row, firstVersion: dump.row.firstVersion + extra } }
  }),
  'nothing is ever trimmed': beforeCommit((batch) => ({
    ...batch,
    retention: { before: 0, softSize: 1e9, hardSize: 1e9, maxVersions: 0 },
  })),
  'snapshots are not written again': beforeCommit((batch) => (batch.base.version === 0 ? batch : { ...batch, snapshot: null })),
  'old records stay': beforeCommit((batch, store) => {
    const { records } = store.copy(batch.contextId)
    const fresh = eachRecord(records, (record) => ({ ...record, usedAt: Number.MAX_SAFE_INTEGER }))
    store.putBack({ ...store.copy(batch.contextId), records: fresh })
    return batch
  }),
  'records in use are removed': afterCommit((dump, batch) => ({
    ...dump,
    records: eachRecord(dump.records, (record) => (record.usedAt < batch.now - batch.sessionTtlMs ? null : record)),
  })),
  'a raised epoch is not stored': class extends Broken {
    override async sync(query: SyncQuery): Promise<SyncResult> {
      const dump = this.store.copy(query.contextId)
      const result = this.store.sync(query)
      this.store.putBack(dump)
      return result
    }
  },
  'a sync of an expired session makes a record': aroundSync((query) => ({ ...query, sessionTtlMs: Number.MAX_SAFE_INTEGER })),
  'the settled number is not taken over': aroundSync((query) => ({ ...query, stream: { ...query.stream, settled: 0 } })),
  'what a client was told is not compared': aroundSync((query) => ({ ...query, stream: { ...query.stream, told: 0 } })),
  'a lost history is not reported': aroundSync(
    (query) => query,
    (result) => (result.type === 'found' ? { ...result, rolledBack: false } : result),
  ),
  'a trimmed log is taken for a lost history': class extends Broken {
    override async sync(query: SyncQuery): Promise<SyncResult> {
      const first = this.store.copy(query.contextId).row?.firstVersion ?? 0
      const result = this.store.sync(query)
      const before = query.head !== null && query.head.version + 1 < first
      return result.type === 'found' && before ? { ...result, rolledBack: true } : result
    }
  },
  'what the node has in memory is believed': class extends Broken {
    override async sync(query: SyncQuery): Promise<SyncResult> {
      const result = this.store.sync(query)
      const believes = result.type === 'found' && result.way === 'stored' && query.known !== null && query.known.version > 0
      return believes ? { ...result, way: 'known', entries: [], snapshot: null } : result
    }
  },
  'a sync reads record and state in two steps': SyncInTwoSteps,
  'lists are not sorted': Unsorted,
  'prefixes are patterns': class extends Broken {
    override async list(query: ListQuery): Promise<readonly ListedContext[]> {
      const pattern = new RegExp(`^${query.prefix.replaceAll('_', '.').replaceAll(/[[\]*%]/g, '.*')}`)
      const all = this.store.list({ ...query, prefix: '', limit: 0, offset: 0 }).filter(({ contextId }) => pattern.test(contextId))
      return all.slice(query.offset, query.limit === 0 ? undefined : query.offset + query.limit)
    }
  },
  'others are not told of writes': TellsNobody,
}

/** The fact that must not hold of each. */
const caughtBy: Record<string, RegExp> = {
  'the head is not compared': /^P1: a batch is stored only on its base/,
  'the head is compared before the write, not with it': /^of batches that race/,
  'incarnations are not compared': /^P12: what was computed on the old incarnation/,
  'revisions are not compared': /^P1: a batch is stored only on its base/,
  'the revision of an absent context is not compared': /^P1: an absent context has a revision/,
  'batches without a delta do not check the head': /^P5: a batch without a delta checks the head/,
  'verdicts are forgotten': /^P4: a number that has a verdict/,
  'verdicts lose their details': /^P4: a number that has a verdict/,
  'settled verdicts are kept': /^P4: a record holds every verdict above the settled/,
  'refusals are not recorded': /^P6: a batch in which nothing is applied/,
  'records are dropped with the context': /^P12: records outlive/,
  'a delete leaves no revision': /^P12: a deleted context/,
  'a delete keeps the log': /^P12: a deleted context/,
  'epochs are not compared': /^P5: a number of another epoch/,
  'old sessions begin records': /^P5: a session minted more/,
  'numbers may be skipped': /^P5: a number after a missing one/,
  'a batch is written around its repeats': /^P6: a batch with a repeat, a gap or a fence/,
  'a conflict never says what was missed': /^P5: a conflict answers what was missed/,
  'entries above the snapshot are trimmed': /^no entry above the snapshot/,
  'nothing is ever trimmed': /^the log drops its oldest/,
  'snapshots are not written again': /^a context is loaded as its newest snapshot/,
  'old records stay': /^P14: a step removes/,
  'records in use are removed': /^P14: a step removes/,
  'a raised epoch is not stored': /^P11: a record of another epoch/,
  'a sync of an expired session makes a record': /^P10: the record of an expired session/,
  'the settled number is not taken over': /^P11: a record of another epoch/,
  'what a client was told is not compared': /^P11: a record that ends below/,
  'a lost history is not reported': /^P11: a head that is not in the history/,
  'a trimmed log is taken for a lost history': /^P11: a trimmed log proves nothing/,
  'what the node has in memory is believed': /^P10: a client that has nothing/,
  'a sync reads record and state in two steps': /^P10: the record comes with the state/,
  'lists are not sorted': /^contexts are listed by id/,
  'prefixes are patterns': /^a prefix is taken letter by letter/,
  'others are not told of writes': /^a backend hears/,
}

/** The facts that do not hold of a backend. */
async function failures(Backend: new (store: StoreModel) => ContextBackend): Promise<string[]> {
  const cases = backendContract({
    create: () => {
      const shared = new SharedMemory()
      return { handle: () => new Backend(shared.store) }
    },
    patienceMs: 200,
  })
  const failed: string[] = []
  for (const { name, run } of cases) await run().catch(() => failed.push(name))
  return failed
}

test('the same memory backend, not broken, keeps the contract', async () => {
  expect(await failures(Broken)).toEqual([])
})

test.each(Object.entries(broken))('the contract is not kept where %s', async (name, Backend) => {
  expect(await failures(Backend)).toContainEqual(expect.stringMatching(caughtBy[name] ?? /^$/))
})
