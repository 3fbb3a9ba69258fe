import { setImmediate as turn } from 'node:timers/promises'
import type { CommitBatch, CommitResult, ListQuery, ListedContext, SyncQuery, SyncResult } from '../../src/backends/backend.ts'
import { Broken, aroundSync } from './broken.ts'
import type { BrokenBackends } from './broken.ts'

/** Reads the state a moment after the record. */
class SyncInTwoSteps extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const first = this.store.sync(query)
    await turn()
    const second = this.store.sync(query)
    return first.type === 'found' && second.type === 'found' ? { ...second, record: first.record } : second
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

class RaisedEpochNotStored extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const copy = this.store.copy(query.contextId)
    const result = this.store.sync(query)
    this.store.putBack(copy)
    return result
  }
}

class TrimmedIsLost extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const first = this.store.copy(query.contextId).row?.firstVersion ?? 0
    const result = this.store.sync(query)
    const before = query.head !== null && query.head.version + 1 < first
    return result.type === 'found' && before ? { ...result, rolledBack: true } : result
  }
}

class BelievesTheNode extends Broken {
  override async sync(query: SyncQuery): Promise<SyncResult> {
    const result = this.store.sync(query)
    const believes = result.type === 'found' && result.way === 'stored' && query.known !== null && query.known.version > 0
    return believes ? { ...result, way: 'known', entries: [], snapshot: null } : result
  }
}

class PrefixesArePatterns extends Broken {
  override async list(query: ListQuery): Promise<readonly ListedContext[]> {
    const pattern = new RegExp(`^${query.prefix.replaceAll('_', '.').replaceAll(/[[\]*%]/g, '.*')}`)
    const all = this.store.list({ ...query, prefix: '', limit: 0, offset: 0 }).filter(({ contextId }) => pattern.test(contextId))
    return all.slice(query.offset, query.limit === 0 ? undefined : query.offset + query.limit)
  }
}

/** Syncs, which look at records and histories, and lists. */
export const brokenReads: BrokenBackends = {
  'a raised epoch is not stored': [RaisedEpochNotStored, /^P11: a record of another epoch/],
  'a sync of an expired session makes a record': [
    aroundSync((query) => ({ ...query, sessionTtlMs: Number.MAX_SAFE_INTEGER })),
    /^P10: the record of an expired session/,
  ],
  'the settled number is not taken over': [
    aroundSync((query) => ({ ...query, stream: { ...query.stream, settled: 0 } })),
    /^P11: a record of another epoch/,
  ],
  'what a client was told is not compared': [
    aroundSync((query) => ({ ...query, stream: { ...query.stream, told: 0 } })),
    /^P11: a record that ends below/,
  ],
  'a lost history is not reported': [
    aroundSync(
      (query) => query,
      (result) => (result.type === 'found' ? { ...result, rolledBack: false } : result),
    ),
    /^P11: a head that is not in the history/,
  ],
  'a trimmed log is taken for a lost history': [TrimmedIsLost, /^P11: a trimmed log proves nothing/],
  'what the node has in memory is believed': [BelievesTheNode, /^P10: a client that has nothing/],
  'a sync reads record and state in two steps': [SyncInTwoSteps, /^P10: the record comes with the state/],
  'lists are not sorted': [Unsorted, /^contexts are listed by id/],
  'prefixes are patterns': [PrefixesArePatterns, /^a prefix is taken letter by letter/],
}
