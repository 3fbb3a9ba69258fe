import type { Delta } from '../delta.ts'
import type { JsonObject } from '../json.ts'

/** Shapes the changes of a delta, given the states at both ends. */
export type DeltaFormat<C> = (delta: Delta, states: { before: JsonObject; after: JsonObject }) => C
