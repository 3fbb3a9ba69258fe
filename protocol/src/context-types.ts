import type { JsonObject, JsonValue } from './json.ts'

/** What is known of one kind of context. `state` may be an interface without index signature. */
export interface ContextTypes {
  state: object
  presence?: object
  event?: unknown
}
/**
 * The fallback for contexts that nobody declared: any id, JSON in and out. It is JSON and not `any`, so that a forgotten
 * declaration shows at the first use; `typeof` and `Array.isArray` narrow it.
 */
export interface UndeclaredContexts {
  [id: string]: { state: JsonObject; presence: JsonObject; event: JsonValue }
}
/** Ids that a map of contexts knows: `` `board:${string}` | 'lobby' ``. */
export type ContextId<C> = keyof C & string
/** State of the contexts with this id. */
export type StateOf<C, Id extends ContextId<C>> = C[Id] extends { state: infer S extends object } ? S : never
/** Presence in the contexts with this id; empty when none was declared. */
export type PresenceOf<C, Id extends ContextId<C>> = C[Id] extends { presence: infer P extends object } ? P : Record<string, never>
/** Events in the contexts with this id; none when none was declared. */
export type EventOf<C, Id extends ContextId<C>> = C[Id] extends { event: infer E } ? E : never
/** A whole state as it is written: any object where nothing is declared (so that interfaces are accepted), else `S`. */
export type WholeState<S> = JsonObject extends S ? object : S

/** Rest arguments of a call whose function must not return a Promise: with one, no call type-checks (at run time: `TypeError`). */
export type SyncArgs<R, Args extends unknown[] = []> = [Extract<R, PromiseLike<unknown>>] extends [never]
  ? Args
  : [promiseNotAllowed: never]
