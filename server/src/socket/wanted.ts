import { ContextdError, checkOperations, checkState } from '@contextd/protocol'
import type { Limits, Operation, WireCommit } from '@contextd/protocol'
import { forbidden } from '../authorize.ts'
import type { Grants } from '../authorize.ts'
import type { CommitRequest } from '../engine/engine.ts'
import type { KnownContext } from '../commits/known-context.ts'

/** What a commit wants, once checked. */
export type Wanted = Pick<CommitRequest, 'incarnation' | 'operations' | 'remove' | 'initial' | 'refusal'>

/**
 * What a commit is handed in as. A refusal at the edge is handed in too: it takes its number, and is recorded as the verdict.
 *
 * @param bytes its length as a message
 */
export function wantedBy(commit: WireCommit, grants: Grants, limits: Limits, bytes: number): Wanted {
  const { incarnation } = commit
  if (commit.delete)
    return grants.has('delete') ? { incarnation, operations: [], remove: true, initial: null } : refused(forbidden('delete'))
  if (commit.operations.length === 0) return { incarnation, operations: [], remove: false, initial: null }
  const allowed = allowedTo(incarnation, grants)
  if (allowed === 'nothing') return refused(forbidden('write'))
  try {
    checkBytes(bytes, limits)
    const operations = checkOperations(commit.operations, limits)
    const initial = incarnation === '' ? checkState(commit.initial ?? {}, limits) : null
    return { incarnation, operations: allowed === 'everything' ? operations : onlyIf(allowed, operations), remove: false, initial }
  } catch (error) {
    return refused(error)
  }
}

/** What a writer may do; of one that wrote on an absent context only the step knows whether that would create it. */
function allowedTo(incarnation: string, grants: Grants): 'everything' | 'nothing' | 'write' | 'create' {
  const write = grants.has('write')
  const create = incarnation !== '' || grants.has('create')
  if (write && create) return 'everything'
  if (incarnation !== '' || (!write && !create)) return 'nothing'
  return write ? 'write' : 'create'
}

function onlyIf(allowed: 'write' | 'create', operations: readonly Operation[]): (at: KnownContext) => readonly Operation[] {
  return ({ state }) => {
    const needed = state === null ? 'create' : 'write'
    if (needed !== allowed) throw forbidden(needed)
    return operations
  }
}

/** On no incarnation and with something to start from, so that the refusal is the same whether the context exists or not. */
const refused = (error: unknown): Wanted => ({ incarnation: null, operations: [], remove: false, initial: {}, refusal: error })

function checkBytes(bytes: number, { messageBytes }: Limits): void {
  if (messageBytes === 0 || bytes <= messageBytes) return
  throw new ContextdError('too_large', `The commit has ${bytes} bytes; the limit is ${messageBytes} (messageBytes). Write less at once.`)
}
