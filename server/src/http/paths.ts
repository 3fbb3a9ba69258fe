import { bad } from './query.ts'

/** What one resource does, by method; `HEAD` is done by `GET`. */
export interface Resource<C> {
  readonly methods: { readonly [method: string]: (call: C) => Promise<void> }
}
/** Where a path leads. */
export interface Found<C> {
  readonly resource: Resource<C>
  /** `''`: it is about none. */
  readonly contextId: string
  /** The steps after the context. */
  readonly steps: readonly string[]
}

/** Resources by their paths below `/v1`: `{id}` stands for a context, `{n}` for a number. */
export type Resources<C> = { readonly [path: string]: Resource<C> }

/** Finds the resource of a path; null: there is none. @throws {ContextdError} `invalid_message` – the path is not encoded as paths are */
export function find<C>(resources: Resources<C>, path: string): Found<C> | null {
  const [, version, ...encoded] = path.split('/')
  if (version !== 'v1') return null
  const steps = encoded.map(decoded)
  for (const [pattern, resource] of Object.entries(resources)) {
    const places = pattern.split('/')
    if (places.length !== steps.length) continue
    if (!places.every((place, index) => place === steps[index] || (place.startsWith('{') && steps[index] !== ''))) continue
    const at = places.indexOf('{id}')
    return at < 0 ? { resource, contextId: '', steps } : { resource, contextId: steps[at]!, steps: steps.slice(at + 1) }
  }
  return null
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step)
  } catch {
    throw bad('The path has a % that encodes nothing.')
  }
}
