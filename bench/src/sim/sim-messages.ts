import type {
  AttachReply,
  CommitMessage,
  ContextdError,
  DeltaFrame,
  HeadFrame,
  SyncReply,
  SyncRequest,
  VerdictFrame,
} from '@contextd/protocol'

/** What a client sends. Requests carry a number that their answer repeats. */
export type UpMessage =
  | { readonly type: 'attach'; readonly request: number; readonly session: string | null }
  | { readonly type: 'sync'; readonly request: number; readonly sync: SyncRequest }
  | { readonly type: 'commit'; readonly commit: CommitMessage }
  | { readonly type: 'leave'; readonly session: string; readonly contextId: string }
  | { readonly type: 'detach'; readonly session: string }

/** What a node sends. */
export type DownMessage =
  | { readonly type: 'attached'; readonly request: number; readonly reply: AttachReply }
  | { readonly type: 'synced'; readonly request: number; readonly reply: SyncReply }
  | { readonly type: 'syncFailed'; readonly request: number; readonly error: ContextdError }
  | { readonly type: 'd'; readonly frame: DeltaFrame }
  | { readonly type: 'h'; readonly frame: HeadFrame }
  | { readonly type: 'v'; readonly frame: VerdictFrame }
