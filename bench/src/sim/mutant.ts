import type { Mutation } from './bundle.ts'

/** A rule of the protocol, switched off in one core; some check must notice. */
export interface Mutant extends Mutation {
  /** The rule, as the protocol names it. */
  readonly rule: string
  /** What is known to catch it: a seed, or a directed schedule. */
  readonly caughtBy: number | string
}

/** A mutant of one edit. */
export const mutant = (rule: string, name: string, caughtBy: number | string, file: string, find: string, replace: string): Mutant => ({
  rule,
  name,
  caughtBy,
  edits: [{ file, find, replace }],
})
