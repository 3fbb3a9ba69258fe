import { setImmediate as turn } from 'node:timers/promises'
import { noHead, sameHead } from '../../src/backends/backend.ts'
import type { CommitBatch, CommitResult } from '../../src/backends/backend.ts'
import { Broken, afterCommit, beforeCommit, eachRecord, headOf, onHead } from './broken.ts'
import type { BrokenBackends } from './broken.ts'

/** Checks the head, and writes a moment later on whatever head there is then. */
class HeadCheckedEarlier extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (!sameHead(headOf(this.store, batch.contextId), batch.base)) return this.store.commit(batch)
    await turn()
    return this.store.commit(onHead(batch, this.store))
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

class AnswersNothingMissed extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    return result.type === 'conflict' ? { ...result, missed: null } : result
  }
}

class DeletesOnlyWhatIsThere extends Broken {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const gone = batch.remove && headOf(this.store, batch.contextId).version === 0
    return gone ? { type: 'committed' } : this.store.commit(batch)
  }
}

/** Commits: order, atomicity, verdicts, and what leaves a log with them. */
export const brokenCommits: BrokenBackends = {
  'the head is not checked': [beforeCommit(onHead), /^P1: a batch is stored only on its base/],
  'the head check is not atomic: it comes before the write': [HeadCheckedEarlier, /^of batches that race/],
  'the incarnation check is dropped': [
    beforeCommit((batch, store) => {
      const { base } = onHead(batch, store)
      const alike = base.version > 0 && base.version === batch.base.version && base.revision === batch.base.revision
      return alike ? { ...batch, base } : batch
    }),
    /^P12: what was computed on the old incarnation/,
  ],
  'revisions are not compared': [
    beforeCommit((batch, store) => {
      const { base } = onHead(batch, store)
      return base.incarnation === batch.base.incarnation && base.version === batch.base.version ? { ...batch, base } : batch
    }),
    /^P1: a batch is stored only on its base/,
  ],
  'the revision of an absent context is not compared': [
    beforeCommit((batch, store) => {
      const { base } = onHead(batch, store)
      return base.version === 0 && batch.base.version === 0 ? { ...batch, base } : batch
    }),
    /^P1: an absent context has a revision/,
  ],
  'batches without a delta do not check the head': [
    beforeCommit((batch, store) =>
      batch.entries.length === 0 && !batch.remove ? { ...batch, base: onHead(batch, store).base, head: onHead(batch, store).base } : batch,
    ),
    /^P5: a batch without a delta checks the head/,
  ],
  'verdicts are forgotten': [
    afterCommit((copy) => ({ ...copy, records: eachRecord(copy.records, (record) => ({ ...record, verdicts: [] })) })),
    /^P4: a number that has a verdict/,
  ],
  'verdicts lose their details': [
    afterCommit((copy) => ({
      ...copy,
      records: eachRecord(copy.records, (record) => ({
        ...record,
        verdicts: record.verdicts.map(([seq, verdict]) => [
          seq,
          verdict.type === 'refused' ? { type: 'refused', code: verdict.code, message: verdict.message } : verdict,
        ]),
      })),
    })),
    /^P4: a number that has a verdict/,
  ],
  'settled verdicts are kept': [
    beforeCommit((batch) => ({
      ...batch,
      members: batch.members.map((member) => ({ ...member, stream: member.stream && { ...member.stream, settled: 0 } })),
    })),
    /^P4: a record holds every verdict above the settled/,
  ],
  'refusals are not recorded': [
    beforeCommit((batch) =>
      batch.entries.length === 0 && !batch.remove
        ? { ...batch, members: batch.members.filter(({ verdict }) => verdict.type !== 'refused') }
        : batch,
    ),
    /^P6: a batch in which nothing is applied/,
  ],
  'records are dropped with the context': [
    afterCommit((copy, batch) => (batch.remove ? { ...copy, records: new Map() } : copy)),
    /^P12: records outlive/,
  ],
  'a delete leaves no revision': [
    afterCommit((copy, batch) => (batch.remove ? { ...copy, row: { ...copy.row!, head: noHead } } : copy)),
    /^P12: a deleted context/,
  ],
  'a delete of what is not there is not stored': [DeletesOnlyWhatIsThere, /^P1: a delete of what is not there/],
  'a delete keeps the log': [
    afterCommit((copy, batch, before) => (batch.remove ? { ...copy, log: before.log } : copy)),
    /^P12: a deleted context/,
  ],
  'the version of the definition is not stored': [beforeCommit((batch) => ({ ...batch, schema: 0 })), /^a created context is stored with/],
  'epochs are not compared': [
    beforeCommit((batch, store) => ({
      ...batch,
      members: batch.members.map(({ stream, ...rest }) => {
        const epoch = stream === null ? undefined : store.copy(batch.contextId).records.get(stream.key)?.epoch
        return { stream: stream && { ...stream, epoch: epoch ?? 0 }, ...rest }
      }),
    })),
    /^P5: a number of another epoch/,
  ],
  'old sessions begin records': [
    beforeCommit((batch) => ({ ...batch, sessionTtlMs: Number.MAX_SAFE_INTEGER })),
    /^P5: a session minted more/,
  ],
  'numbers may be skipped': [
    beforeCommit((batch, store) => ({
      ...batch,
      members: batch.members.map(({ stream, ...rest }) => {
        const last = stream === null ? 0 : (store.copy(batch.contextId).records.get(stream.key)?.last ?? 0)
        const skips = stream !== null && stream.seq > last + 1 && batch.members.length === 1
        return { stream: stream && { ...stream, seq: skips ? last + 1 : stream.seq }, ...rest }
      }),
    })),
    /^P5: a number after a missing one/,
  ],
  'a batch is written around its repeats': [WritesAroundRepeats, /^P6: a batch with a repeat, a gap or a fence/],
  'a conflict never says what was missed': [AnswersNothingMissed, /^P5: a conflict answers what was missed/],
  'the log is trimmed above the snapshot': [
    afterCommit((copy, batch) => {
      const { maxVersions } = batch.retention
      const extra = maxVersions > 0 ? Math.max(0, copy.log.length - maxVersions) : 0
      return { ...copy, log: copy.log.slice(extra), row: copy.row && { ...copy.row, firstVersion: copy.row.firstVersion + extra } }
    }),
    /^no entry above the snapshot leaves the log/,
  ],
  'nothing is ever trimmed': [
    beforeCommit((batch) => ({ ...batch, retention: { before: 0, softSize: 1e9, hardSize: 1e9, maxVersions: 0 } })),
    /^the log drops its oldest/,
  ],
  'snapshots are not written again': [
    beforeCommit((batch) => (batch.base.version === 0 ? batch : { ...batch, snapshot: null })),
    /^a context is loaded as its newest snapshot/,
  ],
  'old records stay': [
    beforeCommit((batch, store) => {
      const copy = store.copy(batch.contextId)
      store.putBack({ ...copy, records: eachRecord(copy.records, (record) => ({ ...record, usedAt: Number.MAX_SAFE_INTEGER })) })
      return batch
    }),
    /^P14: a step removes/,
  ],
  'records in use are removed': [
    afterCommit((copy, batch) => ({
      ...copy,
      records: eachRecord(copy.records, (record) => (record.usedAt < batch.now - batch.sessionTtlMs ? null : record)),
    })),
    /^P14: a step removes/,
  ],
}
