import { ContextdError, applyOperations, diff, isContextdError, packChanges, revisionOf } from '@contextd/protocol'
import type { Author, Change, Head, JsonObject, JsonValue, LockToken, Operation, Verdict } from '@contextd/protocol'
import type { BatchMember, CommitBatch, LogEntry, Retention, StreamPosition } from './backends/backend.ts'
import type { KnownContext } from './known-context.ts'
import { encodeLogEntry } from './log-entry.ts'

/** A commit that was handed in: what it wants, and on which conditions. `T` is what the caller recognises it by. */
export interface Submission<T> {
  target: T
  /** Whose turn it takes in a batch: one for each stream. */
  readonly source: string
  /** Null: a commit of the server itself. */
  readonly stream: StreamPosition | null
  readonly author: Author
  /** Life of the context that it was written on; `''`: it was absent; null: any. */
  readonly incarnation: string | null
  /** What to do; a function computes it from the state (null: absent), again on every new base. Empty operations: only take the number. */
  readonly operations: readonly Operation[] | ((state: JsonObject | null) => readonly Operation[])
  readonly remove: boolean
  /** What an absent context is created from; null: it is not. */
  readonly initial: JsonObject | null
  readonly ifVersion?: number
  readonly ifRevision?: string
  readonly lock?: LockToken
  /** Length as a message, UTF-16 units. */
  readonly size: number
}

/** A submission, decided on a base. */
export interface Decided<T> {
  readonly submission: Submission<T>
  readonly verdict: Verdict
  /** Its revision, when it is applied. */
  readonly revision: string | null
  readonly before: KnownContext
  readonly after: KnownContext
  readonly changes: readonly Change[]
  /** What its own code threw, or what went wrong in ours; the verdict is a refusal then. */
  readonly error?: unknown
}

/** A batch on its way to the store. */
export interface Attempt<T> {
  readonly batch: CommitBatch
  readonly decided: readonly Decided<T>[]
  /** The context, once the batch is stored. */
  readonly after: KnownContext
  /** True: an earlier sending may have been stored. */
  unknown: boolean
}

/** What decisions depend on besides the context. */
export interface DecideOptions {
  /** Makes incarnations and revisions: random, of one fixed length. */
  readonly mint: () => string
  readonly sessionTtlMs: number
  readonly stateBytes: number
  readonly itemKey: string
  readonly deltaTtlMs: number
  readonly deltaThreshold: number
  /** Length of a text as UTF-8. */
  readonly byteLength: (text: string) => number
}

/** Logs shorter than this never bring a new snapshot: reading so many entries is as cheap as reading one. */
const snapshotFloor = 16_384
const retentionFloor = 262_144
const retentionMargin = 1_048_576

/** Decides submissions in order on what is known, and makes the batch of them; `rest` is for the next one. */
export function buildAttempt<T>(
  contextId: string,
  known: KnownContext,
  submissions: readonly Submission<T>[],
  now: number,
  options: DecideOptions,
): { attempt: Attempt<T>; rest: readonly Submission<T>[] } {
  const token = options.mint()
  const decided: Decided<T>[] = []
  const entries: LogEntry[] = []
  let at = known
  let removed = false
  let taken = 0
  for (const submission of submissions) {
    // A delete is a batch of its own change, so that a batch has one incarnation.
    if (removed || (submission.remove && entries.length > 0)) break
    const next = decide(submission, at, revisionOf(token, entries.length), now, options)
    if (next.after !== at) {
      if (submission.remove) removed = true
      else entries.push(entryOf(next, now))
    }
    decided.push(next)
    at = next.after
    taken += 1
  }
  return { attempt: { ...sealed(contextId, known, decided, entries, at, removed, token, now, options), unknown: false }, rest: submissions.slice(taken) }
}

function entryOf<T>({ submission, before, after, changes }: Decided<T>, now: number): LogEntry {
  return encodeLogEntry({
    version: after.head.version,
    revision: after.head.revision,
    baseRevision: before.head.revision,
    committedAt: now,
    author: submission.author,
    seq: submission.stream?.seq ?? 0,
    changes: [...changes],
  })
}

function sealed<T>(
  contextId: string,
  known: KnownContext,
  decided: readonly Decided<T>[],
  entries: readonly LogEntry[],
  at: KnownContext,
  removed: boolean,
  token: string,
  now: number,
  options: DecideOptions,
): Omit<Attempt<T>, 'unknown'> {
  const size = entries.reduce((sum, { text }) => sum + text.length, 0)
  const grown = at.sinceSnapshotSize + size
  const due = entries.length > 0 && (known.state === null || grown > Math.max(at.stateSize, snapshotFloor))
  const snapshot = due ? JSON.stringify(at.state) : null
  const after: KnownContext =
    snapshot === null ? { ...at, sinceSnapshotSize: removed ? 0 : grown } : { ...at, stateSize: snapshot.length, sinceSnapshotSize: 0 }
  const members: BatchMember[] = decided.map(({ submission, verdict }) => ({ stream: submission.stream, verdict }))
  const batch: CommitBatch = {
    contextId,
    base: known.head,
    head: at.head,
    now,
    sessionTtlMs: options.sessionTtlMs,
    members,
    entries,
    snapshot,
    updatedBy: at.updatedBy,
    remove: removed,
    retention: retentionFor(after.stateSize, now, options),
    message: messageOf(contextId, known, decided, at.head, removed, token, now),
  }
  return { batch, decided, after }
}

function retentionFor(stateSize: number, now: number, options: DecideOptions): Retention {
  return {
    before: now - options.deltaTtlMs,
    softSize: Math.max(stateSize, retentionFloor),
    hardSize: 4 * stateSize + retentionMargin,
    maxVersions: options.deltaThreshold,
  }
}

/** The frame that tells subscribers of a batch: its applied commits, or, after a delete, the absent head. */
function messageOf<T>(
  contextId: string,
  known: KnownContext,
  decided: readonly Decided<T>[],
  head: Head,
  removed: boolean,
  token: string,
  now: number,
): string | null {
  if (removed) return JSON.stringify(['h', [contextId, head.incarnation, head.version, head.revision]])
  const authors: [string | null, string][] = []
  const indexes = new Map<string, number>()
  const commits: [number, number, JsonValue[]][] = []
  for (const { submission, revision, changes } of decided) {
    if (revision === null) continue
    const { userId, actor } = submission.author
    const name = `${actor} ${userId}`
    const index = indexes.get(name) ?? authors.push([userId, actor]) - 1
    indexes.set(name, index)
    commits.push([index, submission.stream?.seq ?? 0, packChanges(changes)])
  }
  if (commits.length === 0) return null
  return JSON.stringify(['d', [contextId, head.incarnation, known.head.version, known.head.revision, token, now, authors, commits]])
}

/** Decides one submission on what is known (P5, P6): what it comes to, and the context after it. */
function decide<T>(submission: Submission<T>, at: KnownContext, revision: string, now: number, options: DecideOptions): Decided<T> {
  const same = (verdict: Verdict): Decided<T> => ({ submission, verdict, revision: null, before: at, after: at, changes: [] })
  const nothing = (): Decided<T> => same({ type: 'nothing', head: at.head })
  const { operations, remove, incarnation } = submission
  if (!remove && typeof operations !== 'function' && operations.length === 0 && (submission.stream !== null || at.state !== null)) return nothing()
  try {
    if (incarnation !== null && incarnation !== '' && incarnation !== at.head.incarnation) throw gone()
    checkConditions(submission, at)
    if (remove) return at.state === null ? nothing() : removal(submission, at, revision, now)
    const base = at.state ?? submission.initial
    if (base === null) throw gone()
    const wanted = typeof operations === 'function' ? operations(at.state) : operations
    const { state, changes } = applyOperations(base, wanted, { itemKey: options.itemKey })
    if (at.state !== null && state === at.state) return nothing()
    const all = at.state === null ? diff({}, state, { itemKey: options.itemKey }) : changes
    return { submission, ...applied(at, state as JsonObject, all, submission.author, revision, now, options), before: at, changes: all }
  } catch (error) {
    return { ...same(refusal(error)), error }
  }
}

const gone = (): ContextdError => new ContextdError('not_found', 'The context was deleted. Read it again, and create it if it is still wanted.')

function checkConditions({ ifVersion, ifRevision }: Submission<unknown>, { head }: KnownContext): void {
  if (ifVersion !== undefined && ifVersion !== head.version) {
    throw new ContextdError('conflict', `The context is at version ${head.version}, not ${ifVersion}. Read it again and repeat the write.`)
  }
  if (ifRevision !== undefined && ifRevision !== head.revision) {
    throw new ContextdError('conflict', 'The context is no longer at the expected revision. Read it again and repeat the write.')
  }
}

function removal<T>(submission: Submission<T>, at: KnownContext, revision: string, now: number): Decided<T> {
  const head: Head = { incarnation: '', version: 0, revision }
  const after = { head, state: null, createdAt: 0, updatedAt: now, updatedBy: submission.author, stateSize: 2, sinceSnapshotSize: 0 }
  return { submission, verdict: { type: 'applied', head }, revision, before: at, after, changes: [] }
}

function applied(
  at: KnownContext,
  state: JsonObject,
  changes: readonly Change[],
  author: Author,
  revision: string,
  now: number,
  options: DecideOptions,
): { verdict: Verdict; revision: string; after: KnownContext } {
  const created = at.state === null
  const head: Head = { incarnation: created ? options.mint() : at.head.incarnation, version: at.head.version + 1, revision }
  const stateSize = checkedSize(at.stateSize + growth(changes, options.byteLength), state, options)
  const after = { head, state, createdAt: created ? now : at.createdAt, updatedAt: now, updatedBy: author, stateSize, sinceSnapshotSize: at.sinceSnapshotSize }
  return { verdict: { type: 'applied', head }, revision, after }
}

/** How much longer a state's JSON becomes, at most, bytes. */
function growth(changes: readonly Change[], byteLength: DecideOptions['byteLength']): number {
  let size = 0
  for (const { path, action, value, oldValue } of changes) {
    if (action !== 'removed') size += byteLength(JSON.stringify(value)) + (action === 'added' ? byteLength(JSON.stringify(path.at(-1))) + 2 : 0)
    if (action === 'modified' && oldValue !== undefined) size -= byteLength(JSON.stringify(oldValue))
  }
  return size
}

/** Refuses a state that is too large; measures it only when the estimate is. */
function checkedSize(estimate: number, state: JsonObject, { stateBytes, byteLength }: DecideOptions): number {
  if (stateBytes === 0 || estimate <= stateBytes) return estimate
  const size = byteLength(JSON.stringify(state))
  if (size <= stateBytes) return size
  throw new ContextdError('too_large', `The context would have ${size} bytes; the limit is ${stateBytes} (stateBytes). Remove something, or split it.`)
}

/** The refusal that an error means; one that is not ours is the caller's own, or a fault that would only come again. */
function refusal(error: unknown): Verdict {
  if (isContextdError(error) && !error.retryable) {
    return { type: 'refused', code: error.code, message: error.message, details: error.details as JsonValue }
  }
  return { type: 'refused', code: 'aborted', message: 'The write could not be computed on the current state.' }
}
