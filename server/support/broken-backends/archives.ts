import type { ContextDump, RestoreBatch, RestoreResult } from '../../src/backends/backend.ts'
import type { StoreCopy } from '../../src/backends/store-model.ts'
import { Broken, afterCommit } from './broken.ts'
import type { BrokenBackend, BrokenBackends } from './broken.ts'

/** Changes restores before they are looked at. */
const beforeRestore = (change: (batch: RestoreBatch, before: StoreCopy) => RestoreBatch): BrokenBackend[0] =>
  class extends Broken {
    override async restore(batch: RestoreBatch): Promise<RestoreResult> {
      return this.store.restore(change(batch, this.store.copy(batch.contextId)))
    }
  }

/** Changes what is stored of a context after each restore. */
const afterRestore = (change: (copy: StoreCopy, before: StoreCopy, batch: RestoreBatch) => StoreCopy): BrokenBackend[0] =>
  class extends Broken {
    override async restore(batch: RestoreBatch): Promise<RestoreResult> {
      const before = this.store.copy(batch.contextId)
      const result = this.store.restore(batch)
      if (result.type === 'restored') this.change(batch.contextId, (copy) => change(copy, before, batch))
      return result
    }
  }

/** Changes dumps. */
const dumping = (change: (dump: ContextDump) => ContextDump): BrokenBackend[0] =>
  class extends Broken {
    override async dump(contextId: string): Promise<ContextDump | null> {
      const dump = this.store.dump(contextId)
      return dump && change(dump)
    }
  }

const restored = (copy: StoreCopy, is: boolean): StoreCopy => ({ ...copy, row: copy.row && { ...copy.row, restored: is } })

/** Archives, and what is put back from them. */
export const brokenArchives: BrokenBackends = {
  'a restore keeps the log': [
    afterRestore((copy, before) =>
      before.row === null ? copy : { ...copy, log: before.log, row: { ...copy.row!, firstVersion: before.row.firstVersion } },
    ),
    /^P13: the log goes/,
  ],
  'a restore drops the records that are there': [
    afterRestore((copy, _, batch) => ({ ...copy, records: new Map(batch.streams.map(({ key, ...record }) => [key, record])) })),
    /^P13: of two records of one stream the newer stays/,
  ],
  'a restore replaces the records that are there': [
    afterRestore((copy, _, batch) => ({
      ...copy,
      records: new Map([...copy.records, ...batch.streams.map(({ key, ...record }) => [key, record] as const)]),
    })),
    /^P13: of two records of one stream the newer stays/,
  ],
  'a restore replaces no record that is there': [
    afterRestore((copy, before) => ({ ...copy, records: new Map([...copy.records, ...before.records]) })),
    /^P13: of two records of one stream the newer stays/,
  ],
  'a restore brings no records': [
    beforeRestore((batch) => ({ ...batch, streams: [] })),
    /^P13: records come with the archive|^P13: what is restored into another store/,
  ],
  'a restore forgets the verdicts of its records': [
    beforeRestore((batch) => ({ ...batch, streams: batch.streams.map((stream) => ({ ...stream, verdicts: [] })) })),
    /^P13: records come with the archive/,
  ],
  'a restore looks at no head': [beforeRestore((batch) => ({ ...batch, base: null })), /^P13: a context is restored only on the head/],
  'a restore looks only for a context': [
    beforeRestore((batch, { row }) =>
      batch.base !== null && row !== null && batch.base.version > 0 ? { ...batch, base: row.head } : batch,
    ),
    /^P13: a context is restored only on the head/,
  ],
  'a restore begins a new incarnation': [
    beforeRestore((batch) => ({ ...batch, head: { ...batch.head, incarnation: `${batch.head.incarnation}'` } })),
    /^P13: a context is restored with its incarnation/,
  ],
  'a restore begins at version 1': [
    beforeRestore((batch) => ({ ...batch, head: { ...batch.head, version: 1 } })),
    /^P13: a context is restored with its incarnation/,
  ],
  'a restore takes the time for its own': [
    beforeRestore((batch) => ({ ...batch, createdAt: batch.now, updatedAt: batch.now })),
    /^P13: a context is restored with its incarnation/,
  ],
  'a restore forgets the version of the definition': [
    beforeRestore((batch) => ({ ...batch, schema: 0 })),
    /^P13: a context is restored with its incarnation/,
  ],
  'a restored context is not marked': [afterRestore((copy) => restored(copy, false)), /^a row says that its life began from an archive/],
  'the mark of a restored context goes with the next commit': [
    afterCommit((copy) => restored(copy, false)),
    /^a row says that its life began from an archive/,
  ],
  'the mark of a restored context outlives it': [
    afterCommit((copy, _, before) => (before.row?.restored ? restored(copy, true) : copy)),
    /^a row says that its life began from an archive/,
  ],
  'a restore ends locks': [afterRestore((copy) => ({ ...copy, locks: new Map() })), /^an archive has nothing to do with locks/],
  'a dump has no records': [dumping((dump) => ({ ...dump, streams: [] })), /^P13: a dump has the state/],
  'a dump forgets when records were used': [
    dumping((dump) => ({ ...dump, streams: dump.streams.map((stream) => ({ ...stream, usedAt: dump.stored.row.updatedAt })) })),
    /^P13: a dump has the state/,
  ],
  'a dump has records as they come': [
    dumping((dump) => ({ ...dump, streams: dump.streams.toSorted((a, b) => a.usedAt - b.usedAt || (a.key > b.key ? -1 : 1)) })),
    /^P13: a dump has the state/,
  ],
  'a dump has the state without the entries above it': [
    dumping((dump) => ({ ...dump, stored: { ...dump.stored, entries: [] } })),
    /^P13: a dump has the state/,
  ],
  'an absent context is dumped': [
    class extends Broken {
      override async dump(contextId: string): Promise<ContextDump | null> {
        const stored = this.store.load(contextId)
        return stored && { stored, streams: [] }
      }
    },
    /^an absent context has no dump/,
  ],
}
