import type { ContextInfo, Delta, JsonObject, Snapshot, SyncAnswer } from '@contextd/protocol'

/** What a write demands. */
export interface Conditions {
  readonly ifVersion?: number
  readonly ifRevision?: string
}
/** What a write came to. */
export interface Written {
  readonly context: Snapshot
  readonly delta: Delta
}
/** A context as it is exported: a snapshot, and what keeps writes exactly-once over a restore. */
export type Exported = { readonly contextId: string } & { readonly [field: string]: unknown }

/** Where the contexts are that a command works on: a server, or a store that is opened directly. All calls throw `ContextdError`. */
export interface Target {
  /** Reads a context; null: absent. */
  get(id: string): Promise<Snapshot | null>
  at(id: string, version: number): Promise<Snapshot>
  set(id: string, state: JsonObject, conditions: Conditions): Promise<Written>
  update(id: string, patch: JsonObject, conditions: Conditions): Promise<Written>
  delete(id: string, conditions: Conditions): Promise<void>
  /** Everything, then every commit; ends when the context is deleted, or with the signal. @throws `not_found` – absent at first */
  watch(id: string, signal: AbortSignal, told: (message: string) => void): AsyncIterable<SyncAnswer>
  list(options: {
    readonly prefix: string
    readonly limit: number
    readonly offset: number
    readonly order: 'asc' | 'desc'
  }): Promise<ContextInfo[]>
  history(id: string, limit: number): Promise<Delta[]>
  /** Null: absent. */
  export(id: string): Promise<Exported | null>
  /** Puts an exported context in place of what is there; without one: what the archive of the server has. */
  restore(id: string, exported?: Exported): Promise<Snapshot>
  cleanup(limit: number | undefined): Promise<{ readonly contexts: number; readonly deltas: number }>
  close(): Promise<void>
}
