export { ContextdError, createId, defaultLimits, defineContext, formats, isContextdError, isVerboseChange } from '@contextd/protocol'
export type {
  Anchor,
  Author,
  Change,
  ContextDefinition,
  ContextInfo,
  Delta,
  DeltaFormat,
  ErrorCode,
  Head,
  InferContexts,
  ItemAddress,
  ItemRef,
  JsonObject,
  JsonPatchOperation,
  JsonValue,
  Limits,
  LockToken,
  Operation,
  Patch,
  Path,
  Segment,
  Snapshot,
  StandardSchema,
  SyncAnswer,
  VerboseChange,
  VerboseDelta,
} from '@contextd/protocol'
export type { Archive, ArchivedContext, ExportedContext } from './archives/archive.ts'
export type { Action, Handshake, User } from './authorize.ts'
export type { Backend } from './backends/backend.ts'
export { memoryBackend } from './backends/memory.ts'
export { openBackend } from './backends/open-backend.ts'
export type { Cleaned } from './cleanup/cleaner.ts'
export type { CleanupOptions } from './cleanup/cleanup.ts'
export type { Clock } from './clock.ts'
export { Contextd } from './contextd/contextd.ts'
export type { ContextdOptions } from './contextd/contextd.ts'
export { createContexts } from './contexts/contexts.ts'
export type {
  Contexts,
  ContextSource,
  EngineState,
  FetchRun,
  KnownHead,
  ListOptions,
  Lock,
  LockOptions,
  Materialize,
  SourceOptions,
  SourceStatus,
  WriteOptions,
  WriteResult,
} from './contexts/contexts.ts'
export type { Hooks } from './definitions/hooks.ts'
export type { Logger } from './logger.ts'
export type { ContextsOptions, DeltaFormats } from './options.ts'
export { createServer } from './server.ts'
export type { Server } from './server.ts'
export type { ServerOptions } from './server-options.ts'
