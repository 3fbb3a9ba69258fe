import { ContextdError, isContextId } from '@contextd/protocol'
import type { Author, LockToken } from '@contextd/protocol'
import type { ContextBackend, HeldLock } from '../backends/backend.ts'
import type { Clock } from '../clock.ts'
import { LockHandle } from './lock-handle.ts'
import type { LockOptions } from './lock-handle.ts'
import { Hold } from './lock-hold.ts'
import { checkMs, wholeOf } from '../options.ts'

/** What the locks of a node work with. */
export interface NodeLocksOptions {
  readonly backend: ContextBackend
  readonly clock: Clock
  /** Longest key; 0: any. */
  readonly idBytes: number
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
}

const defaults = { ttlMs: 10_000, retryDelayMs: 100, maxRetries: 50 }

/** The key of a lock. @throws {ContextdError} `invalid_operation` – it is none */
export function checkLockKey(key: unknown, idBytes: number): string {
  if (isContextId(key, idBytes)) return key
  const most = idBytes > 0 ? `1 to ${idBytes}` : 'one or more'
  const shown = typeof key === 'string' ? JSON.stringify(key.slice(0, 40)) : `A value of type ${typeof key}`
  throw new ContextdError(
    'invalid_operation',
    `${shown} is not the key of a lock: ${most} of A-Z a-z 0-9 . _ : - @ + ~, the first a letter or a digit.`,
  )
}

/** The locks that this process holds, or waits for. */
export class NodeLocks {
  readonly #options: NodeLocksOptions
  readonly #held = new Map<string, Set<LockHandle>>()
  readonly #taking = new Set<Promise<unknown>>()
  /** Wakes those who wait. */
  readonly #wake = new Set<() => void>()
  /** How often a lock was taken here, and was held by another all the time. */
  readonly counts = { taken: 0, locked: 0 }
  #closed = false

  constructor(options: NodeLocksOptions) {
    this.#options = options
  }

  /** How many locks are held here. */
  get held(): number {
    let held = 0
    for (const handles of this.#held.values()) held += handles.size
    return held
  }

  /**
   * Takes a lock, waiting for it at most `maxRetries` × `retryDelayMs`.
   * @throws {ContextdError} `locked` – held by another · `aborted` – by `signal` · `invalid_operation` – the key is none · `backend_unavailable` · `closed`
   * @throws {TypeError} an option is malformed
   */
  take(contextId: string, key: unknown, holder: Author, options: LockOptions): Promise<LockHandle> {
    const lockKey = checkLockKey(key, this.#options.idBytes)
    const checked = checkLockOptions(options)
    const taking = this.#take(contextId, lockKey, holder, checked, options.signal).finally(() => this.#taking.delete(taking))
    this.#taking.add(taking)
    return taking
  }

  /** A commit that carried it was refused: whoever holds it hears of that. */
  lost(contextId: string, { key, token }: LockToken): void {
    for (const handle of this.#held.get(nameOf(contextId, key)) ?? []) if (handle.token === token) handle.lose()
  }

  /** Ends the waiting, and takes no more. */
  stop(): void {
    this.#closed = true
    for (const wake of this.#wake) wake()
  }

  /** Gives back all that is held; what is given back too late is ended by its lease. */
  async releaseAll(): Promise<void> {
    this.stop()
    await Promise.allSettled(this.#taking)
    const handles = [...this.#held.values()].flatMap((all) => [...all])
    await Promise.allSettled(handles.map((handle) => handle.giveUp(closed())))
  }

  async #take(
    contextId: string,
    key: string,
    holder: Author,
    { ttlMs, retryDelayMs, maxRetries }: typeof defaults,
    signal: AbortSignal | undefined,
  ): Promise<LockHandle> {
    const { backend, clock, open } = this.#options
    const goesOn = (): void => {
      if (signal?.aborted)
        throw new ContextdError('aborted', `The lock of ${key} is no longer wanted.`, { contextId, cause: signal.reason })
      if (this.#closed) throw closed()
    }
    goesOn()
    await open()
    const hold = new Hold({ backend, clock, contextId, key, holder })
    for (let retries = 0; ; retries += 1) {
      goesOn()
      const result = await this.#ask(hold, ttlMs)
      if (result.type === 'held') {
        try {
          goesOn()
        } catch (error) {
          await hold.end().catch(() => {})
          throw error
        }
        return this.#keep(contextId, key, hold, ttlMs)
      }
      if (retries >= maxRetries) {
        this.counts.locked += 1
        throw heldByAnother(contextId, key, result.by)
      }
      await this.#pause(retryDelayMs, signal)
    }
  }

  /** A hold of which nothing is known is given back, as far as the store hears of it. */
  async #ask(hold: Hold, ttlMs: number): ReturnType<Hold['ask']> {
    try {
      return await hold.ask(ttlMs, false)
    } catch (error) {
      hold.end().catch(() => {})
      throw error
    }
  }

  #keep(contextId: string, key: string, hold: Hold, ttlMs: number): LockHandle {
    this.counts.taken += 1
    const name = nameOf(contextId, key)
    const handle = new LockHandle(contextId, key, hold, ttlMs, (ended) => {
      const held = this.#held.get(name)
      held?.delete(ended)
      if (held?.size === 0) this.#held.delete(name)
    })
    const held = this.#held.get(name) ?? new Set()
    this.#held.set(name, held.add(handle))
    return handle
  }

  #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        this.#wake.delete(end)
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal?.addEventListener('abort', end)
      this.#wake.add(end)
    })
  }
}

const nameOf = (contextId: string, key: string): string => `${contextId} ${key}`

function checkLockOptions({ ttlMs, retryDelayMs, maxRetries, signal }: LockOptions): typeof defaults {
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw new TypeError('signal must be an AbortSignal')
  return {
    ttlMs: checkMs('ttlMs', ttlMs, 1) ?? defaults.ttlMs,
    retryDelayMs: checkMs('retryDelayMs', retryDelayMs, 0) ?? defaults.retryDelayMs,
    maxRetries: wholeOf('maxRetries', maxRetries, 0) ?? defaults.maxRetries,
  }
}

const heldByAnother = (contextId: string, key: string, by: HeldLock | null): ContextdError =>
  new ContextdError('locked', `The lock of ${key} is held by another. Try again later.`, {
    contextId,
    details: { key, ...(by && { holder: { ...by.holder }, since: by.since }) },
  })

const closed = (): ContextdError => new ContextdError('closed', 'The contexts are closed. Create new ones with createContexts().')
