import type { Head, StreamRecord, Verdict } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { noHead } from '../backends/backend.ts'
import type { BatchMember, CommitBatch, ContextRow, LogEntry, StreamPosition, SyncQuery, SyncStream } from '../backends/backend.ts'
import { commitStep, entriesTrimmed, trimCount } from './commit-step.ts'
import type { StoredRecord } from './commit-step.ts'
import { fastForward, fromStored, serverAuthor } from './known-context.ts'
import { encodeLogEntry } from './log-entry.ts'
import { syncStep } from '../reads/sync-step.ts'
import type { SyncView } from '../reads/sync-step.ts'

const now = 1_700_000_000_000
const hour = 3_600_000
const entry = (version: number, revision: string, baseRevision: string): LogEntry =>
  encodeLogEntry({
    version,
    revision,
    baseRevision,
    committedAt: now,
    author: serverAuthor,
    seq: 0,
    changes: [{ path: ['n'], action: 'modified', value: version, oldValue: version - 1 }],
  })
const log = [entry(1, 'r1', ''), entry(2, 'r2', 'r1'), entry(3, 'r3', 'r2')]
const head: Head = { incarnation: 'i', version: 3, revision: 'r3' }
const row: ContextRow = {
  head,
  createdAt: now,
  updatedAt: now,
  updatedBy: serverAuthor,
  snapshotVersion: 1,
  snapshotSize: 1_000,
  firstVersion: 1,
  logSize: 300,
  sinceSnapshotSize: 200,
  schema: 0,
  restored: false,
}
const applied = (version: number): Verdict => ({ type: 'applied', head: { incarnation: 'i', version, revision: `r${version}` } })
const record = (epoch: number, last: number, verdicts: StreamRecord['verdicts'] = []): StoredRecord => ({
  epoch,
  last,
  verdicts,
  usedAt: now,
})

function viewOf({
  records = {},
  first = 1,
  at = row as ContextRow | null,
}: {
  records?: { [key: string]: StoredRecord }
  first?: number
  at?: ContextRow | null
}): SyncView {
  return {
    row: at,
    record: (key) => records[key] ?? null,
    entriesAfter: (after) => (at === null || after + 1 < first ? null : log.filter(({ version }) => version > after)),
    snapshot: () => '{"n":1}',
    lockToken: () => null,
  }
}
const position = (seq: number, more: Partial<StreamPosition> = {}): StreamPosition => ({
  key: 's',
  mintedAt: now,
  epoch: 0,
  seq,
  settled: 0,
  ...more,
})
const member = (stream: StreamPosition | null, verdict: Verdict = applied(4)): BatchMember => ({ stream, verdict })
function batch(members: readonly BatchMember[], more: Partial<CommitBatch> = {}): CommitBatch {
  const next: Head = { incarnation: 'i', version: 4, revision: 'r4' }
  return {
    contextId: 'c',
    base: head,
    head: next,
    now,
    sessionTtlMs: hour,
    members,
    entries: [entry(4, 'r4', 'r3')],
    snapshot: null,
    schema: 0,
    updatedBy: serverAuthor,
    remove: false,
    retention: { before: 0, softSize: 1_000_000, hardSize: 1_000_000, maxVersions: 0 },
    message: null,
    ...more,
  }
}

const at = (version: number, revision = `r${version}`, incarnation = 'i'): Head => ({ incarnation, version, revision })

describe('the commit step', () => {
  const refused: Verdict = { type: 'refused', code: 'conflict', message: 'no' }
  const records = {
    s: record(2, 5, [
      [4, refused],
      [5, applied(3)],
    ]),
  }
  test.each<[string, StreamPosition, object]>([
    ['P5: an old session without a record is expired', position(1, { key: 'old', mintedAt: now - hour - 1 }), { type: 'expired' }],
    ['P5: another epoch is fenced, a later one too', position(6, { epoch: 3 }), { type: 'fenced' }],
    ['P5: another epoch is fenced, an earlier one too', position(6, { epoch: 1 }), { type: 'fenced' }],
    ['P4: a repeat is told the recorded refusal', position(4, { epoch: 2 }), { type: 'repeat', verdict: refused }],
    ['P4: a repeat is told the recorded version', position(5, { epoch: 2 }), { type: 'repeat', verdict: applied(3) }],
    [
      'P4: a settled repeat is told applied without version',
      position(1, { epoch: 2 }),
      { type: 'repeat', verdict: { type: 'applied', head: null } },
    ],
    ['P5: a skipped number is a gap', position(7, { epoch: 2 }), { type: 'gap' }],
    ['P5: a new stream begins at 1', position(2, { key: 'new' }), { type: 'gap' }],
  ])('%s', (_name, stream, answer) => {
    expect(commitStep(viewOf({ records }), batch([member(stream)]))).toEqual({ type: 'members', answers: [{ member: 0, answer }] })
  })

  test('P5: streams are looked at before the head, so that a repeat is told its verdict and no conflict', () => {
    const outcome = commitStep(viewOf({ records }), batch([member(position(5, { epoch: 2 }))], { base: { ...head, revision: 'other' } }))
    expect(outcome.type).toBe('members')
  })

  test('a session of exactly its lifetime may still begin a record', () => {
    expect(commitStep(viewOf({}), batch([member(position(1, { mintedAt: now - hour }))])).type).toBe('committed')
  })

  test.each<[string, Head, Head, readonly LogEntry[] | null]>([
    ['with the way from its base', { ...head, version: 1, revision: 'r1' }, head, log.slice(1)],
    ['without a way from another revision', { ...head, version: 1, revision: 'x' }, head, null],
    ['without a way from another life', { incarnation: 'j', version: 1, revision: 'r1' }, head, null],
    ['without a way from a later version', { ...head, version: 9, revision: 'r9' }, head, null],
    ['without a way from absent', noHead, head, null],
  ])('P5: another head is a conflict, %s', (_name, base, stored, missed) => {
    expect(commitStep(viewOf({}), batch([member(null)], { base }))).toEqual({ type: 'conflict', head: stored, missed })
  })

  test('P5: a batch without a delta conflicts as well', () => {
    const base = { ...head, version: 2, revision: 'r2' }
    const only = batch([member(position(1), { type: 'nothing', head: base })], { base, head: base, entries: [] })
    expect(commitStep(viewOf({}), only).type).toBe('conflict')
  })

  test('P4: verdicts above the settled number are kept, those at or below it are forgotten', () => {
    const members = [member(position(6, { epoch: 2, settled: 4 })), member(position(7, { epoch: 2, settled: 5 }), refused)]
    const outcome = commitStep(viewOf({ records }), batch(members))
    expect(outcome.type === 'committed' && outcome.records.get('s')).toEqual({
      epoch: 2,
      last: 7,
      verdicts: [
        [6, applied(4)],
        [7, refused],
      ],
      usedAt: now,
    })
  })

  test('P12: a delete leaves a head without life, and the records', () => {
    const gone: Head = { incarnation: '', version: 0, revision: 'r4' }
    const outcome = commitStep(viewOf({ records }), batch([member(position(6, { epoch: 2 }))], { remove: true, head: gone, entries: [] }))
    expect(outcome).toMatchObject({ type: 'committed', row: { head: gone, logSize: 0 } })
    expect(outcome.type === 'committed' && outcome.records.get('s')?.last).toBe(6)
  })

  const big = { ...row, head: { ...head, version: 10 }, snapshotVersion: 8, logSize: 1_000 }
  const sizes = Array.from({ length: 10 }, () => ({ committedAt: 100, size: 100 }))
  const keep = { before: 0, softSize: 1_000_000, hardSize: 1_000_000, maxVersions: 0 }
  test.each<[string, Partial<typeof keep>, number]>([
    ['nothing goes while the log is small', { before: 1_000 }, 0],
    ['nothing goes while it is young', { softSize: 100 }, 0],
    ['old entries stay while the log is no larger than the state', { before: 101, softSize: 500 }, 0],
    ['entries of exactly the age stay', { before: 100, softSize: 0, hardSize: 1_000_000 }, 0],
    ['any go above the hard limit', { hardSize: 700 }, 3],
    ['none newer than the snapshot goes', { hardSize: 0 }, 8],
    ['a log longer than its longest is shortened', { maxVersions: 6 }, 4],
  ])('retention: %s', (_name, retention, count) => {
    expect(trimCount(big, { ...keep, ...retention }, sizes, 64)).toBe(count)
  })
  test('retention: old entries go, down to the size of the state', () => {
    expect(trimCount({ ...big, createdAt: 100, snapshotSize: 600 }, { ...keep, before: 101, softSize: 500 }, sizes, 64)).toBe(4)
  })
  test('retention: a context that is younger than an old entry has none', () => {
    expect(trimCount({ ...big, createdAt: 101, snapshotSize: 600 }, { ...keep, before: 101, softSize: 500 }, sizes, 64)).toBe(0)
  })
  test('retention: a step trims more than it adds, and not without bound', () => {
    expect(trimCount(big, { ...keep, hardSize: 0 }, sizes, 3)).toBe(3)
    expect(entriesTrimmed(batch([], { entries: log }))).toBe(67)
  })
})

describe('the sync step', () => {
  const stream: SyncStream = { key: 's', mintedAt: now, epoch: 0, told: 0, settled: 0 }
  const query = (client: Head | null, more: Partial<SyncStream> = {}, rest: Partial<SyncQuery> = {}): SyncQuery => ({
    contextId: 'c',
    head: client,
    stream: { ...stream, ...more },
    known: null,
    now,
    sessionTtlMs: hour,
    maxVersions: 0,
    ...rest,
  })

  test.each<[string, Head | null, { way: string; fenced: boolean; rolledBack: boolean }, number?]>([
    ['nothing in hand gets the stored state', null, { way: 'stored', fenced: false, rolledBack: false }],
    ['the head gets nothing', at(3), { way: 'same', fenced: false, rolledBack: false }],
    ['an older version gets the entries since', at(1), { way: 'since', fenced: false, rolledBack: false }],
    ['P11: a version above the head is not in the history', at(4), { way: 'stored', fenced: true, rolledBack: true }],
    ['P11: the head version with another revision is not in the history', at(3, 'x'), { way: 'stored', fenced: true, rolledBack: true }],
    ['P11: an older version with another revision is not in the history', at(2, 'x'), { way: 'stored', fenced: true, rolledBack: true }],
    ['P11: a trimmed log proves nothing', at(1, 'x'), { way: 'stored', fenced: false, rolledBack: false }, 3],
    ['P12: another life is no rollback', at(9, 'x', 'j'), { way: 'stored', fenced: false, rolledBack: false }],
  ])('%s', (_name, client, { way, fenced, rolledBack }, first) => {
    const { result, record: stored } = syncStep(viewOf(first === undefined ? {} : { first }), query(client))
    expect(result).toMatchObject({ type: 'found', way, rolledBack })
    expect(stored !== null).toBe(fenced)
  })

  test.each<[string, Partial<SyncStream>, StoredRecord, StreamRecord | null]>([
    ['told no more than is recorded: no fence', { epoch: 2, told: 5 }, record(2, 5), null],
    ['told more than is recorded: a fence', { epoch: 2, told: 6, settled: 3 }, record(2, 5), { epoch: 3, last: 5, verdicts: [] }],
    [
      'the last number does not go below what is settled',
      { epoch: 2, told: 6, settled: 6 },
      record(2, 5),
      { epoch: 3, last: 6, verdicts: [] },
    ],
    [
      'another epoch: a fence above both',
      { epoch: 7 },
      record(2, 5, [[5, applied(3)]]),
      { epoch: 8, last: 5, verdicts: [[5, applied(3)]] },
    ],
    ['… whichever is larger', { epoch: 1 }, record(4, 5), { epoch: 5, last: 5, verdicts: [] }],
  ])('P11: %s', (_name, more, stored, fenced) => {
    for (const client of [at(3), at(9, 'x', 'j')]) {
      const { result, record: raised } = syncStep(viewOf({ records: { s: stored } }), query(client, more))
      expect(raised).toEqual(fenced && { ...fenced, usedAt: now })
      expect(result.type === 'found' && result.record.epoch).toBe(fenced?.epoch ?? stored.epoch)
      expect(result.type === 'found' && result.before?.last).toBe(fenced ? stored.last : undefined)
    }
  })

  test('P10: an expired session without a record is told so, and no record is made', () => {
    expect(syncStep(viewOf({}), query(at(9), { mintedAt: now - hour - 1, told: 3 }))).toEqual({ result: { type: 'expired' }, record: null })
  })

  test('P10: the smaller of deltas and state is answered, and no more versions than allowed', () => {
    const small = { ...row, snapshotSize: 10, sinceSnapshotSize: 10 }
    expect(syncStep(viewOf({ at: small }), query(at(1))).result).toMatchObject({ way: 'stored' })
    expect(syncStep(viewOf({}), query(at(1), {}, { maxVersions: 1 })).result).toMatchObject({ way: 'stored' })
    expect(syncStep(viewOf({}), query(at(1), {}, { maxVersions: 2 })).result).toMatchObject({ way: 'since' })
  })

  test('a node that has the state is only given what it misses', () => {
    expect(syncStep(viewOf({}), query(null, {}, { known: at(2) })).result).toMatchObject({
      way: 'known',
      entries: log.slice(2),
      snapshot: null,
    })
    expect(syncStep(viewOf({}), query(null, {}, { known: at(2, 'x') })).result).toMatchObject({ way: 'stored', snapshot: '{"n":1}' })
  })
})

describe('a known context', () => {
  const stored = fromStored({ row, snapshot: '{"n":1}', entries: log.slice(1) })
  test('is the snapshot and the entries above it', () => {
    expect(stored).toMatchObject({ head, state: { n: 3 }, snapshotVersion: 1 })
    expect(stored.stateSize).toBeGreaterThanOrEqual('{"n":3}'.length)
  })
  test('moves on by the entries that lead to a head, and by no others', () => {
    const at1 = { ...fromStored({ row, snapshot: '{"n":1}', entries: [] }), head: { incarnation: 'i', version: 1, revision: 'r1' } }
    expect(fastForward(at1, head, log.slice(1))).toMatchObject({ head, state: { n: 3 } })
    expect(fastForward(at1, head, log.slice(2))).toBeNull()
    expect(fastForward(at1, { ...head, revision: 'x' }, log.slice(1))).toBeNull()
    expect(fastForward(at1, { ...head, incarnation: 'j' }, log.slice(1))).toBeNull()
    expect(fastForward({ ...at1, head: { ...at1.head, revision: 'x' } }, head, log.slice(1))).toBeNull()
  })
})
