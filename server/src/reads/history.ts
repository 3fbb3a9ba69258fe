import { applyChanges, diff, invert } from '@contextd/protocol'
import type { Delta, JsonObject, Snapshot } from '@contextd/protocol'
import type { LogEntry } from '../backends/backend.ts'
import { frozen, frozenAs } from '../json-copy.ts'
import type { KnownContext } from '../commits/known-context.ts'
import { decodeLogEntry } from '../commits/log-entry.ts'
import type { LoggedCommit } from '../commits/log-entry.ts'

/** A delta with the states at both its ends. */
export interface Step {
  readonly delta: Delta
  readonly before: JsonObject
  readonly after: JsonObject
}

/** What a caller is told of a context, as its own: the state is frozen, and what later commits share with it too. */
export function snapshotOf(contextId: string, { head, state, createdAt, updatedAt, updatedBy }: KnownContext): Snapshot {
  const { incarnation, version, revision } = head
  const { userId, actor } = updatedBy
  return { contextId, incarnation, version, revision, state: frozen(state!), createdAt, updatedAt, updatedBy: { userId, actor } }
}

/** The delta of one commit. */
export function deltaOf(
  contextId: string,
  { version, revision, committedAt, author, changes }: Omit<LoggedCommit, 'baseRevision' | 'seq'>,
): Delta {
  return { contextId, baseVersion: version - 1, version, revision, changes, committedAt, author }
}

/** The delta of nothing: from a version to the same. */
export function emptyDelta(contextId: string, { head, updatedAt, updatedBy }: KnownContext): Delta {
  const { version, revision } = head
  return { contextId, baseVersion: version, version, revision, changes: [], committedAt: updatedAt, author: updatedBy }
}

/** Goes back from a state through the entries that led to it, newest first. */
export function* backwards(contextId: string, state: JsonObject, entries: readonly LogEntry[]): Generator<Step> {
  let after = state
  for (const { text } of entries.toReversed()) {
    const commit = decodeLogEntry(text)
    const undone = invert(commit.changes)
    const before = frozenAs(after, applyChanges(after, undone), undone)
    yield { delta: deltaOf(contextId, commit), before, after }
    after = before
  }
}

/** Goes on from a state by entries. */
export function* forwards(contextId: string, state: JsonObject, entries: readonly LogEntry[]): Generator<Step> {
  let before = state
  for (const { text } of entries) {
    const commit = decodeLogEntry(text)
    const after = frozenAs(before, applyChanges(before, commit.changes), commit.changes)
    yield { delta: deltaOf(contextId, commit), before, after }
    before = after
  }
}

/**
 * One delta from a state at an earlier version to a context as it is now.
 * @param itemKey null: the changes one by one are not wanted
 */
export function composed(contextId: string, baseVersion: number, before: JsonObject, now: KnownContext, itemKey: string | null): Step {
  const after = now.state!
  const changes = itemKey === null ? [] : diff(before, after, { itemKey })
  return { delta: { ...emptyDelta(contextId, now), baseVersion, changes }, before, after }
}
