/*
 * The pure cores, for the simulator and for other code of this workspace: no promise, no timer, no socket in them. They are no part of the
 * package's public surface.
 */
export { noHead, sameHead } from './backends/backend.ts'
export { roomOf } from './backends/publishing.ts'
export type {
  BatchMember,
  CommitBatch,
  CommitResult,
  ContextRow,
  LogEntry,
  Retention,
  StoredContext,
  StreamAnswer,
  StreamPosition,
  SyncQuery,
  SyncResult,
  SyncStream,
} from './backends/backend.ts'
export { StoreModel, recordCutoff } from './backends/store-model.ts'
export type { StoreCopy } from './backends/store-model.ts'
export { buildAttempt } from './commits/commit-attempt.ts'
export type { Attempt, AttemptOptions } from './commits/commit-attempt.ts'
export { decide } from './commits/decide.ts'
export type { Decided, DecideOptions, Submission } from './commits/decide.ts'
export { CommitQueue } from './commits/commit-queue.ts'
export type { Answer, Answered } from './commits/commit-queue.ts'
export { commitStep, entriesTrimmed, recordGraceMs, recordsPrunedPerStep, trimCount } from './commits/commit-step.ts'
export type { StepOutcome, StepView, StoredRecord } from './commits/commit-step.ts'
export { fastForward, fromStored, serverAuthor } from './commits/known-context.ts'
export type { KnownContext } from './commits/known-context.ts'
export { decodeLogEntry, encodeLogEntry, logEntryOf } from './commits/log-entry.ts'
export type { LoggedCommit } from './commits/log-entry.ts'
export { ToldHead } from './socket/told-head.ts'
export { isToldByDelta, outcomeOf } from './socket/verdicts.ts'
export { syncReply } from './reads/sync-reply.ts'
export type { SyncAnswered } from './reads/sync-reply.ts'
export { syncStep } from './reads/sync-step.ts'
export type { SyncOutcome, SyncView } from './reads/sync-step.ts'
