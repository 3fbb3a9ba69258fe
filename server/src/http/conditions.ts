import type { IncomingMessage } from 'node:http'
import { ContextdError, checkContextId } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import type { LockDemand } from '../backends/backend.ts'
import type { CommitRequest } from '../engine/engine.ts'
import { bad, headIn, tagsIn } from './query.ts'
import type { Query } from './query.ts'

/** What a write demands of the context, of its headers and its parameters. */
export interface Conditions {
  readonly ifVersion?: number
  readonly ifRevision?: string
  /** Whatever the version: the context is there. */
  readonly ifExists: boolean
  readonly locks: readonly LockDemand[]
}

/**
 * Reads the conditions of a write: `If-Match` with a tag or `*`, `If-None-Match: *`, and the parameters `ifVersion`, `ifRevision`, `lock` with
 * `lockToken`.
 * @throws {ContextdError} `invalid_message` – one is malformed, or they contradict each other
 */
export function conditionsOf({ headers }: IncomingMessage, query: Query, idBytes: number): Conditions {
  const match = matchOf(headers['if-match'])
  const created = createdOnly(headers['if-none-match'])
  const ifVersion = agreed('ifVersion', query.whole('ifVersion', 0), agreed('If-None-Match', created, match.version))
  const ifRevision = agreed('ifRevision', query.text('ifRevision'), match.revision)
  return {
    ifExists: match.any,
    locks: locksOf(query, idBytes),
    ...(ifVersion !== undefined && { ifVersion }),
    ...(ifRevision !== undefined && { ifRevision }),
  }
}

function matchOf(header: string | undefined): { readonly any: boolean; readonly version?: number; readonly revision?: string } {
  if (header === undefined) return { any: false }
  if (header.trim() === '*') return { any: true }
  const tags = tagsIn(header)
  const head = tags.length === 1 ? headIn(tags[0]!) : null
  if (head === null) throw bad('If-Match takes one ETag as it was answered, such as "12-k2Jd4f", or *.')
  return { any: false, ...head }
}

function createdOnly(header: string | undefined): 0 | undefined {
  if (header === undefined) return undefined
  if (header.trim() === '*') return 0
  throw bad('If-None-Match of a write takes only *: write only what is not there.')
}

function agreed<T>(name: string, one: T | undefined, other: T | undefined): T | undefined {
  if (one !== undefined && other !== undefined && one !== other) throw bad(`${name} and If-Match contradict each other; give one of them.`)
  return one ?? other
}

function locksOf(query: Query, idBytes: number): readonly LockDemand[] {
  const key = query.text('lock')
  const token = query.whole('lockToken', 0)
  if (key === undefined && token === undefined) return []
  if (key === undefined || token === undefined) throw bad('A lock is given by both lock (its key) and lockToken.')
  return [{ key: checkContextId(key, idBytes), token }]
}

/** What goes to the engine. */
export const handedIn = ({ ifVersion, ifRevision, locks }: Conditions): Pick<CommitRequest, 'ifVersion' | 'ifRevision' | 'locks'> => ({
  ...(ifVersion !== undefined && { ifVersion }),
  ...(ifRevision !== undefined && { ifRevision }),
  ...(locks.length > 0 && { locks }),
})

/** Whether a context at this head is another than was demanded; without a head: whether anything was. */
export function isUnmet({ ifVersion, ifRevision, ifExists }: Conditions, head: Head | null): boolean {
  if (head === null) return ifVersion !== undefined || ifRevision !== undefined || ifExists
  return (
    (ifVersion !== undefined && ifVersion !== head.version) ||
    (ifRevision !== undefined && ifRevision !== head.revision) ||
    (ifExists && head.version === 0)
  )
}

/** The refusal of a write to what is not there, though it was demanded to be. */
export const absent = (contextId: string): ContextdError =>
  new ContextdError('conflict', `There is no context ${contextId}.`, { contextId })
