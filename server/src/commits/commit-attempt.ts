import { revisionOf } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import type { BatchMember, CommitBatch, LogEntry, Retention } from '../backends/backend.ts'
import { BatchStates } from './batch-states.ts'
import { decide } from './decide.ts'
import type { Decided, DecideOptions, Submission } from './decide.ts'
import type { KnownContext } from './known-context.ts'
import { logEntry } from './log-entry.ts'

/** A batch on its way to the store. */
export interface Attempt<T> {
  readonly batch: CommitBatch
  readonly decided: readonly Decided<T>[]
  /** The context, once the batch is stored. */
  readonly after: KnownContext
  /** True: an earlier sending may have been stored. */
  unknown: boolean
}

/** What batches depend on besides the context. */
export interface AttemptOptions extends DecideOptions {
  readonly sessionTtlMs: number
  readonly deltaTtlMs: number
  /** Most versions that the log keeps; 0: any. */
  readonly deltaThreshold: number
}

/** Logs shorter than this never bring a new snapshot for their length: reading so many entries is as cheap as reading one. */
const snapshotFloor = 16_384
const retentionFloor = 262_144
const retentionMargin = 1_048_576
/** Most UTF-16 units of a batch's entries. */
const entriesSize = 262_144

/** Decides submissions in order on what is known, and makes the batch of them; `rest` is for the next one. */
export function buildAttempt<T>(
  contextId: string,
  known: KnownContext,
  submissions: readonly Submission<T>[],
  now: number,
  options: AttemptOptions,
): { attempt: Attempt<T>; rest: readonly Submission<T>[] } {
  // New for each attempt on a base (P1); a resend of the same attempt is the same batch.
  const token = options.mint()
  const decided: Decided<T>[] = []
  const entries: LogEntry[] = []
  const states = new BatchStates(known.state, options.itemKey)
  let at = known
  let removed = false
  let size = 0
  for (const submission of submissions) {
    // A delete is the only change of its batch, so that a batch has one incarnation.
    if (removed || size > entriesSize || (submission.remove && entries.length > 0)) break
    const next = decide(submission, at, states, revisionOf(token, entries.length), now, options)
    if (next.after !== at) {
      if (submission.remove) removed = true
      else size += entries[entries.push(entryOf(next, now)) - 1]!.text.length
    }
    decided.push(next)
    at = next.after
  }
  const { snapshot, after } = settled(known, at, size, options)
  const batch: CommitBatch = {
    contextId,
    base: known.head,
    head: at.head,
    now,
    sessionTtlMs: options.sessionTtlMs,
    members: decided.map(memberOf),
    entries,
    snapshot,
    updatedBy: at.updatedBy,
    schema: at.schema,
    remove: removed,
    retention: retentionFor(after.stateSize, now, options),
    message: removed ? headFrame(contextId, at.head) : entries.length > 0 ? deltaFrame(contextId, known, decided, at, token, now) : null,
  }
  return { attempt: { batch, decided, after, unknown: false }, rest: submissions.slice(decided.length) }
}

function memberOf<T>({ submission, verdict }: Decided<T>): BatchMember {
  const { stream, locks } = submission
  return verdict.type === 'refused' || locks === undefined ? { stream, verdict } : { stream, verdict, locks }
}

function entryOf<T>({ submission, before, after, encoded }: Decided<T>, now: number): LogEntry {
  const { version, revision } = after.head
  const { author, stream } = submission
  return logEntry(
    { version, revision, baseRevision: before.head.revision, committedAt: now, author, seq: stream?.seq ?? 0 },
    encoded.logged,
  )
}

/** The snapshot to write with a batch, if it is time for one, and the context once the batch is stored. */
function settled(
  known: KnownContext,
  at: KnownContext,
  size: number,
  options: AttemptOptions,
): { snapshot: string | null; after: KnownContext } {
  const { state } = at
  if (at === known || state === null) return { snapshot: null, after: at }
  const grown = at.sinceSnapshotSize + size
  if (!isSnapshotDue(known, at, grown, options.deltaThreshold)) return { snapshot: null, after: { ...at, state, sinceSnapshotSize: grown } }
  const snapshot = JSON.stringify(state)
  const stateSize = options.byteLength(snapshot)
  return { snapshot, after: { ...at, state, stateSize, snapshotVersion: at.head.version, sinceSnapshotSize: 0 } }
}

/** On creation, and when the log since the last snapshot has grown as large as the state; a small state also when the log holds more versions than it should. */
function isSnapshotDue(known: KnownContext, at: KnownContext, grown: number, deltaThreshold: number): boolean {
  if (known.state === null || grown > Math.max(at.stateSize, snapshotFloor)) return true
  return deltaThreshold > 0 && at.head.version - at.snapshotVersion > deltaThreshold && at.stateSize <= grown + snapshotFloor
}

function retentionFor(stateSize: number, now: number, options: AttemptOptions): Retention {
  return {
    before: now - options.deltaTtlMs,
    softSize: Math.max(stateSize, retentionFloor),
    hardSize: 4 * stateSize + retentionMargin,
    maxVersions: options.deltaThreshold,
  }
}

/** The frame that tells subscribers a head: they read what led there. */
export function headFrame(contextId: string, { incarnation, version, revision }: Head): string {
  return JSON.stringify(['h', [contextId, incarnation, version, revision]])
}

/** The frame that tells subscribers the commits of a batch: a `deltaFrameSchema`, put together from what is encoded already. */
function deltaFrame<T>(
  contextId: string,
  known: KnownContext,
  decided: readonly Decided<T>[],
  at: KnownContext,
  token: string,
  now: number,
): string {
  const authors: [string | null, string][] = []
  const indexes = new Map<string, number>()
  let commits = ''
  for (const { submission, revision, encoded } of decided) {
    if (revision === null) continue
    const { userId, actor } = submission.author
    const name = `${actor} ${userId}`
    let index = indexes.get(name)
    if (index === undefined) {
      index = authors.push([userId, actor]) - 1
      indexes.set(name, index)
    }
    commits += `${commits === '' ? '' : ','}[${index},${submission.stream?.seq ?? 0},${encoded.wire}]`
  }
  const start = JSON.stringify([contextId, at.head.incarnation, known.head.version, known.head.revision, token, now, authors])
  return `["d",${start.slice(0, -1)},[${commits}]]]`
}
