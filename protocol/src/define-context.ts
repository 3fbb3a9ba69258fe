import { assertJson } from './json-fault.ts'
import type { JsonObject } from './json.ts'
import { deepestNesting, excerpt, isForbiddenKey, isObject } from './json-shape.ts'
import type { Path } from './path.ts'

/** What a schema library offers under Standard Schema version 1 (zod, valibot, arktype, …), as far as contextd uses it. */
export interface StandardSchema<Input = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    /** Must be synchronous; the output is ignored. */
    readonly validate: (value: unknown) => unknown
    readonly types?: { readonly input: Input; readonly output: unknown } | undefined
  }
}
/** Why a schema refused a value. */
export interface SchemaIssue {
  readonly message: string
  readonly path: readonly (string | number)[]
}
/** What `defineContext` takes. */
export interface ContextDefinitionOptions<S extends object, P extends object, E> {
  /** Validates the state after each commit; the type is the schema's *input*, since its output (defaults, transforms) is not stored. */
  state: StandardSchema<S>
  /** Validates a session's whole presence. */
  presence?: StandardSchema<P>
  /** Validates each event. */
  event?: StandardSchema<E>
  /** What an absent context reads as, and what the first write creates it from. */
  initial?: NoInfer<S> | ((contextId: string) => NoInfer<S>)
  /** Key that identifies list items. Default `id`. */
  itemKey?: string
  /** Version of the schema, a whole number ≥ 1. Default 1. */
  version?: number
  /**
   * Moves a state of an older schema version on, at first access. Nodes with an older version of the definition leave a state that was moved on as
   * it is: so what they write while both run must be fit for both, above all a whole state (`set`), which no migration follows.
   */
  migrate?(state: JsonObject, from: number): NoInfer<S>
  /** Key of the lock that a commit must carry to write at this path; null: none. */
  requireLock?(path: Path): string | null
}
/** One kind of context, shared by server and client: made by `defineContext`, read by both. */
export interface ContextDefinition<
  Id extends string = string,
  S extends object = object,
  P extends object = object,
  E = unknown,
> extends ContextDefinitionOptions<S, P, E> {
  /** An id, or a pattern in which `*` stands for any text. */
  readonly id: Id
  /** For the compiler only; absent at run time. */
  readonly '~types'?: { readonly state: S; readonly presence: P; readonly event: E }
}
const optionNames: readonly string[] = [
  'state',
  'presence',
  'event',
  'initial',
  'itemKey',
  'version',
  'migrate',
  'requireLock',
] satisfies (keyof ContextDefinitionOptions<object, object, unknown>)[]

/** Declares one kind of context. @throws {TypeError} the pattern, the schema or an option is malformed. */
export function defineContext<const Id extends string, S extends object, P extends object = Record<string, never>, E = never>(
  id: Id,
  options: ContextDefinitionOptions<S, P, E>,
): ContextDefinition<Id, S, P, E> {
  if (typeof id !== 'string' || !/^[A-Za-z0-9*][A-Za-z0-9._:\-@+~*]*$/.test(id)) {
    throw new TypeError(
      `defineContext: ${excerpt(id)} is not a context id or a pattern of one; use A-Z a-z 0-9 . _ : - @ + ~, and * for any text`,
    )
  }
  if (typeof options !== 'object' || options === null)
    throw new TypeError(`defineContext('${id}'): the options must be an object with a schema at state`)
  const wrong = (name: string, what: string): never => {
    throw new TypeError(`defineContext('${id}'): ${name} must be ${what}`)
  }
  for (const name of Object.keys(options)) {
    // A definition that is made from another one brings that one's id.
    if (name !== 'id' && !optionNames.includes(name))
      throw new TypeError(`defineContext('${id}') has no option ${name}; it has ${optionNames.join(', ')}`)
  }
  const { state, presence, event, initial, itemKey, version } = options
  for (const [name, schema] of Object.entries({ state, presence, event })) {
    if (!isSchema(schema) && (name === 'state' || schema !== undefined)) wrong(name, 'a schema under Standard Schema version 1')
  }
  for (const name of ['migrate', 'requireLock'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') wrong(name, 'a function')
  }
  if (itemKey !== undefined && (typeof itemKey !== 'string' || itemKey === '' || isForbiddenKey(itemKey)))
    wrong('itemKey', 'the name of a key')
  if (version !== undefined && (!Number.isSafeInteger(version) || version < 1)) wrong('version', 'a whole number of at least 1')
  if (initial !== undefined && typeof initial !== 'function') {
    if (!isObject(initial)) wrong('initial', 'an object, or a function that gives one')
    assertJson(initial, ['initial'], deepestNesting)
  }
  return Object.freeze({ ...options, id })
}

function isSchema(schema: unknown): boolean {
  if ((typeof schema !== 'object' && typeof schema !== 'function') || schema === null || !('~standard' in schema)) return false
  const standard = schema['~standard']
  if (typeof standard !== 'object' || standard === null || !('version' in standard) || !('validate' in standard)) return false
  return standard.version === 1 && typeof standard.validate === 'function'
}
/** The map of contexts that a list of definitions declares: `InferContexts<[typeof board, typeof game]>`. */
export type InferContexts<D extends readonly ContextDefinition[]> = {
  [K in D[number] as IdOf<K['id']>]: K extends { readonly '~types'?: infer T } ? Exclude<T, undefined> : never
}
type IdOf<Pattern extends string> = Pattern extends `${infer A}*${infer B}` ? `${A}${string}${IdOf<B>}` : Pattern
