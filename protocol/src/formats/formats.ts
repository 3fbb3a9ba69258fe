import type { Change } from '../delta.ts'
import type { JsonPatchOperation } from '../operation.ts'
import { changes } from './changes.ts'
import type { DeltaFormat } from './delta-format.ts'
import { jsonPatch } from './json-patch.ts'
import { verbose } from './verbose.ts'
import type { VerboseDelta } from './verbose.ts'

/** The formats that are built in. */
export const formats: {
  /** Tree by key: `{ metadata: { theme: { action: 'modified', value: 'dark', oldValue: 'light' } } }`. */
  readonly verbose: DeltaFormat<VerboseDelta>
  /** Flat list with full paths, list items apart. */
  readonly changes: DeltaFormat<Change[]>
  /** JSON Patch (RFC 6902). */
  readonly jsonPatch: DeltaFormat<JsonPatchOperation[]>
} = Object.freeze({ verbose, changes, jsonPatch })
