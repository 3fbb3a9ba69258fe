import type { BaseClient, Client, ConnectionState, ContextId, ContextStatus, HandleOf, StateOf, WholeState } from '@contextd/client'
import type { ReactNode } from 'react'
import type { Equals } from './use-selected.ts'

/** The hooks, for the contexts `C`. They may be taken apart: none needs its `this`. */
export interface ContextdHooks<C> {
  /** Gives the client to the hooks below it. */
  readonly ContextdProvider: (props: { client: BaseClient; children?: ReactNode }) => ReactNode
  readonly useContextd: {
    /** State of a context; undefined before the first, when absent without `initial`, and for null. */
    <Id extends ContextId<C>>(id: Id | null): StateOf<C, Id> | undefined
    /** Part of a state; the selector is not called before there is one. */
    <Id extends ContextId<C>, T>(id: Id | null, selector: (state: StateOf<C, Id>) => T, equals?: Equals<T>): T | undefined
  }
  /** The handle, stable while the id is. */
  readonly useContextdHandle: <Id extends ContextId<C>>(id: Id, options?: { initial?: WholeState<StateOf<C, Id>> }) => HandleOf<C, Id>
  /** The provider's client: `pending`, `rejected`, `list`, … */
  readonly useContextdClient: () => Client<C>
  /** A stable function that calls yours, as last rendered, with the handle. */
  readonly useContextdMutation: <Id extends ContextId<C>, Args extends unknown[], R>(
    id: Id,
    mutate: (ctx: HandleOf<C, Id>, ...args: Args) => R,
  ) => (...args: Args) => R
  /** How a context stands. */
  readonly useContextdStatus: (id: ContextId<C>) => ContextStatus
  /** State of the client's connection. */
  readonly useConnection: () => ConnectionState
}
