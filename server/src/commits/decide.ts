import { ContextdError, applyOperations, diff, isContextdError } from '@contextd/protocol'
import type { Author, Change, Head, JsonObject, JsonValue, Operation, Path, Verdict } from '@contextd/protocol'
import type { LockDemand, StreamPosition } from '../backends/backend.ts'
import { ContextInBatch } from './batch-states.ts'
import type { BatchStates } from './batch-states.ts'
import { encodeChanges, noChanges } from './encoded-changes.ts'
import type { EncodedChanges } from './encoded-changes.ts'
import { absentAt, isOutdated, migrationBy } from './known-context.ts'
import type { KnownContext } from './known-context.ts'

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
  /** What to do; a function computes it from the context, again on every new base. Of a stream, an empty list only takes the number. */
  readonly operations: readonly Operation[] | ((at: KnownContext) => readonly Operation[])
  readonly remove: boolean
  /** What an absent context is created from; null: it is not. */
  readonly initial: JsonObject | null | (() => JsonObject | null)
  readonly ifVersion?: number | undefined
  readonly ifRevision?: string | undefined
  /** What must hold of locks when it is stored. */
  readonly locks?: readonly LockDemand[] | undefined
  /** Length as a message, UTF-16 units. */
  readonly size: number
  /** Why it is refused, whatever the state is: found out after it was handed in. */
  refusal?: unknown
}

/** A submission, decided on a base. */
export interface Decided<T> {
  readonly submission: Submission<T>
  readonly verdict: Verdict
  /** Its revision, when it is applied. */
  readonly revision: string | null
  readonly before: KnownContext
  readonly after: KnownContext
  /** As they were applied; none when nothing was. */
  readonly operations: readonly Operation[]
  /** With old values; those of a creation lead from `{}`. */
  readonly changes: readonly Change[]
  readonly encoded: EncodedChanges
  /** What its own code threw, or what went wrong in ours; the verdict is a refusal then. */
  readonly error?: unknown
}

/** What decisions depend on besides the context. */
export interface DecideOptions {
  /** Makes incarnations and revisions: random, of one fixed length. */
  readonly mint: () => string
  /** Most bytes of a state; 0: any. */
  readonly stateBytes: number
  readonly itemKey: string
  /** Length of a text as UTF-8. */
  readonly byteLength: (text: string) => number
  /** Throws when a commit makes a valid state invalid; `before` is null when it creates the context. */
  readonly validate?: (before: JsonObject | null, after: JsonObject) => void
  /** The lock that a commit must carry which changes this path; null: none. */
  readonly requireLock?: (path: Path) => string | null
  /** What an absent context begins as, as its definition says; null: nothing is said. */
  readonly initial?: () => JsonObject | null
  /** Version of the definition that a new context is of; 0: none is declared. */
  readonly schema: number
  /** A state of an older version than this takes no commits but the one that moves it on; 0: any does. */
  readonly leastSchema: number
  /** Whether a context that is absent in this way may come back by itself; so a delete of it must be stored. Default: it does not. */
  readonly comesBack?: (head: Head) => boolean
}

const noOperations: readonly Operation[] = []
/** Longest details and message of a refusal, which its record keeps, UTF-16 units. */
const detailsSize = 4_096
const messageSize = 1_024

/**
 * Decides one submission on what is known (P5, P6): what it comes to, and the context after it.
 * @param states those of the batch, `at` being at the last one; what is applied goes on with them
 */
export function decide<T>(
  submission: Submission<T>,
  at: KnownContext,
  states: BatchStates,
  revision: string,
  now: number,
  options: DecideOptions,
): Decided<T> {
  const same = (verdict: Verdict): Decided<T> => ({
    submission,
    verdict,
    revision: null,
    before: at,
    after: at,
    operations: noOperations,
    changes: [],
    encoded: noChanges,
  })
  const nothing = (): Decided<T> => same({ type: 'nothing', head: at.head })
  const { operations, remove, incarnation } = submission
  try {
    if (submission.refusal !== undefined) throw submission.refusal
    if (!remove && submission.stream !== null && typeof operations !== 'function' && operations.length === 0) return nothing()
    if (incarnation !== null && incarnation !== '' && incarnation !== at.head.incarnation) throw gone()
    checkConditions(submission, at)
    if (remove) {
      if (states.absent && options.comesBack?.(at.head) !== true) return nothing()
      if (!states.absent) checkRequiredLocks(submission, [], [{ path: [], action: 'removed' }], options)
      return removal(submission, at, revision, now)
    }
    const migration = migrationBy(submission.author)
    if (migration === null) checkSchema(at, options)
    else if (states.absent || at.schema >= migration) return nothing()
    if (states.absent) return creation(submission, at, states, revision, now, options)
    const wanted = typeof operations === 'function' ? operations(at) : operations
    // A schema compares the two states.
    const before = options.validate === undefined ? null : at.state
    const changes = states.apply(wanted)
    // One that only moves on to another version of the definition is a commit too, so that it is stored.
    if (changes.length === 0 && migration === null) return nothing()
    options.validate?.(before, states.appliedState())
    if (migration === null) checkRequiredLocks(submission, wanted, changes, options)
    return application(submission, at, states, wanted, changes, revision, now, options)
  } catch (error) {
    states.drop()
    return { ...same(refusal(error)), error }
  }
}

const initialOf = ({ initial }: Submission<unknown>): JsonObject | null => (typeof initial === 'function' ? initial() : initial)

const gone = (): ContextdError =>
  new ContextdError('not_found', 'The context is not there, or was deleted. Read it again, and create it if it is still wanted.')

/** A state of an older definition is moved on first; when that failed, nothing is written over it. */
function checkSchema(at: KnownContext, { leastSchema }: DecideOptions): void {
  if (!isOutdated(at, leastSchema)) return
  throw new ContextdError(
    'invalid_state',
    `The state is of version ${at.schema} of its definition, and could not be moved on to version ${leastSchema}. The log of the server says why.`,
  )
}

/** @throws {ContextdError} `locked` – it changes what must be locked, and carries no lock of it */
function checkRequiredLocks(
  { locks = [] }: Submission<unknown>,
  operations: readonly Operation[],
  changes: readonly Change[],
  { requireLock }: DecideOptions,
): void {
  if (requireLock === undefined) return
  for (const path of new Set([...operations.flatMap(pathsOf), ...changes.map(({ path: changed }) => changed)])) {
    const key = requireLock(path)
    if (key === null || locks.some((lock) => lock.key === key && lock.token !== null)) continue
    throw new ContextdError('locked', `This needs the lock of ${key}. Take it, and write with it.`, { details: { key } })
  }
}

/** What a creation writes, where locks are required: what its definition says that the context begins as is nobody's writing. */
function beyondInitial(state: JsonObject, { requireLock, initial, itemKey }: DecideOptions): Change[] {
  return requireLock === undefined ? [] : diff(initial?.() ?? {}, state, { itemKey })
}

function pathsOf(operation: Operation): Path[] {
  if (operation.type === 'test') return []
  if (operation.type !== 'move') return [operation.path]
  const { from, to } = operation
  return [[...from.path, from.item], to.path]
}

/** The refusal of a commit whose lock was not as it demands. */
export const lockLost = (key: string): ContextdError =>
  new ContextdError('locked', `The lock of ${key} is not held by this writer. Take it, and repeat the write.`, { details: { key } })

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
  const after = absentAt(head, now, submission.author)
  return applied(submission, revision, at, after, noOperations, [], noChanges)
}

const applied = <T>(
  submission: Submission<T>,
  revision: string,
  before: KnownContext,
  after: KnownContext,
  operations: readonly Operation[],
  changes: readonly Change[],
  encoded: EncodedChanges,
): Decided<T> => ({
  submission,
  verdict: { type: 'applied', head: after.head },
  revision,
  before,
  after,
  operations,
  changes,
  encoded,
})

function creation<T>(
  submission: Submission<T>,
  at: KnownContext,
  states: BatchStates,
  revision: string,
  now: number,
  options: DecideOptions,
): Decided<T> {
  const { operations } = submission
  const { itemKey } = options
  const base = initialOf(submission)
  if (base === null) throw gone()
  const wanted = typeof operations === 'function' ? operations(at) : operations
  const { state } = applyOperations(base, wanted, { itemKey })
  options.validate?.(null, state)
  const changes = diff({}, state, { itemKey })
  checkRequiredLocks(submission, wanted, beyondInitial(state, options), options)
  const encoded = encodeChanges(changes, options.byteLength)
  const stateSize = checkedSize(at.stateSize + encoded.growth, () => state, null, options)
  states.create(state, changes)
  const head: Head = { incarnation: options.mint(), version: at.head.version + 1, revision }
  const after: KnownContext = {
    ...at,
    head,
    state,
    createdAt: now,
    updatedAt: now,
    updatedBy: submission.author,
    stateSize,
    schema: options.schema,
  }
  return applied(submission, revision, at, after, wanted, changes, encoded)
}

function application<T>(
  submission: Submission<T>,
  at: KnownContext,
  states: BatchStates,
  operations: readonly Operation[],
  changes: readonly Change[],
  revision: string,
  now: number,
  options: DecideOptions,
): Decided<T> {
  const head: Head = { incarnation: at.head.incarnation, version: at.head.version + 1, revision }
  const encoded = encodeChanges(changes, options.byteLength)
  const stateSize = checkedSize(
    at.stateSize + encoded.growth,
    () => states.appliedState(),
    () => at.state!,
    options,
  )
  states.keep()
  const after = new ContextInBatch(states, {
    head,
    createdAt: at.createdAt,
    updatedAt: now,
    updatedBy: submission.author,
    stateSize,
    snapshotVersion: at.snapshotVersion,
    sinceSnapshotSize: at.sinceSnapshotSize,
    schema: migrationBy(submission.author) ?? at.schema,
  })
  return applied(submission, revision, at, after, operations, changes, encoded)
}

/**
 * Refuses a state that is too large, unless the one before was larger; measures it only when the estimate is too large.
 * @param before null: the context was absent
 */
function checkedSize(estimate: number, after: () => JsonObject, before: (() => JsonObject) | null, options: DecideOptions): number {
  const { stateBytes, byteLength } = options
  if (stateBytes === 0 || estimate <= stateBytes) return estimate
  const size = byteLength(JSON.stringify(after()))
  if (size <= stateBytes || (before !== null && size < byteLength(JSON.stringify(before())))) return size
  throw new ContextdError(
    'too_large',
    `The context would have ${size} bytes; the limit is ${stateBytes} (stateBytes). Remove something, or split it.`,
  )
}

/** The refusal that an error means; one that is not ours is the caller's own, or a fault that would only come again. */
function refusal(error: unknown): Verdict {
  if (isContextdError(error) && !error.retryable) {
    const details = error.details as JsonValue
    const long = JSON.stringify(details).length > detailsSize
    return { type: 'refused', code: error.code, message: error.message.slice(0, messageSize), ...(!long && { details }) }
  }
  return { type: 'refused', code: 'aborted', message: 'The write could not be computed on the current state.' }
}
