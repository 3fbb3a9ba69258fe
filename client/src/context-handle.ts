import { ContextdError, createId } from '@contextd/protocol'
import type { JsonObject, JsonValue, Path } from '@contextd/protocol'
import { mergeAt, recipeAt, setAt, valueAt } from './edits.ts'
import type { Edit } from './edits.ts'
import type { ContextHandle, ContextStatus, Transaction, TransactionOptions, WatchOptions } from './handle-types.ts'
import { nothingKnown } from './open-context.ts'
import type { OpenContext } from './open-context.ts'
import { createRef } from './refs.ts'
import type { RefHost } from './refs.ts'
import type { UpdateOptions } from './ref-types.ts'
import type { Session } from './session.ts'
import { checkListener } from './source.ts'
import type { Source } from './source.ts'
import { callSafely } from './timers.ts'
import { runTransaction } from './transaction.ts'
import { takeValue } from './values.ts'
import { openWrite } from './write.ts'
import type { Write } from './write.ts'
import type { Plan } from './writer.ts'

type State = JsonObject | undefined
type Handle = ContextHandle<JsonObject>

/** Runs again after a conflict, where nothing is said. */
const defaultRetries = 3

/** Makes the handle of a context. It opens the context at the first subscribe, ready, sync or write. */
export function createHandle(session: Session, id: string, initial: JsonObject | undefined): Handle {
  const base = new HandleBase(session, id, initial)
  const at = (...path: unknown[]): unknown => createRef(path, base)
  const get = (): State => session.find(id)?.state.get()
  return {
    id,
    get,
    getState: get,
    getInitialState: () => undefined,
    subscribe: (
      first: (state: never, previous?: never) => unknown,
      listener?: (value: unknown, previous: unknown) => void,
      options?: WatchOptions<unknown>,
    ) =>
      listener === undefined
        ? base.subscribe(first as (state: State, previous: State) => void)
        : base.select(first as (state: JsonObject) => unknown, listener, options),
    at: at as Handle['at'],
    set: (state) => base.apply(setAt([], takeObject(state))),
    update: (change: unknown, options?: UpdateOptions) =>
      typeof change === 'function'
        ? base.apply(recipeAt([], change as (draft: never) => unknown))
        : base.apply(mergeAt([], takePatch(change)), options),
    transaction: <R>(fn: (tx: Transaction<JsonObject>) => R, ...rest: unknown[]) =>
      base.transaction(fn, rest[0] as TransactionOptions | undefined),
    delete: () => base.submit({ remove: true, compute: () => ({ operations: [], result: undefined }) }),
    ready: ({ live = false, signal } = {}) => base.ready(live, signal),
    sync: async () => base.open().sync(),
    status: base.status,
    leave: () => base.leave(),
  } as Handle
}

function takeObject(state: unknown): JsonValue {
  if (typeof state !== 'object' || state === null || Array.isArray(state)) throw new TypeError('a state is an object')
  return takeValue(state, { name: 'state' })
}
function takePatch(patch: unknown): JsonValue {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch))
    throw new TypeError('update takes a patch, which is an object, or a recipe')
  return takeValue(patch, { name: 'patch', dropUndefined: true })
}

class HandleBase implements RefHost<Write> {
  readonly owner: object
  readonly contextId: string
  readonly #session: Session
  readonly #initial: JsonObject | undefined
  /** Ends what holds the context open for this handle. */
  readonly #holds = new Set<() => void>()
  /** Ends what `ready` holds open. */
  #release: (() => void) | null = null

  constructor(session: Session, id: string, initial: JsonObject | undefined) {
    this.owner = session
    this.contextId = id
    this.#session = session
    this.#initial = initial
  }

  /** The context, opened. @throws {ContextdError} `closed` – the client was destroyed */
  open(): OpenContext {
    const context = this.#session.open(this.contextId)
    if (this.#initial !== undefined) context.offerInitial(this.#initial)
    return context
  }

  // ---- reading ------------------------------------------------------------------------------------------------

  subscribe(listener: (state: State, previous: State) => void): () => void {
    return this.#watch((context) => context.state.subscribe(listener))
  }

  select(
    selector: (state: JsonObject) => unknown,
    listener: (value: unknown, previous: unknown) => void,
    options: WatchOptions<unknown> = {},
  ): () => void {
    checkListener(selector)
    checkListener(listener)
    const { equals = Object.is, immediate = false } = options
    const part = (state: State): unknown => (state === undefined ? undefined : selector(state))
    let value = part(this.#session.find(this.contextId)?.state.get())
    const end = this.#watch((context) => {
      value = part(context.state.get())
      return context.state.subscribe((state) => {
        const next = part(state)
        const previous = value
        if (equals(previous, next)) return
        value = next
        listener(next, previous)
      })
    })
    if (immediate) callSafely(listener, value, undefined)
    return end
  }

  watch(path: Path, listener: (value: JsonValue | undefined, previous: JsonValue | undefined) => void): () => void {
    const itemKey = this.#itemKey()
    return this.select((state) => valueAt(state, path, itemKey), listener as (value: unknown, previous: unknown) => void)
  }

  read(path: Path): JsonValue | undefined {
    return valueAt(this.#session.find(this.contextId)?.state.get(), path, this.#itemKey())
  }

  readonly status: Source<ContextStatus> = {
    get: () => this.#session.find(this.contextId)?.status.get() ?? nothingKnown,
    getState: () => this.status.get(),
    getInitialState: () => nothingKnown,
    subscribe: (listener) => this.#watch((context) => context.status.subscribe(listener)),
  }

  async ready(live: boolean, signal: AbortSignal | undefined): Promise<State> {
    const context = this.open()
    if (this.#release === null) {
      const end = this.#keep(context.hold())
      this.#release = end
    }
    return context.ready(live, signal)
  }

  /** Ends every hold of this handle; what it has watched is told as long as others hold the context open. */
  leave(): void {
    for (const end of this.#holds) end()
    this.#holds.clear()
    this.#release = null
  }

  // ---- writing ------------------------------------------------------------------------------------------------

  apply(edit: Edit, options?: UpdateOptions): Write {
    const coalesce = coalesceOf(options)
    return this.submit({ coalesce, compute: ({ state }) => ({ operations: edit(state, this.#itemKey()), result: undefined }) })
  }

  transaction<R>(fn: (tx: Transaction<JsonObject>) => R, options: TransactionOptions = {}): Write<R> {
    if (typeof fn !== 'function') throw new TypeError('transaction takes a function')
    const { ifVersion, retries = ifVersion === undefined ? defaultRetries : 0 } = options
    if (!Number.isSafeInteger(retries) || retries < 0) throw new TypeError(`retries is a whole number, not ${String(retries)}`)
    if (ifVersion !== undefined && (!Number.isSafeInteger(ifVersion) || ifVersion < 0))
      throw new TypeError(`ifVersion is a version, not ${String(ifVersion)}`)
    const compute: Plan<R>['compute'] = ({ state, version }) => runTransaction(fn, { state, version }, this.#itemKey(), this)
    return this.submit({ retries, ifVersion, compute })
  }

  submit<R>(plan: Plan<R>): Write<R> {
    try {
      return this.open().submit(plan)
    } catch (error) {
      if (!(error instanceof ContextdError)) throw error
      const open = openWrite<R>(createId())
      open.reject(error)
      return open.write
    }
  }

  // ---- inside -------------------------------------------------------------------------------------------------

  #itemKey(): string {
    return this.#session.itemKeyOf(this.contextId)
  }

  /** Watches something of the open context, and holds it open for as long. */
  #watch(begin: (context: OpenContext) => () => void): () => void {
    let context: OpenContext
    try {
      context = this.open()
    } catch {
      // Nothing will happen any more in a client that was destroyed.
      return () => {}
    }
    // Opening may change what is shown; who begins to watch is told of what comes after.
    const release = this.#keep(context.hold())
    let stop: () => void
    try {
      stop = begin(context)
    } catch (error) {
      release()
      throw error
    }
    return () => {
      stop()
      release()
    }
  }

  #keep(release: () => void): () => void {
    const end = (): void => {
      this.#holds.delete(end)
      release()
    }
    this.#holds.add(end)
    return end
  }
}

function coalesceOf(options: UpdateOptions | undefined): string | undefined {
  const key = options?.coalesce
  if (key !== undefined && typeof key !== 'string') throw new TypeError('coalesce is a key, a string')
  return key
}
