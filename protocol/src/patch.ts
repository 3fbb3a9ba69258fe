/**
 * A partial object for a deep merge (RFC 7396). Null removes, so it is allowed where a key may be missing: optional keys and
 * values of records; never for required keys (store null with `at(…).set(null)`). Lists are replaced by value. `undefined`: not mentioned.
 */
export type Patch<S> = { -readonly [K in keyof S]?: PatchValue<S[K]> | (IsRemovable<S, K> extends true ? null : never) | undefined }
type PatchValue<T> = T extends null | undefined ? never : T extends Primitive | readonly unknown[] ? T : T extends object ? Patch<T> : T
/** True for optional keys and for the keys of records. */
export type IsRemovable<S, K extends keyof S> = {} extends Pick<S, K> ? true : false
/** A JSON leaf; tested before `object`, because a branded string is an object to the compiler. */
export type Primitive = null | undefined | boolean | number | string
