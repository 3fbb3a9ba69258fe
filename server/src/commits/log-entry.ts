import { packLoggedChanges, unpackChanges } from '@contextd/protocol'
import type { Author, Change, JsonValue } from '@contextd/protocol'
import type { LogEntry } from '../backends/backend.ts'

/** A commit of the log, unpacked; its changes carry old values. */
export interface LoggedCommit {
  readonly version: number
  readonly revision: string
  readonly baseRevision: string
  readonly committedAt: number
  readonly author: Author
  /** Number in the author's stream; 0: a commit of the server itself. */
  readonly seq: number
  readonly changes: Change[]
}

/** Writes a commit for the log: a JSON list that begins with the time, so that a store can tell its age without decoding it. */
export function encodeLogEntry(commit: LoggedCommit): LogEntry {
  return logEntry(commit, JSON.stringify(packLoggedChanges(commit.changes)))
}

/** As {@link encodeLogEntry}, with the changes as JSON text (see `encodeChanges`). */
export function logEntry(commit: Omit<LoggedCommit, 'changes'>, changes: string): LogEntry {
  const { version, revision, baseRevision, committedAt, author, seq } = commit
  const start = JSON.stringify([committedAt, version, revision, baseRevision, author.userId, author.actor, seq])
  // Joined, not added up: a store in memory would keep all the pieces of a text that was.
  return { version, revision, baseRevision, committedAt, text: [start.slice(0, -1), ',', changes, ']'].join('') }
}

/** Reads what {@link encodeLogEntry} wrote. @throws {Error} it is something else */
export function decodeLogEntry(text: string): LoggedCommit {
  const [committedAt, version, revision, baseRevision, userId, actor, seq, changes] = JSON.parse(text) as [
    number,
    number,
    string,
    string,
    string | null,
    string,
    number,
    JsonValue[],
  ]
  return { version, revision, baseRevision, committedAt, author: { userId, actor }, seq, changes: unpackChanges(changes) }
}

/** Reads an entry's place in the history from its text alone: what a store needs that keeps only texts. */
export function logEntryOf(text: string): LogEntry {
  const { version, revision, baseRevision, committedAt } = decodeLogEntry(text)
  return { version, revision, baseRevision, committedAt, text }
}
