import type { Change } from '../delta.ts'
import type { DeltaFormat } from './delta-format.ts'

/** Flat list with full paths, list items apart: the changes as they are. */
export const changes: DeltaFormat<Change[]> = (delta) => delta.changes
