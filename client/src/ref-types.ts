import type { ItemAddress, Patch, Primitive, Segment, SyncArgs } from '@contextd/protocol'
import type { Write } from './write.ts'

/** Options of `update(patch)` and `at(…).set(value)`. */
export interface UpdateOptions {
  /** A commit with this key that was not sent yet absorbs the next (dragging). */
  coalesce?: string
}

/** Keys that lead deeper into a value: names in objects, positions in lists, `{ id }` in lists of objects. */
export type KeyOf<T> = T extends Primitive
  ? never
  : T extends readonly (infer Item)[]
    ? number | ([Exclude<Item, Primitive>] extends [never] ? never : ItemAddress)
    : T extends object
      ? keyof T & string
      : never
/** The value behind a key. */
export type Step<T, K> = T extends Primitive
  ? never
  : T extends readonly unknown[]
    ? K extends keyof T
      ? T[K]
      : T[number]
    : K extends keyof T
      ? T[K]
      : never
/** The value behind several keys. */
export type Steps<T, Keys extends readonly unknown[]> = Keys extends readonly [infer K, ...infer Rest] ? Steps<Step<T, K>, Rest> : T
/** Where an item goes in a list: a position, an end, or beside another item. */
export type ListPosition = number | 'start' | 'end' | { readonly after: number | ItemAddress } | { readonly before: number | ItemAddress }

/** A place: `W` is what a write gives (`Write` on a handle, nothing in a transaction). */
export interface ValueRef<T, W> {
  /** The value as it is shown; undefined when it is not there. */
  get(): T | undefined
  /** Puts a value here; null is stored. */
  set(value: T, options?: UpdateOptions): W
}
/** A place that can be watched. */
export interface WatchedRef<T> {
  subscribe(listener: (value: T | undefined, previous: T | undefined) => void): () => void
}
/** A place that may be empty: an optional key, a value of a record, an item of a list. */
export interface RemovableRef<W> {
  remove(): W
}
/** A place with an object. */
export interface ObjectRef<T, W> {
  /** Merges deeply into the shown object. */
  update(patch: Patch<T>, options?: UpdateOptions): W
  /** Changes a draft of the shown object; synchronous, its result is ignored. */
  update<R>(recipe: (draft: T) => R, ...rest: SyncArgs<R>): W
}
/** A place with a number. */
export interface NumberRef<W> {
  /** Adds; additions of others are kept. Default 1. */
  increment(by?: number): W
}
/** A place with a list; indexes are those of the shown list, and become addresses when called. */
export interface ListRef<Item, W> {
  append(...items: Item[]): W
  prepend(...items: Item[]): W
  insert(at: ListPosition, ...items: Item[]): W
  remove(item: number | ItemAddress): W
  /** Moves an item within the list, or to another list of the same context. */
  move(item: number | ItemAddress, to: ListPosition, list?: ListRef<Item, W>): W
}
/** What can be done at a place that holds a `T`; for a union, what some member allows. */
export type Ref<T, W = Write> = ValueRef<T, W> &
  ([W] extends [void] ? unknown : WatchedRef<T>) &
  ([ObjectIn<T>] extends [never] ? unknown : ObjectRef<ObjectIn<T>, W>) &
  ([Extract<T, number>] extends [never] ? unknown : NumberRef<W>) &
  ([ListIn<T>] extends [never] ? unknown : ListRef<ListIn<T>[number], W>)
type ObjectIn<T> = Exclude<T, Primitive | readonly unknown[]>
type ListIn<T> = T extends readonly unknown[] ? (number extends T['length'] ? T : never) : never
/** The place behind the last key of a path. */
export type RefAt<Parent, K, W> = Ref<Exclude<Step<Parent, K>, undefined>, W> &
  (true extends RemovableAt<Parent, K> ? RemovableRef<W> : unknown)
type RemovableAt<T, K> = T extends Primitive
  ? never
  : T extends readonly unknown[]
    ? true
    : K extends keyof T
      ? {} extends { [P in keyof T as K extends P ? P : never]: T[P] }
        ? true
        : false
      : never

/** Typed paths: `at('items', { id }, 'title')`. From the seventh step on, values are plain JSON to the compiler. */
export interface At<S, W> {
  at<A extends KeyOf<S>>(a: A): RefAt<S, A, W>
  at<A extends KeyOf<S>, B extends KeyOf<Steps<S, [A]>>>(a: A, b: B): RefAt<Steps<S, [A]>, B, W>
  at<A extends KeyOf<S>, B extends KeyOf<Steps<S, [A]>>, C extends KeyOf<Steps<S, [A, B]>>>(a: A, b: B, c: C): RefAt<Steps<S, [A, B]>, C, W>
  at<A extends KeyOf<S>, B extends KeyOf<Steps<S, [A]>>, C extends KeyOf<Steps<S, [A, B]>>, D extends KeyOf<Steps<S, [A, B, C]>>>(
    a: A,
    b: B,
    c: C,
    d: D,
  ): RefAt<Steps<S, [A, B, C]>, D, W>
  at<
    A extends KeyOf<S>,
    B extends KeyOf<Steps<S, [A]>>,
    C extends KeyOf<Steps<S, [A, B]>>,
    D extends KeyOf<Steps<S, [A, B, C]>>,
    E extends KeyOf<Steps<S, [A, B, C, D]>>,
  >(
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
  ): RefAt<Steps<S, [A, B, C, D]>, E, W>
  at<
    A extends KeyOf<S>,
    B extends KeyOf<Steps<S, [A]>>,
    C extends KeyOf<Steps<S, [A, B]>>,
    D extends KeyOf<Steps<S, [A, B, C]>>,
    E extends KeyOf<Steps<S, [A, B, C, D]>>,
    F extends KeyOf<Steps<S, [A, B, C, D, E]>>,
  >(
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
    f: F,
    ...deeper: Segment[]
  ): RefAt<Steps<S, [A, B, C, D, E]>, F, W>
}
