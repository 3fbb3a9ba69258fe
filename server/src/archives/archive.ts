import type { JsonValue, Snapshot } from '@contextd/protocol'

/** What an archive is given; `streams` is opaque, and keeps writes exactly-once over a restore if it is given back. */
export interface ExportedContext extends Snapshot {
  streams: JsonValue
}
/**
 * What an archive gives back: `{ version, state }` is enough. Without `incarnation` and `streams` the context starts a new life; `revision` is
 * always minted anew, since a restore is no version that anybody has seen.
 */
export type ArchivedContext = Pick<ExportedContext, 'version' | 'state'> & Partial<ExportedContext>

/** Where `export` puts contexts and `restore` finds them. */
export interface Archive {
  /** Keeps a context, in place of what it has of the same id. */
  export(snapshot: ExportedContext): void | Promise<void>
  /** Gives it back; null: there is none. */
  restore(contextId: string): ArchivedContext | null | Promise<ArchivedContext | null>
}

/** An archive that is told when it is not needed any more. */
export interface OpenArchive extends Archive {
  close(): Promise<void>
}
