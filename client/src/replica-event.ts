import type { ContextdError, Head, JsonObject, LockToken, Operation } from '@contextd/protocol'

/** A write, as the replica takes it: one commit. */
export interface NewWrite {
  readonly id: string
  readonly operations: readonly Operation[]
  /** True: deletes the context; there are no operations then. */
  readonly remove?: boolean
  /** What an absent context is created from. Default: the replica's `initial`, else `{}`. */
  readonly initial?: JsonObject
  readonly lock?: LockToken
  /** Commit only on this version, else `conflict`. */
  readonly ifVersion?: number
}

/** What a replica has to tell, in order. */
export type ReplicaEvent =
  /** The verdict of a write (P8); a null head: only the fact is still known. `rebased`: others' commits came in between. */
  | {
      readonly type: 'settled'
      readonly id: string
      readonly verdict: 'applied' | 'nothing'
      readonly head: Head | null
      readonly rebased: boolean
    }
  /** Final: rolled back on screen. It may follow `settled`, when the server's history was rolled back in between. */
  | { readonly type: 'refused'; readonly id: string; readonly operations: readonly Operation[]; readonly error: ContextdError }
  /** Nothing is lost, but the same would come again: wait before the replica's messages are taken again. */
  | { readonly type: 'held'; readonly error: ContextdError; readonly id?: string }
  /** What was shown is not the server's history any more (P11, P12). */
  | { readonly type: 'reset'; readonly reason: 'recreated' | 'rolled_back' | 'restored' | 'expired' }
  | { readonly type: 'deleted' }
  | { readonly type: 'denied'; readonly error: ContextdError }
  /** The session must be replaced: a new one, then `renewed()` and `attached()`. */
  | { readonly type: 'session_expired' }
  /** The shown state, the head, the phase or the number of pending writes; once, however much has changed. */
  | { readonly type: 'changed' }

/** How a replica stands. `stale`: there is a state, but it may be behind. */
export type Phase = 'loading' | 'absent' | 'live' | 'stale' | 'denied' | 'deleted' | 'error'
