import type { JsonObject, JsonValue } from './json.ts'
import type { Path } from './path.ts'

/** Identity of one version of a context; two heads are the same version only if all three fields are equal. */
export interface Head {
  /** Random token of the context's life from create to delete. */
  incarnation: string
  /** +1 for each commit; 0 = absent. */
  version: number
  /** Random token of the commit that made this version. */
  revision: string
}
/** Who committed. */
export interface Author {
  /** Id of the authenticated user; null: anonymous, or the server itself. */
  userId: string | null
  /** Public tag of a session (the session's id is secret). */
  actor: string
}
/** Full state of a context at one version. */
export interface Snapshot<S = JsonObject> extends Head {
  contextId: string
  state: S
  createdAt: number
  updatedAt: number
  updatedBy: Author
}
/** What `list` says about a context, without its state. */
export interface ContextInfo {
  contextId: string
  version: number
  revision: string
  createdAt: number
  updatedAt: number
}
/** What happened at one path between two versions; positions in lists shift as in JSON Patch (RFC 6902). */
export interface Change {
  path: Path
  action: 'added' | 'modified' | 'removed'
  value?: JsonValue
  oldValue?: JsonValue
}
/** What happened to a context between `baseVersion` and `version`; `changes` as the chosen format shapes them. */
export interface Delta<C = Change[]> {
  contextId: string
  baseVersion: number
  /** Equal to `baseVersion` when nothing changed. */
  version: number
  revision: string
  changes: C
  committedAt: number
  author: Author
}
/** Answer to a sync: the whole context, the delta since the asked version, or nothing new. */
export type SyncAnswer<S = JsonObject, C = Change[]> =
  | { type: 'full_context'; context: Snapshot<S> }
  | { type: 'delta'; delta: Delta<C> }
  | { type: 'no_change'; version: number; revision: string }
