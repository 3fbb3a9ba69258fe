import { ContextdError, formats, isContextdError } from '@contextd/protocol'
import type { Delta, JsonObject, Operation, VerboseDelta } from '@contextd/protocol'
import type { LockDemand } from '../backends/backend.ts'
import { OwnLocks, demandsOf } from './contextd-locks.ts'
import { checkContextdOptions } from './contextd-options.ts'
import type { ContextdOptions, ContextdSettings } from './contextd-options.ts'
import { TakingTurns } from './contextd-turns.ts'
import type { Decided } from '../commits/decide.ts'
import { EngineNode } from '../engine/engine-node.ts'
import type { Followed } from '../engine/feeds.ts'
import type { Step } from '../reads/history.ts'
import { copyJson, frozen, takeKeys } from '../json-copy.ts'
import { serverAuthor } from '../commits/known-context.ts'
import { checkMs, wholeOf } from '../options.ts'
import { errorOf } from '../commits/write-error.ts'
import { checkOptions } from '../check-options.ts'

export type { ContextdOptions } from './contextd-options.ts'

/** How long a lease lasts, and how long is waited for one, when nothing is said. */
const defaults = { lockTimeout: 10_000, retryDelay: 100, maxRetries: 50 }
/** How long a write waits for keys that others have locked, ms. */
const patienceMs = defaults.retryDelay * defaults.maxRetries

/**
 * One context used from server code, on the same engine and keys as browsers see. Calls before `initialize()` initialise first.
 *
 *     const context = new Contextd({ contextKey: 'my_cxtd', redisHost: 'localhost' })
 *     await context.updateContext('user', { name: 'Ada' })
 */
export class Contextd<S extends object = JsonObject> {
  readonly #settings: ContextdSettings
  readonly #node: EngineNode
  readonly #locks = new OwnLocks()
  readonly #turns = new TakingTurns()
  #starting: Promise<Followed> | null = null
  #closing: Promise<void> | null = null

  /** @throws {TypeError} an option is malformed. */
  constructor(options: ContextdOptions) {
    this.#settings = checkContextdOptions(options)
    this.#node = new EngineNode(this.#settings.engine)
  }

  /** Connects, loads, listens. @throws {ContextdError} `backend_unavailable` – it may be called again · `closed` */
  async initialize(): Promise<void> {
    await this.#started()
  }

  /**
   * Replaces one top-level key; creates the context. Waits while another holder has the lock of the key.
   * @throws {ContextdError} `locked` – another holder kept the key's lock, or this instance lost it · `invalid_operation` – the key is never allowed · `too_large` · `backend_unavailable`
   * @throws {TypeError} the value is not JSON
   */
  async updateContext<K extends keyof S & string>(key: K, value: S[K]): Promise<void> {
    if (typeof key !== 'string') throw new TypeError('updateContext takes the name of a key, a string, and its value')
    await this.#write(Object.defineProperty({}, key, { value, enumerable: true }))
  }

  /** Replaces several top-level keys in one commit. @throws {ContextdError} as `updateContext` */
  async transactionalUpdate(values: Partial<S>): Promise<void> {
    await this.#write(values)
  }

  /** The local copy, kept fresh: no round trip. It is the caller's own; of an absent context `{}`. */
  async getContext(): Promise<S> {
    const { at } = await this.#started()
    return copyJson(at?.state ?? {}) as S
  }

  /**
   * Takes the lock of a key; false: it stayed with another holder, or its lease was over before this process came to it. Times in ms. Each call
   * is a hold of its own, that one `releaseLock` ends: one that this instance has already is waited for like any other. Its holder's writes to
   * the key pass, until the lease is over. The local copy has what was written before it was taken.
   * The instance is the holder, not the caller: one who begins a write after the lease is over, while another caller has the lock, writes under
   * that hold. Where callers may be so slow, give each an instance.
   * @throws {ContextdError} `backend_unavailable` – it is not held then
   */
  async acquireLock(options: {
    key: string
    /** Length of the lease. Default 10,000. */
    lockTimeout?: number
    /** Default 100. */
    retryDelay?: number
    /** Default 50. */
    maxRetries?: number
  }): Promise<boolean> {
    checkOptions('acquireLock', options, ['key', 'lockTimeout', 'retryDelay', 'maxRetries'])
    const { key, lockTimeout, retryDelay, maxRetries } = options
    const checked = {
      ttlMs: checkMs('lockTimeout', lockTimeout, 1) ?? defaults.lockTimeout,
      retryDelayMs: checkMs('retryDelay', retryDelay, 0) ?? defaults.retryDelay,
      maxRetries: wholeOf('maxRetries', maxRetries, 0) ?? defaults.maxRetries,
    }
    const followed = await this.#started()
    try {
      for (let tries = 0; tries <= checked.maxRetries; tries += 1) {
        const handle = await this.#node.locks.take(this.#settings.contextKey, key, serverAuthor, checked)
        // What the holder before has written may not have been told here yet.
        const read = await followed.catchUp()
        if (read && handle.held) {
          this.#locks.add(handle)
          return true
        }
        await handle.release().catch(() => {})
        if (!read) throw this.#unreadable()
      }
      return false
    } catch (error) {
      if (isContextdError(error, 'locked')) return false
      throw error
    }
  }

  /** Gives the lock of a key back; does nothing when not held. @throws {ContextdError} `backend_unavailable` – its lease ends it then */
  async releaseLock(options: { key: string }): Promise<void> {
    checkOptions('releaseLock', options, ['key'])
    await this.#locks.remove(options.key)?.release()
  }

  /** Calls for each commit, of other processes too; returns the function that ends it. The state is frozen: copy it to change it. */
  on(event: 'update', listener: (state: S, delta: Delta<VerboseDelta>) => void): () => void
  /** Calls when the context is deleted. */
  on(event: 'delete', listener: () => void): () => void
  on(event: 'update' | 'delete', listener: ((state: S, delta: Delta<VerboseDelta>) => void) | (() => void)): () => void {
    if (event !== 'update' && event !== 'delete') throw new TypeError("on takes the event 'update' or 'delete'")
    if (typeof listener !== 'function') throw new TypeError('on takes a function')
    if (this.#closing !== null) throw closed()
    const { end } = this.#node.follow(this.#settings.contextKey, {
      step: (step) => (event === 'update' ? listener(frozen(step.after) as S, verbose(step)) : undefined),
      gone: () => (event === 'delete' ? (listener as () => void)() : undefined),
    })
    // Whoever calls next is told why it failed, and tries again.
    this.initialize().catch(() => {})
    return end
  }

  /** Releases locks and disconnects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#turns.stop()
    const followed = await this.#starting?.catch(() => null)
    followed?.end()
    await this.#node.close()
  }

  #started(): Promise<Followed> {
    if (this.#closing !== null) return Promise.reject(closed())
    this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = null
      throw error
    })
    return this.#starting
  }

  async #start(): Promise<Followed> {
    const { contextKey } = this.#settings
    // Opens the store, and tells why it cannot be read.
    await this.#node.using(contextKey, (live) => live.fresh())
    const followed = this.#node.follow(contextKey, { step: () => {}, gone: () => {} })
    if (await followed.reach(null)) return followed
    followed.end()
    throw this.#unreadable()
  }

  #unreadable(): ContextdError {
    const { contextKey } = this.#settings
    return new ContextdError('backend_unavailable', `${contextKey} could not be read. Try again.`, { contextId: contextKey })
  }

  async #write(values: unknown): Promise<void> {
    const operations = takeKeys(values, this.#node.limits)
    const followed = await this.#started()
    const keys = operations.map(({ path: [key] }) => key)
    if (keys.length === 0) return
    const decided = await this.#turns.run(keys, patienceMs, defaults.retryDelay, () => this.#attempt(operations, keys))
    // What was written here is in the local copy from now on.
    await followed.reach(decided.after.head)
  }

  /** Commits, unless the lock of a key is not as it must be; null: it is to be tried again. */
  async #attempt(operations: readonly Operation[], keys: readonly string[]): Promise<Decided<unknown> | { readonly locked: unknown }> {
    if (this.#closing !== null) throw closed()
    for (;;) {
      const holds = this.#locks.of(keys)
      try {
        return await this.#commit(operations, demandsOf(keys, holds))
      } catch (error) {
        if (!isContextdError(error, 'locked')) throw error
        const why = this.#locks.refused(holds, error.details['key'])
        if (why === 'others') return { locked: error }
        if (why === 'lost') throw lostOwn(this.#settings.contextKey, error)
      }
    }
  }

  #commit(operations: readonly Operation[], locks: readonly LockDemand[]): Promise<Decided<unknown>> {
    const { contextKey } = this.#settings
    return new Promise((resolve, reject) => {
      this.#node.submit(contextKey, {
        operations,
        remove: false,
        initial: {},
        source: '',
        stream: null,
        author: serverAuthor,
        incarnation: null,
        size: 0,
        locks,
        user: null,
        reply: (answer) => {
          if (answer.type !== 'verdict' || answer.decided === null || answer.decided.error !== undefined) {
            reject(errorOf(contextKey, answer))
            return
          }
          if (answer.decided.revision !== null) this.#publish(answer.decided)
          resolve(answer.decided)
        },
      })
    })
  }

  /** Sent at once, in the order of the commits; nobody waits for it. */
  #publish({ after: { head } }: Decided<unknown>): void {
    const { contextKey, publish, engine } = this.#settings
    if (publish === null) return
    const message = JSON.stringify({ contextKey, version: head.version, revision: head.revision })
    publish(message).catch((error: unknown) => {
      engine.logger.warn({ contextId: contextKey, error }, 'a commit could not be published on pubsubChannel')
    })
  }
}

function verbose({ delta, before, after }: Step): Delta<VerboseDelta> {
  return { ...delta, author: { ...delta.author }, changes: formats.verbose(delta, { before: frozen(before), after: frozen(after) }) }
}

const lostOwn = (contextId: string, cause: ContextdError<'locked'>): ContextdError =>
  new ContextdError(
    'locked',
    `The lock of ${String(cause.details['key'])} was lost before the write: its lease is over. Release it, take it again, and repeat what it was for.`,
    { contextId, details: cause.details, cause },
  )

const closed = (): ContextdError => new ContextdError('closed', 'This Contextd is closed. Create a new one.')
