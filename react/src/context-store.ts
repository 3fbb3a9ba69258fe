import type { BaseClient, Client, ContextStatus, HandleOf, JsonObject, Source, UndeclaredContexts } from '@contextd/client'
import { Lease } from './lease.ts'

/** Time from the last component that uses a context to leaving it, ms. */
export const graceMs = 5_000

/** What a zustand hook reads; every `Source` is one. */
export type ReadableStore<T> = Pick<Source<T>, 'getState' | 'getInitialState' | 'subscribe'>
/** The handle of a context whose types are known to the caller only. */
export type AnyHandle = HandleOf<UndeclaredContexts, string>
type Listener = (state: JsonObject | undefined, previous: JsonObject | undefined) => void
/** What `client.context` takes. */
export interface HandleOptions {
  readonly initial?: object
}

/**
 * One context of one client, shared by all hooks that name its id.
 * Invariants: reading opens nothing; the context is subscribed to once, however many components subscribe; it is left `graceMs` after
 * the last holder is gone, and joined again when a component that kept the store comes back (React hides and shows them).
 */
export class ContextStore implements ReadableStore<JsonObject | undefined> {
  /** How the context stands; watching it opens the context, or it would never get beyond `loading`. */
  readonly status: ReadableStore<ContextStatus>
  readonly #client: Client
  readonly #id: string
  readonly #interest: Lease
  readonly #subscription: Lease
  readonly #listeners = new Set<Listener>()
  /** The one that is in use, and those that were before it: components keep the handle they have. */
  #handles: readonly [AnyHandle, ...AnyHandle[]]
  #hasOptions: boolean
  /** The handle that is subscribed to. */
  #subscribed: { readonly handle: AnyHandle; readonly end: () => void } | null = null

  constructor(client: Client, id: string, options: HandleOptions | undefined) {
    this.#client = client
    this.#id = id
    this.#handles = [client.context(id, options)]
    this.#hasOptions = options !== undefined
    this.#interest = new Lease(() => this.#register(), graceMs)
    this.#subscription = new Lease(() => this.#subscribe(), graceMs)
    const { status } = this.#handles[0]
    this.status = {
      getState: () => status.getState(),
      getInitialState: () => status.getInitialState(),
      subscribe: (listener) => inTurn(status.subscribe(listener), this.subscribe(ignore)),
    }
  }

  readonly getState = (): JsonObject | undefined => this.#handles[0].getState()
  readonly getInitialState = (): JsonObject | undefined => this.#handles[0].getInitialState()

  /** The handle; another one from when options come for the first time, since a handle is made with them. Safe while rendering. */
  handle(options?: HandleOptions): AnyHandle {
    if (options !== undefined && !this.#hasOptions) {
      this.#hasOptions = true
      this.#handles = [this.#client.context(this.#id, options), ...this.#handles]
    }
    return this.#handles[0]
  }

  /** Lets options that came late count for those who read already. Not while rendering: they are told. */
  settle(): void {
    if (this.#subscribed === null || this.#subscribed.handle === this.#handles[0]) return
    const { end } = this.#subscribed
    this.#subscribe()
    end()
  }

  /** Keeps the store and its handle without opening the context; returns the function that ends it. */
  readonly hold = (): (() => void) => this.#interest.hold()

  /** Opens the context, and calls for each change; returns the function that ends it. */
  readonly subscribe = (listener: Listener): (() => void) => {
    // An entry of its own: the same listener twice is two subscriptions.
    const entry: Listener = (state, previous) => listener(state, previous)
    const letGo = inTurn(this.#subscription.hold(), this.#interest.hold())
    this.#listeners.add(entry)
    return () => {
      this.#listeners.delete(entry)
      letGo()
    }
  }

  #register(): () => void {
    const stores = storesOf(this.#client)
    stores.set(this.#id, this)
    return () => {
      if (stores.get(this.#id) === this) stores.delete(this.#id)
      for (const handle of this.#handles) handle.leave()
    }
  }

  #subscribe(): () => void {
    const [handle] = this.#handles
    this.#subscribed = { handle, end: handle.subscribe(this.#notify) }
    return () => {
      this.#subscribed?.end()
      this.#subscribed = null
    }
  }

  readonly #notify: Listener = (state, previous) => {
    for (const listener of this.#listeners) listener(state, previous)
  }
}

const registry = new WeakMap<BaseClient, Map<string, ContextStore>>()

function storesOf(client: BaseClient): Map<string, ContextStore> {
  const found = registry.get(client)
  if (found) return found
  const stores = new Map<string, ContextStore>()
  registry.set(client, stores)
  return stores
}

/** Finds the store of a context, or makes it; safe while rendering. @throws {TypeError} the id is malformed */
export function contextStore(client: BaseClient, id: string, options?: HandleOptions): ContextStore {
  const found = storesOf(client).get(id)
  if (found) return found
  // The hooks' callers know the contexts' types, the hooks do not.
  const store = new ContextStore(client as Client, id, options)
  // Held for a moment: a render that React throws away leaves nothing behind.
  store.hold()()
  return store
}

const ignore = (): void => {}

function inTurn(...actions: readonly (() => void)[]): () => void {
  return () => {
    for (const action of actions) action()
  }
}
