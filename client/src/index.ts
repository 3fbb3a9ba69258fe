/** `@contextd/client`: contexts in browsers, Node and edge runtimes. A handle shows writes at once and settles them on the server's verdict. */
export { ContextdError, createId, defineContext, isContextdError } from '@contextd/protocol'
export type {
  Author,
  Change,
  ContextDefinition,
  ContextId,
  ContextInfo,
  Delta,
  ErrorCode,
  EventOf,
  InferContexts,
  ItemAddress,
  JsonObject,
  JsonValue,
  LockHolder,
  LockToken,
  Operation,
  Patch,
  Path,
  PresenceOf,
  Snapshot,
  StandardSchema,
  StateOf,
  UndeclaredContexts,
  WholeState,
} from '@contextd/protocol'
export { createClient } from './client.ts'
// With a star, so that an application can merge its contexts into `Register`.
export type * from './client-types.ts'
export type { ConnectionState } from './connection-states.ts'
export type { ContextHandle, ContextStatus, SyncReport, Transaction, TransactionOptions } from './handle-types.ts'
export type {
  At,
  KeyOf,
  ListPosition,
  ListRef,
  NumberRef,
  ObjectRef,
  Ref,
  RefAt,
  RemovableRef,
  Step,
  Steps,
  UpdateOptions,
  ValueRef,
  WatchedRef,
} from './ref-types.ts'
export type { Source } from './source.ts'
export type { Committed, Write } from './write.ts'
