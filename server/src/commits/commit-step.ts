import type { Head, StreamRecord, Verdict } from '@contextd/protocol'
import { noHead, sameHead } from '../backends/backend.ts'
import type {
  BatchMember,
  CommitBatch,
  CommitResult,
  ContextRow,
  LogEntry,
  MemberAnswer,
  PruneBatch,
  RestoreBatch,
  StreamAnswer,
  StreamPosition,
} from '../backends/backend.ts'

/** A stream's record as stored: with the time of its last use, for P14. */
export interface StoredRecord extends StreamRecord {
  readonly usedAt: number
}

/** How long records outlive the time in which their session may write (P14), ms. */
export const recordGraceMs = 86_400_000
/** Most old records that one step removes (P14). */
export const recordsPrunedPerStep = 8
/** Most log entries that the step of a batch trims: bounded, and more than it adds, so that the log does not outgrow its limit. */
export const entriesTrimmed = ({ entries }: Pick<CommitBatch, 'entries'>): number => entries.length + 64

/** What the step reads, as of one moment. */
export interface StepView {
  readonly row: ContextRow | null
  record(key: string): StoredRecord | null
  /** Entries of the log above `after`; null: the log does not reach back. */
  entriesAfter(after: number): readonly LogEntry[] | null
  /** Token of the lock of a key; null: nobody holds it. */
  lockToken(key: string): number | null
}

/** What the step decides; `records` are to be stored together with the batch's entries and snapshot, and its message published. */
export type StepOutcome =
  | Exclude<CommitResult, { type: 'committed' }>
  | { readonly type: 'committed'; readonly row: ContextRow; readonly records: ReadonlyMap<string, StoredRecord> }

/** What a store knows of a stream it has no record of. */
export const emptyRecord: StreamRecord = Object.freeze({ epoch: 0, last: 0, verdicts: Object.freeze([]) as never })

/** Whether a session is too old to begin a record (P5): what it sent before may have been forgotten. */
export const isExpired = (stream: { readonly mintedAt: number }, now: number, sessionTtlMs: number): boolean =>
  now - stream.mintedAt > sessionTtlMs

/** Decides on one member against the record of its stream, in the order of P5; null: it is the stream's next commit. */
function checkMember(stream: StreamPosition, record: StreamRecord | null, batch: CommitBatch): StreamAnswer | null {
  if (record === null && isExpired(stream, batch.now, batch.sessionTtlMs)) return { type: 'expired' }
  const { epoch, last, verdicts } = record ?? emptyRecord
  if (stream.epoch !== epoch) return { type: 'fenced' }
  if (stream.seq <= last) return { type: 'repeat', verdict: recordedVerdict(verdicts, stream.seq) }
  if (stream.seq > last + 1) return { type: 'gap' }
  return null
}

/** Verdict of a number that has one; one at or below the settled number is no longer known in full (P4). */
export function recordedVerdict(verdicts: StreamRecord['verdicts'], seq: number): Verdict {
  return verdicts.find(([number]) => number === seq)?.[1] ?? { type: 'applied', head: null }
}

/** The record after one more verdict: numbers that the client has settled are forgotten. */
function withVerdict(record: StreamRecord, stream: StreamPosition, verdict: Verdict, now: number): StoredRecord {
  const verdicts = record.verdicts.filter(([seq]) => seq > stream.settled)
  if (stream.seq > stream.settled) verdicts.push([stream.seq, verdict])
  return { epoch: record.epoch, last: stream.seq, verdicts, usedAt: now }
}

/**
 * The commit step (P5, P6): decides whether a batch may be written, before anything is. It is pure: a store reads `view` and writes the
 * outcome in the same atomic step. The Redis backend's script does the same.
 */
export function commitStep(view: StepView, batch: CommitBatch): StepOutcome {
  const records = new Map<string, StoredRecord>()
  const answers: { member: number; answer: StreamAnswer }[] = []
  batch.members.forEach(({ stream, verdict }: BatchMember, member) => {
    if (stream === null) return
    const record = records.get(stream.key) ?? view.record(stream.key)
    const answer = checkMember(stream, record, batch)
    if (answer) answers.push({ member, answer })
    else records.set(stream.key, withVerdict(record ?? emptyRecord, stream, verdict, batch.now))
  })
  if (answers.length > 0) return { type: 'members', answers }

  const head: Head = view.row?.head ?? noHead
  if (!sameHead(head, batch.base)) return { type: 'conflict', head, missed: missedSince(view, head, batch.base) }
  // Last: a batch that is sent again after it was stored must not be refused for a lock that was given back since.
  const locked = batch.members.flatMap(({ locks }, member) => unmetLock(view, locks, member) ?? [])
  if (locked.length > 0) return { type: 'members', answers: locked }
  return { type: 'committed', row: nextRow(view.row, batch), records }
}

/** The answer to a member whose locks are not as it demands; null: they are. */
function unmetLock(view: StepView, locks: BatchMember['locks'], member: number): { member: number; answer: MemberAnswer } | null {
  const unmet = locks?.find(({ key, token }) => view.lockToken(key) !== token)
  return unmet ? { member, answer: { type: 'locked', key: unmet.key } } : null
}

/** What leads from a base to the head, if the log shows that the base is in its history. */
function missedSince(view: StepView, head: Head, base: Head): readonly LogEntry[] | null {
  if (head.incarnation !== base.incarnation || head.version <= base.version) return null
  const entries = view.entriesAfter(base.version)
  return entries?.[0]?.baseRevision === base.revision ? entries : null
}

function nextRow(row: ContextRow | null, batch: CommitBatch): ContextRow {
  const size = batch.entries.reduce((sum, entry) => sum + entry.text.length, 0)
  const created = row === null || row.head.version === 0
  if (batch.remove) return { ...emptyRow(batch), createdAt: 0 }
  if (sameHead(batch.base, batch.head)) return row ?? emptyRow(batch)
  const before = created ? { ...emptyRow(batch), firstVersion: 1, logSize: 0 } : row
  return {
    head: batch.head,
    createdAt: created ? batch.now : before.createdAt,
    updatedAt: batch.now,
    updatedBy: batch.updatedBy,
    snapshotVersion: batch.snapshot === null ? before.snapshotVersion : batch.head.version,
    snapshotSize: batch.snapshot === null ? before.snapshotSize : batch.snapshot.length,
    firstVersion: before.firstVersion,
    logSize: before.logSize + size,
    sinceSnapshotSize: batch.snapshot === null ? before.sinceSnapshotSize + size : 0,
    schema: batch.schema,
    restored: before.restored,
  }
}

const emptyRow = (batch: CommitBatch): ContextRow => ({
  head: batch.head,
  createdAt: 0,
  updatedAt: batch.now,
  updatedBy: batch.updatedBy,
  snapshotVersion: 0,
  snapshotSize: 0,
  firstVersion: 1,
  logSize: 0,
  sinceSnapshotSize: 0,
  schema: 0,
  restored: false,
})

/**
 * How many of the oldest entries a log drops after a commit: none newer than the snapshot; those too old while the log is large, and any
 * while it is larger than its hard limit or longer than its longest; at most `most` (see {@link entriesTrimmed}). `oldest` is read from the oldest on.
 */
export function trimCount(
  row: ContextRow,
  retention: CommitBatch['retention'],
  oldest: Iterable<{ readonly committedAt: number; readonly size: number }>,
  most: number,
): number {
  let count = 0
  let size = row.logSize
  let length = row.head.version - row.firstVersion + 1
  // A context that is younger has no older entry; its first one, which is as large as its state, need not be read to know it.
  const mayBeOld = row.createdAt < retention.before
  for (const entry of oldest) {
    if (count >= most || row.firstVersion + count > row.snapshotVersion) break
    const old = mayBeOld && size > Math.max(retention.softSize, row.snapshotSize) && entry.committedAt < retention.before
    const long = retention.maxVersions > 0 && length > retention.maxVersions
    if (!old && !long && size <= retention.hardSize) break
    count += 1
    size -= entry.size
    length -= 1
  }
  return count
}

/** Whether a stream's record is from later than another of the same stream. */
export const isNewerRecord = (record: StreamRecord, than: StreamRecord): boolean =>
  record.epoch > than.epoch || (record.epoch === than.epoch && record.last > than.last)

/** The row of a context that is put in place of what is there. */
export function restoredRow({ head, createdAt, updatedAt, updatedBy, schema, snapshot }: RestoreBatch): ContextRow {
  return {
    head,
    createdAt,
    updatedAt,
    updatedBy,
    snapshotVersion: head.version,
    snapshotSize: snapshot.length,
    firstVersion: head.version + 1,
    logSize: 0,
    sinceSnapshotSize: 0,
    schema,
    restored: true,
  }
}

/** The row once a snapshot of its head is written; null: none is. */
export function withSnapshot(row: ContextRow, snapshot: string | null): ContextRow {
  return snapshot === null ? row : { ...row, snapshotVersion: row.head.version, snapshotSize: snapshot.length, sinceSnapshotSize: 0 }
}

/** How many of the oldest entries a cleanup drops: those too old, and those too many; none newer than the snapshot. `oldest` is read from the oldest on. */
export function pruneCount(
  row: ContextRow,
  { before, maxVersions }: PruneBatch,
  oldest: Iterable<{ readonly committedAt: number }>,
): number {
  let count = 0
  const length = row.head.version - row.firstVersion + 1
  for (const { committedAt } of oldest) {
    const old = committedAt < before
    const long = maxVersions > 0 && length - count > maxVersions
    if ((!old && !long) || row.firstVersion + count > row.snapshotVersion) break
    count += 1
  }
  return count
}
