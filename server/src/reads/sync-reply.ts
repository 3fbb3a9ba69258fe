import type { Author, Head, StreamRecord, SyncReply } from '@contextd/protocol'
import { packChanges } from '@contextd/protocol'
import { noHead } from '../backends/backend.ts'
import type { LogEntry, SyncResult } from '../backends/backend.ts'
import { emptyRecord } from '../commits/commit-step.ts'
import { fastForward, fromStored } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import { decodeLogEntry } from '../commits/log-entry.ts'

/** What a sync found, as it goes on the wire, and the context as the node knows it afterwards; null: it learned nothing. */
export interface SyncAnswered {
  readonly reply: Omit<SyncReply, 'access'>
  readonly known: KnownContext | null
}
type Found = SyncResult & { readonly type: 'found' }
type WireAnswer = SyncReply['answer']

/**
 * Writes down what a store found for a client (P10). Pure.
 * @param known what the query named as `known`
 * @param from where the client is; null: nowhere yet
 * @throws {Error} what is stored does not fit together
 */
export function syncReply(result: SyncResult, known: KnownContext | null, from: Head | null): SyncAnswered {
  if (result.type === 'expired')
    return { reply: { answer: { type: 'expired' }, record: wireRecord(emptyRecord), before: null, reset: null }, known: null }
  const head = result.row?.head ?? noHead
  const after =
    head.version === 0
      ? fromStored(absentAs(result))
      : result.way === 'same' || result.way === 'since'
        ? null
        : knownAfter(result, head, known)
  return {
    reply: {
      answer: answerOf(result, head, after),
      record: wireRecord(result.record),
      before: result.before && wireRecord(result.before),
      reset: resetOf(result, head, from),
    },
    known: after,
  }
}

const absentAs = ({ row }: Found): Parameters<typeof fromStored>[0] => row && { row, snapshot: null, entries: [] }

/** Why a client is shown another history than the one it was in; that a life is another one it sees by itself. */
function resetOf({ row, rolledBack }: Found, head: Head, from: Head | null): SyncReply['reset'] {
  const otherLife = from !== null && from.version > 0 && head.version > 0 && from.incarnation !== head.incarnation
  if (row?.restored && (rolledBack || otherLife)) return 'restored'
  return rolledBack ? 'rolled_back' : null
}

function answerOf(result: Found, head: Head, after: KnownContext | null): WireAnswer {
  if (head.version === 0) return { type: 'absent', head }
  if (result.way === 'same') return { type: 'same', head }
  if (result.way === 'since') return deltaAnswer(result.entries)
  const { state, createdAt, updatedAt, updatedBy } = after!
  return { type: 'full', head, state, createdAt, updatedAt, updatedBy }
}

function knownAfter({ row, way, entries, snapshot }: Found, head: Head, known: KnownContext | null): KnownContext {
  const after = way === 'known' ? known && fastForward(known, head, entries) : fromStored({ row: row!, snapshot, entries })
  if (after === null || after.state === null) throw new Error(`The stored log does not lead to version ${head.version}.`)
  return after
}

/** The logged commits, without old values, each with the index of its author. */
function deltaAnswer(entries: readonly LogEntry[]): WireAnswer {
  const authors: [string | null, string][] = []
  const indexes = new Map<string, number>()
  const indexOf = ({ userId, actor }: Author): number => {
    const name = `${actor} ${userId}`
    const index = indexes.get(name) ?? authors.push([userId, actor]) - 1
    indexes.set(name, index)
    return index
  }
  const commits = entries.map(({ text }) => {
    const { revision, committedAt, author, seq, changes } = decodeLogEntry(text)
    return [revision, committedAt, indexOf(author), seq, packChanges(changes)] as [
      string,
      number,
      number,
      number,
      ReturnType<typeof packChanges>,
    ]
  })
  return { type: 'delta', authors, commits }
}

const wireRecord = ({ epoch, last, verdicts }: StreamRecord): StreamRecord => ({ epoch, last, verdicts })
