import type { Head, StreamRecord } from '@contextd/protocol'
import { noHead, sameHead } from '../backends/backend.ts'
import type { LogEntry, SyncQuery, SyncResult } from '../backends/backend.ts'
import { emptyRecord, isExpired } from '../commits/commit-step.ts'
import type { StepView, StoredRecord } from '../commits/commit-step.ts'

/** What a store reads for a sync: the step's view, and the stored snapshot. */
export interface SyncView extends StepView {
  snapshot(): string | null
}
/** A sync's result, and the record to store with it, when the step raised its epoch (P11). */
export interface SyncOutcome {
  readonly result: SyncResult
  readonly record: StoredRecord | null
}

/** How a client's head relates to the stored history. */
type Standing = 'unknown' | 'head' | 'behind' | 'not in history' | 'other incarnation'

/** The sync step (P10, P11). Pure: a store reads `view`, stores `record` and answers `result`, in one atomic step. */
export function syncStep(view: SyncView, query: SyncQuery): SyncOutcome {
  const { stream, now } = query
  const stored = view.record(stream.key)
  if (stored === null && isExpired(stream, now, query.sessionTtlMs)) return { result: { type: 'expired' }, record: null }
  const was: StreamRecord = stored ? { epoch: stored.epoch, last: stored.last, verdicts: stored.verdicts } : emptyRecord

  const row = view.row
  const head = row?.head ?? noHead
  const since = query.head === null || head.version === 0 ? null : view.entriesAfter(query.head.version)
  const standing = standingOf(query.head, head, since, (version) => view.entriesAfter(version - 1)?.[0] ?? null)

  const lost = standing === 'not in history'
  const fence = lost || was.epoch !== stream.epoch || was.last < stream.told
  const record: StreamRecord = fence
    ? { epoch: Math.max(was.epoch, stream.epoch) + 1, last: Math.max(was.last, stream.settled), verdicts: was.verdicts }
    : was
  return {
    record: fence ? { ...record, usedAt: now } : null,
    result: {
      type: 'found',
      row,
      record,
      before: fence ? was : null,
      rolledBack: lost || (fence && standing === 'unknown' && query.head !== null && query.head.version > 0),
      ...wayTo(view, query, head, standing, since),
    },
  }
}

function standingOf(
  client: Head | null,
  head: Head,
  since: readonly LogEntry[] | null,
  at: (version: number) => LogEntry | null,
): Standing {
  if (client === null) return 'unknown'
  if (sameHead(client, head)) return 'head'
  if (client.incarnation !== head.incarnation || head.version === 0) return 'other incarnation'
  if (client.version >= head.version) return 'not in history'
  const next = since?.[0]
  if (next) return next.baseRevision === client.revision ? 'behind' : 'not in history'
  const same = at(client.version)
  return same && same.revision !== client.revision ? 'not in history' : 'unknown'
}

/** The smallest way from what the client or the node has to the head. */
function wayTo(
  view: SyncView,
  query: SyncQuery,
  head: Head,
  standing: Standing,
  since: readonly LogEntry[] | null,
): Pick<SyncResult & { type: 'found' }, 'way' | 'entries' | 'snapshot'> {
  if (standing === 'head' || head.version === 0) return { way: 'same', entries: [], snapshot: null }
  const row = view.row!
  if (standing === 'behind' && since !== null) {
    const size = since.reduce((sum, entry) => sum + entry.text.length, 0)
    const short = query.maxVersions === 0 || since.length <= query.maxVersions
    if (short && size <= row.snapshotSize + row.sinceSnapshotSize) return { way: 'since', entries: since, snapshot: null }
  }
  const { known } = query
  if (known !== null && known.incarnation === head.incarnation && known.version > 0) {
    if (sameHead(known, head)) return { way: 'known', entries: [], snapshot: null }
    const entries = known.version < head.version ? view.entriesAfter(known.version) : null
    if (entries?.[0]?.baseRevision === known.revision) return { way: 'known', entries, snapshot: null }
  }
  return { way: 'stored', entries: view.entriesAfter(row.snapshotVersion) ?? [], snapshot: view.snapshot() }
}
