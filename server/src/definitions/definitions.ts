import { ContextdError } from '@contextd/protocol'
import type { ContextDefinition, JsonObject, Limits, Operation, Path, SchemaIssue } from '@contextd/protocol'
import { isInternal } from '../backends/backend.ts'
import { copyJson, takeState } from '../json-copy.ts'
import { synchronous } from '../application-code.ts'

/** What a definition says about one context. */
export interface Declared {
  readonly itemKey: string
  /** What an absent context begins as; null: nothing is said. */
  readonly initial: () => JsonObject | null
  /** Throws `invalid_state` when a commit makes a valid state invalid. */
  readonly validate?: (before: JsonObject | null, after: JsonObject) => void
  /** Version of the definition; 0: none is declared. */
  readonly schema: number
  /** Moves a state of an older version on. @throws {ContextdError} `invalid_state` */
  readonly migrate?: (state: JsonObject, from: number) => readonly Operation[]
  /** The lock that a commit must carry which changes this path; null: none. */
  readonly requireLock?: (path: Path) => string | null
}

const undeclared: Declared = { itemKey: 'id', initial: () => null, schema: 0 }
/** Most issues of a schema that a refusal tells. */
const mostIssues = 10

/** The definitions of an engine, by the ids that they are for. */
export class Definitions {
  readonly #kinds: readonly { readonly matches: (id: string) => boolean; readonly definition: ContextDefinition; readonly schema: Schema }[]
  readonly #limits: Limits

  constructor(definitions: readonly ContextDefinition[], limits: Limits) {
    // A whole id before the patterns that it is an instance of.
    const ordered = definitions.toSorted((a, b) => Number(a.id.includes('*')) - Number(b.id.includes('*')))
    this.#kinds = ordered.map((definition) => ({ matches: matcher(definition.id), definition, schema: new Schema(definition) }))
    this.#limits = limits
  }

  /** What is declared of a context; of several patterns the first that fits counts. */
  of(contextId: string): Declared {
    const kind = isInternal(contextId) ? undefined : this.#kinds.find(({ matches }) => matches(contextId))
    if (!kind) return undeclared
    const { definition, schema } = kind
    return {
      itemKey: definition.itemKey ?? undeclared.itemKey,
      initial: () => this.#initial(definition, contextId),
      validate: (before, after) => schema.check(before, after),
      schema: definition.version ?? 1,
      ...(definition.migrate && { migrate: (state, from) => this.#migrated(definition, state, from) }),
      ...(definition.requireLock && { requireLock: (path) => keyOf(definition.requireLock!(path), definition.id) }),
    }
  }

  #migrated(definition: ContextDefinition, state: JsonObject, from: number): readonly Operation[] {
    try {
      const migrated = definition.migrate!(copyJson(state) as JsonObject, from)
      return takeState(synchronous(migrated, `migrate of ${definition.id} must be synchronous.`), this.#limits)
    } catch (error) {
      throw new ContextdError('invalid_state', `The migration of ${definition.id} from version ${from} failed.`, { cause: error })
    }
  }

  #initial({ initial, id }: ContextDefinition, contextId: string): JsonObject | null {
    if (initial === undefined) return null
    const state: unknown = typeof initial === 'function' ? (initial as (id: string) => unknown)(contextId) : initial
    const [{ value }] = takeState(synchronous(state, `initial of ${id} must be synchronous.`), this.#limits)
    return value
  }
}

function keyOf(returned: unknown, id: string): string | null {
  const key = synchronous(returned, `requireLock of ${id} must be synchronous.`)
  if (key === null || typeof key === 'string') return key
  throw new TypeError(`requireLock of ${id} must return a key, or null.`)
}

function matcher(pattern: string): (id: string) => boolean {
  if (!pattern.includes('*')) return (id) => id === pattern
  const expression = new RegExp(`^${pattern.split('*').map(literally).join('.*')}$`)
  return (id) => expression.test(id)
}

const literally = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)

/** A definition's schema; states are immutable, so that each is looked at once. */
class Schema {
  readonly #definition: ContextDefinition
  readonly #issues = new WeakMap<JsonObject, readonly SchemaIssue[]>()

  constructor(definition: ContextDefinition) {
    this.#definition = definition
  }

  /** Refuses only what makes a valid state invalid, so that a stricter schema does not freeze contexts that are there already. */
  check(before: JsonObject | null, after: JsonObject): void {
    const issues = this.#issuesOf(after)
    if (issues.length === 0 || (before !== null && this.#issuesOf(before).length > 0)) return
    const { message, path } = issues[0]!
    const place = path.length > 0 ? ` at ${path.join('.')}` : ''
    throw new ContextdError('invalid_state', `The schema of ${this.#definition.id} refuses the state${place}: ${message}`, {
      details: { issues: issues.slice(0, mostIssues) },
    })
  }

  #issuesOf(state: JsonObject): readonly SchemaIssue[] {
    const known = this.#issues.get(state)
    if (known) return known
    // A copy: schemas may write into what they are given, and parts of a state are frozen.
    const issues = issuesOf(this.#definition.state['~standard'].validate(copyJson(state)), this.#definition.id)
    this.#issues.set(state, issues)
    return issues
  }
}

function issuesOf(returned: unknown, id: string): readonly SchemaIssue[] {
  const result = synchronous(returned, `The schema of ${id} is asynchronous. Schemas must be synchronous.`)
  if (typeof result !== 'object' || result === null) throw new TypeError(`The schema of ${id} must return { value } or { issues }.`)
  const issues = 'issues' in result ? result.issues : undefined
  if (!Array.isArray(issues)) return []
  // Lists of a library's own class are left behind.
  return Array.from(issues as { readonly message: unknown; readonly path?: readonly unknown[] }[], ({ message, path }) => ({
    message: String(message),
    path: Array.from(path ?? [], stepOf),
  }))
}

/** A step is a key, or an object that holds it. */
function stepOf(step: unknown): string | number {
  const key = typeof step === 'object' && step !== null && 'key' in step ? step.key : step
  return typeof key === 'number' ? key : String(key)
}
