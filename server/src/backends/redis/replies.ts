import type { Author, Head, Verdict } from '@contextd/protocol'
import type { ContextRow, LogEntry, StoredContext, SyncQuery, SyncResult } from '../backend.ts'
import { decodeVerdict } from './verdict-text.ts'

/** The fields of a row, as scripts reply them; none: there is no row. */
export function decodeRow(fields: readonly string[]): ContextRow | null {
  if (fields.length === 0) return null
  const [incarnation, version, revision, createdAt, updatedAt, updatedBy, ...rest] = fields
  const [snapshotVersion, snapshotSize, firstVersion, logSize, sinceSnapshotSize, schema, restored] = rest as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ]
  return {
    head: headOf(incarnation!, version!, revision!),
    createdAt: Number(createdAt),
    updatedAt: Number(updatedAt),
    updatedBy: JSON.parse(updatedBy!) as Author,
    snapshotVersion: Number(snapshotVersion),
    snapshotSize: Number(snapshotSize),
    firstVersion: Number(firstVersion),
    logSize: Number(logSize),
    sinceSnapshotSize: Number(sinceSnapshotSize),
    schema: Number(schema),
    restored: restored === '1',
  }
}

/** A head of its texts. */
export const headOf = (incarnation: string, version: string, revision: string): Head => ({
  incarnation,
  version: Number(version),
  revision,
})

/** An entry as it goes into the log; its revision is the next one's base, or the head's. */
export function encodeEntry({ baseRevision, text }: LogEntry): string {
  return `${text.length} ${baseRevision} ${text}`
}

/** Entries of the log from a version on, up to the head. */
export function decodeEntries(items: readonly string[], firstVersion: number, headRevision: string): LogEntry[] {
  const bases = items.map((item) => item.slice(item.indexOf(' ') + 1, textAt(item) - 1))
  return items.map((item, index) => {
    const text = item.slice(textAt(item))
    const committedAt = Number(text.slice(1, text.indexOf(',')))
    return { version: firstVersion + index, revision: bases[index + 1] ?? headRevision, baseRevision: bases[index]!, committedAt, text }
  })
}

const textAt = (item: string): number => item.indexOf(' ', item.indexOf(' ') + 1) + 1

/** What the load script replied. */
export function decodeLoad(reply: unknown): StoredContext | null {
  const [fields, snapshot, items] = reply as readonly [string[], string, string[]]
  const row = decodeRow(fields)
  if (row === null) return null
  return { row, snapshot: snapshot || null, entries: decodeEntries(items, row.snapshotVersion + 1, row.head.revision) }
}

/** What the log script replied. */
export function decodeLog(reply: unknown): LogEntry[] {
  const [headRevision, firstVersion, items] = reply as readonly [string, string, string[]]
  return decodeEntries(items, Number(firstVersion), headRevision)
}

type FoundReply = readonly [
  type: 'found',
  fields: string[],
  epoch: string,
  last: string,
  epochBefore: string,
  lastBefore: string,
  rolledBack: string,
  way: 'same' | 'since' | 'known' | 'stored',
  snapshot: string,
  items: string[],
  floor: string,
  pieces: string[],
]

/** What the sync script replied. */
export function decodeSync(reply: unknown, query: SyncQuery): SyncResult {
  const found = reply as FoundReply | readonly ['expired']
  if (found[0] === 'expired') return { type: 'expired' }
  const [, fields, epoch, last, epochBefore, lastBefore, rolledBack, way, snapshot, items, floor, pieces] = found
  const row = decodeRow(fields)
  const verdicts = decodeVerdicts(pieces.join(''), Number(floor))
  const from = { same: 0, since: query.head?.version ?? 0, known: query.known?.version ?? 0, stored: row?.snapshotVersion ?? 0 }[way]
  return {
    type: 'found',
    row,
    record: { epoch: Number(epoch), last: Number(last), verdicts },
    before: epochBefore === '' ? null : { epoch: Number(epochBefore), last: Number(lastBefore), verdicts },
    rolledBack: rolledBack === '1',
    way,
    entries: decodeEntries(items, from + 1, row?.head.revision ?? ''),
    snapshot: snapshot || null,
  }
}

/** Lines of verdicts, without those up to the floor. */
export function decodeVerdicts(lines: string, floor: number): [number, Verdict][] {
  const verdicts: [number, Verdict][] = []
  for (const line of lines.split('\n').slice(0, -1)) {
    const space = line.indexOf(' ')
    const seq = Number(line.slice(0, space))
    if (seq > floor) verdicts.push([seq, decodeVerdict(line.slice(space + 1))])
  }
  return verdicts
}
