import { fields, list, nullable, oneOf, optional, tagged, text, tuple, whole } from './decode.ts'
import type { Decoder, Infer } from './decode.ts'
import { isErrorCode } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import type { JsonValue } from './json.ts'

/*
 * The messages between client and server, by Socket.IO event. A decoder checks the envelope; the JSON inside (operations, states, changes)
 * is checked where the limits are known: `checkOperations`, `checkState`, `unpackChanges`.
 */

/** JSON whose inside is checked elsewhere. */
const json: Decoder<JsonValue> = (input) => input as JsonValue
const jsonList: Decoder<JsonValue[]> = (input, at) => (Array.isArray(input) ? (input as JsonValue[]) : list(json, 0)(input, at))
const any = Number.MAX_SAFE_INTEGER
const token = text(64)
const contextId = text(256)
const errorCode: Decoder<ErrorCode> = (input, at) => (isErrorCode(input) ? input : (oneOf('an error code')(input, at) as never))

/** Identity of one version; version 0 is an absent context, whose incarnation is `''`. */
export const headSchema = fields({ incarnation: token, version: whole(0), revision: token })
export const authorSchema = fields({ userId: nullable(text(256)), actor: token })
/** An error as it travels. */
export const errorSchema = fields({ code: errorCode, message: text(4_000), details: optional(json) })
export type WireError = Infer<typeof errorSchema>

/** The one answer to a commit. `applied` lacks the head when only the fact is still known. */
export const verdictSchema = tagged('type', {
  applied: fields({ head: nullable(headSchema) }),
  nothing: fields({ head: headSchema }),
  refused: errorSchema,
})
export type Verdict = Infer<typeof verdictSchema>
/** What the store remembers of a stream: its epoch, the last number it answered, and every verdict above what the client has settled. */
export const recordSchema = fields({ epoch: whole(0), last: whole(0), verdicts: list(tuple(whole(1), verdictSchema), any) })
export type StreamRecord = Infer<typeof recordSchema>

// ---- client → server ------------------------------------------------------------------------------------------

/** `attach`, acknowledged with {@link attachReplySchema}: opens a session on this connection; null asks for a new one. */
export const attachSchema = fields({ session: nullable(token) })
export type AttachRequest = Infer<typeof attachSchema>
export const attachReplySchema = fields({
  session: token,
  /** Public tag of the session. */
  actor: token,
  userId: nullable(text(256)),
  /** How long the server keeps the session's records after their last use, ms. */
  sessionTtlMs: whole(1),
  /** Age of the session by the server's clock, ms. */
  ageMs: whole(0),
  /** Largest message that the server takes, bytes; 0: any. */
  messageBytes: whole(0),
})
export type AttachReply = Infer<typeof attachReplySchema>

/** `detach`: ends a session on this connection. */
export const detachSchema = fields({ session: token })

/** `sync`, acknowledged with {@link syncReplySchema}: joins the context and brings the replica to head. */
export const syncSchema = fields({
  session: token,
  contextId,
  /** Where the client stands; null: it has nothing. */
  head: nullable(headSchema),
  epoch: whole(0),
  /** Highest number whose verdict the client was told. */
  told: whole(0),
  /** Every number up to this one has left the outbox. */
  settled: whole(0),
})
export type SyncRequest = Infer<typeof syncSchema>

/** `leave`: this session no longer has the context open. */
export const leaveSchema = fields({ session: token, contextId })

/** One commit: `incarnation` is `''` when it was written on an absent context, which is then created from `initial`. */
export const commitSchema = fields({
  seq: whole(1),
  incarnation: token,
  /** Empty: the number will not be used. */
  operations: jsonList,
  /** True: deletes the context; there are no operations then. */
  delete: optional(oneOf(1)),
  initial: optional(json),
  lock: optional(fields({ key: text(256), token: whole(1) })),
  /** Commit only on this version, else `conflict`. */
  ifVersion: optional(whole(0)),
})
export type WireCommit = Infer<typeof commitSchema>
/** `commit`: what one microtask wrote to one context, in order of its numbers. Answered by deltas and `verdicts`. */
export const commitsSchema = fields({ session: token, contextId, epoch: whole(0), settled: whole(0), commits: list(commitSchema, 64) })
export type CommitMessage = Infer<typeof commitsSchema>

/** `list`, acknowledged with {@link listReplySchema}. */
export const listSchema = fields({ prefix: optional(text(256)), limit: optional(whole(1, 1_000)) })
export const listReplySchema = fields({
  contexts: list(fields({ contextId, version: whole(0), revision: token, createdAt: whole(0), updatedAt: whole(0) }), any),
})

// ---- server → client ------------------------------------------------------------------------------------------

/** A change: 0 added, 1 modified, 2 removed · path · value (not when removed). Subscribers are not sent old values. */
const changes = jsonList
/**
 * `d`: the commits of one batch: context, incarnation, version and revision they are based on, token of the batch, time,
 * authors as `[userId, actor]`, commits as `[index of the author, number in the author's stream or 0, changes]`.
 * The n-th commit makes version base + n; its revision is `revisionOf(token, n)`, counted from 0.
 */
export const deltaFrameSchema = tuple(
  contextId,
  token,
  whole(0),
  token,
  token,
  whole(0),
  list(tuple(nullable(text(256)), token), any),
  list(tuple(whole(0), whole(0), changes), any),
)
export type DeltaFrame = Infer<typeof deltaFrameSchema>
/** `h`: the head of a context, where it may have been missed. */
export const headFrameSchema = tuple(contextId, token, whole(0), token)
export type HeadFrame = Infer<typeof headFrameSchema>

/** What a commit came to, told to its session alone: a verdict, or why there is none. */
export const outcomeSchema = tagged('type', {
  applied: fields({ head: nullable(headSchema) }),
  nothing: fields({ head: headSchema }),
  refused: errorSchema,
  /** Not decided; send it again. */
  held: errorSchema,
  /** A number before this one is missing: sync. */
  gap: fields({}),
  /** The epoch is not the stream's: sync. */
  fenced: fields({}),
  /** The session's records are gone: sync. */
  expired: fields({}),
})
export type Outcome = Infer<typeof outcomeSchema>
/** `v`: context, actor of the session, epoch, outcomes by number. Commits that a session sees as deltas are not named. */
export const verdictFrameSchema = tuple(contextId, token, whole(0), list(tuple(whole(1), outcomeSchema), any))
export type VerdictFrame = Infer<typeof verdictFrameSchema>
/** `denied`: access to a context has ended. */
export const deniedSchema = tuple(contextId, errorSchema)
/** `bye`: the server is closing; connect again, after this many ms. */
export const byeSchema = fields({ retryAfterMs: whole(0) })

/** A commit of the log in a sync answer: revision, time, index of the author, number, changes. */
const loggedSchema = tuple(token, whole(0), whole(0), whole(0), changes)
export const syncReplySchema = fields({
  answer: tagged('type', {
    /** The client is at head. */
    same: fields({ head: headSchema }),
    /** The commits since the client's head. */
    delta: fields({ authors: list(tuple(nullable(text(256)), token), any), commits: list(loggedSchema, any) }),
    full: fields({ head: headSchema, state: json, createdAt: whole(0), updatedAt: whole(0), updatedBy: authorSchema }),
    absent: fields({ head: headSchema }),
    /** The session's records are gone; it must not be used again. */
    expired: fields({}),
  }),
  /** The asking stream's record, and, when this very sync raised its epoch, the record as it was. */
  record: recordSchema,
  before: nullable(recordSchema),
  /** The client's head is not in the server's history; `restored`: an archive was put in its place. */
  reset: nullable(oneOf('rolled_back', 'restored')),
  access: oneOf('read', 'write'),
})
export type SyncReply = Infer<typeof syncReplySchema>

/** Answer to a request that failed, in place of its reply. */
export const failureSchema = fields({ error: errorSchema })

/** Revision of the n-th commit (from 0) of the batch with this token. Tokens have a fixed length, so no two revisions are alike. */
export const revisionOf = (batch: string, index: number): string => (index === 0 ? batch : batch + index.toString(36))
