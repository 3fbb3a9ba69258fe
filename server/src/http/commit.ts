import { ContextdError, isContextdError } from '@contextd/protocol'
import type { Delta, Operation, Snapshot } from '@contextd/protocol'
import { forbidden } from '../authorize.ts'
import type { Grants } from '../authorize.ts'
import type { StreamPosition } from '../backends/backend.ts'
import type { Answer } from '../commits/commit-queue.ts'
import type { Decided } from '../commits/decide.ts'
import type { CommitRequest } from '../engine/engine.ts'
import { deltaOf, emptyDelta } from '../reads/history.ts'
import type { KnownContext } from '../commits/known-context.ts'
import type { Call, Handed } from './call.ts'
import { absent, handedIn, isUnmet } from './conditions.ts'
import type { Conditions } from './conditions.ts'
import { HttpProblem } from './problem.ts'

/** What a request wants to commit. */
export interface Wanted {
  /** Computed on the context as it is found, again on every new base. */
  readonly operations: readonly Operation[] | ((at: KnownContext) => readonly Operation[])
  readonly remove: boolean
  readonly initial: CommitRequest['initial']
  readonly conditions: Conditions
  /** Length of the body. */
  readonly size: number
}

/** What a write came to. */
export interface Written {
  readonly context: Snapshot
  readonly delta: Delta
}

/** Public tag of whoever writes over HTTP: there is no session. */
const actor = 'http'

/** Hands a commit in, and waits for its answer. */
export function submit({ node, user, contextId }: Call, handed: Handed, stream: StreamPosition | null): Promise<Answer> {
  return new Promise((resolve) => {
    node.engine.submit(contextId, {
      size: 0,
      ...handed,
      source: stream?.key ?? '',
      stream,
      author: { userId: user?.id ?? null, actor },
      incarnation: null,
      user,
      reply: resolve,
    })
  })
}

/** What is handed in for a request: only what the user may do to the context as it is found. */
export function request({ contextId }: Call, { operations, remove, initial, conditions, size }: Wanted, grants: Grants): Handed {
  const computed = (at: KnownContext): readonly Operation[] => {
    if (at.state === null && conditions.ifExists) throw absent(contextId)
    const needed = at.state === null ? 'create' : 'write'
    if (!grants.has(needed)) throw forbidden(needed)
    return typeof operations === 'function' ? operations(at) : operations
  }
  return { operations: remove ? [] : computed, remove, initial, size, ...handedIn(conditions) }
}

/**
 * How a commit was decided; null: it was stored by an earlier request.
 * @throws {ContextdError} why it was not
 * @throws {HttpProblem} 412 – the context is another than was demanded
 */
export function decidedBy(contextId: string, answer: Answer, conditions: Conditions): Decided<unknown> | null {
  if (answer.type === 'held') throw answer.error
  if (answer.type !== 'verdict') throw unknown(contextId)
  const { verdict, decided } = answer
  if (verdict.type !== 'refused') {
    if (conditions.ifExists && verdict.type === 'nothing' && verdict.head.version === 0) throw new HttpProblem(412, absent(contextId))
    return decided
  }
  const error = errorOf(contextId, decided?.error, verdict)
  const failed = error.code === 'conflict' || (error.code === 'not_found' && conditions.ifExists)
  if (!failed || !isUnmet(conditions, decided?.before.head ?? null)) throw error
  throw new HttpProblem(412, error.code === 'conflict' ? error : absent(contextId))
}

function errorOf(
  contextId: string,
  thrown: unknown,
  refused: Extract<Answer, { type: 'verdict' }>['verdict'] & { type: 'refused' },
): ContextdError {
  const { code, message, details } = isContextdError(thrown) ? thrown : refused
  return new ContextdError(code, message, { contextId, ...(details !== undefined && { details: details as object }), cause: thrown })
}

const unknown = (contextId: string): ContextdError =>
  new ContextdError('timeout', `It is not known whether the write to ${contextId} was stored. Read the context before writing again.`, {
    contextId,
    details: { outcome: 'unknown' },
  })

/** The context and the delta that a commit came to; one that changed nothing gives the context as it is, and an empty delta. */
export function writtenBy(contextId: string, { revision, after, changes }: Decided<unknown>): Written {
  const { head, updatedAt: committedAt, updatedBy: author } = after
  const delta =
    revision === null
      ? emptyDelta(contextId, after)
      : deltaOf(contextId, { version: head.version, revision, committedAt, author, changes: [...changes] })
  return { context: snapshotOf(contextId, after), delta }
}

function snapshotOf(contextId: string, { head, state, createdAt, updatedAt, updatedBy }: KnownContext): Snapshot {
  return { contextId, ...head, state: state!, createdAt, updatedAt, updatedBy }
}
