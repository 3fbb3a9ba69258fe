import { diffToOperations } from '@contextd/protocol'
import type { JsonObject, ListOptions, Operation } from '@contextd/protocol'
import { Immer, current, isDraft } from 'immer'
import { copyNew } from '../json-copy.ts'
import { synchronous } from '../application-code.ts'

const immer = new Immer({ autoFreeze: false })
/** How deep drafts are looked for in what a recipe returns. */
const resultDepth = 16

/**
 * Runs a recipe on a draft of a state, and gives what it did as operations.
 * @throws {TypeError} the recipe is asynchronous, or stores what is not JSON
 */
export function operationsOf<R>(
  base: JsonObject,
  recipe: (draft: JsonObject) => R,
  options: ListOptions,
): { operations: Operation[]; result: R } {
  const draft = immer.createDraft(base)
  const returned = synchronous(recipe(draft), 'The function of transact must be synchronous: await first, then transact.')
  const result = withoutDrafts(returned, resultDepth) as R
  const next: unknown = immer.finishDraft(draft)
  return { operations: diffToOperations(base, copyNew(base, next) as JsonObject, options), result }
}

/** A draft is at its end when the recipe is; what it returns of it is what the draft holds then. */
function withoutDrafts(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (isDraft(value)) return current(value)
  if (depth === 0) return value
  if (Array.isArray(value)) return value.some(holdsDraft) ? value.map((item) => withoutDrafts(item, depth - 1)) : value
  if (Object.getPrototypeOf(value) !== Object.prototype || !Object.values(value).some(holdsDraft)) return value
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, withoutDrafts(child, depth - 1)]))
}

/** Whether something is, or may hold, a draft. */
const holdsDraft = (value: unknown): boolean => typeof value === 'object' && value !== null
