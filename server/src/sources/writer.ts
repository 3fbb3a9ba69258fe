import { setTimeout as pause } from 'node:timers/promises'
import { ContextdError, isContextdError } from '@contextd/protocol'
import type { EngineNode } from '../engine/engine-node.ts'
import { serverAuthor } from '../commits/known-context.ts'
import { Hold } from '../locks/lock-hold.ts'

/** Lock on the context of a source: whoever holds it writes. No key of a user's begins so. */
export const writerKey = '~source'
/** Longest pause until a node that has begun to lead asks again whether the one before is gone, ms. */
const takeOverMs = 500

/**
 * The lock under which a node writes a source. It is held from one fetch to the next, so that no other node's comes between; each hold has a
 * higher token than the one before, of whichever node.
 */
export class Writer {
  readonly #node: EngineNode
  readonly #contextId: string
  #hold: Hold | null = null
  #acquiring: Promise<number> | null = null
  #renewal: NodeJS.Timeout | null = null

  constructor(node: EngineNode, contextId: string) {
    this.#node = node
    this.#contextId = contextId
  }

  /**
   * Holds the lock for a whole lease from now on, and waits for who holds it still.
   * @returns its token
   * @throws {ContextdError} `backend_unavailable` · the reason of the signal
   */
  acquire(signal: AbortSignal): Promise<number> {
    this.#acquiring = this.#acquire(signal)
    return this.#acquiring
  }

  /** Makes sure of it, for a whole lease. @throws {ContextdError} `locked` – it was lost · `backend_unavailable` */
  async confirm(): Promise<void> {
    const result = await this.#hold?.ask(this.#node.leaseMs, true)
    if (result?.type !== 'held') throw this.lost()
  }

  /** The error of a writer that has lost its lock: it takes another one. */
  lost(): ContextdError {
    this.#hold = null
    return new LostLock('locked', 'Another node has written this source meanwhile, or this one was held up for longer than leaseMs.', {
      contextId: this.#contextId,
    })
  }

  /** Gives it back, also when it is just being acquired: the signal must have ended that. */
  async end(): Promise<void> {
    if (this.#renewal !== null) clearInterval(this.#renewal)
    await this.#acquiring?.catch(() => {})
    // Its lease ends it where the store does not answer.
    await this.#hold?.end().catch(() => {})
  }

  async #acquire(signal: AbortSignal): Promise<number> {
    await this.#node.open()
    for (;;) {
      signal.throwIfAborted()
      const held = this.#hold !== null && this.#hold.remainingMs > 0 ? this.#hold : null
      const hold = held ?? this.#newHold()
      const result = await hold.ask(this.#node.leaseMs, held !== null).catch((error: unknown) => {
        // It may be held all the same.
        if (held === null) hold.end().catch(() => {})
        throw error
      })
      this.#hold = result.type === 'held' ? hold : null
      signal.throwIfAborted()
      if (result.type === 'held') break
      const leftMs = result.by?.remainingMs ?? 0
      if (held === null) await pause(Math.min(takeOverMs, leftMs + 1), undefined, { ref: false, signal })
    }
    this.#renewal ??= setInterval(() => void this.#renew(), Math.ceil(this.#node.leaseMs / 3)).unref()
    return this.#hold!.token
  }

  #newHold(): Hold {
    const { backend, clock } = this.#node
    return new Hold({ backend, clock, contextId: this.#contextId, key: writerKey, holder: serverAuthor })
  }

  async #renew(): Promise<void> {
    const hold = this.#hold
    if (hold === null || hold.remainingMs === 0) return
    // What it comes to shows when something is written.
    await hold.ask(this.#node.leaseMs, true).catch(() => {})
  }
}

class LostLock extends ContextdError {}

/** Whether an error says that the lock of the writer was lost. */
export const isLost = (error: unknown): boolean => error instanceof LostLock

/** Whether a refusal of the store says so. */
export const isLockRefusal = (error: unknown): boolean => isContextdError(error, 'locked') && error.details['key'] === writerKey
