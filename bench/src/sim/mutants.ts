import { clientMutants } from './client-mutants.ts'
import type { Mutant } from './mutant.ts'
import { serverMutants } from './server-mutants.ts'

/** Every rule that can be switched off, and what notices. Those of disk and adoption are not here: the simulated clients have no disk. */
export const mutants: readonly Mutant[] = [...serverMutants, ...clientMutants]
