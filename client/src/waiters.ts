import { ContextdError } from '@contextd/protocol'
import type { JsonObject, SyncReply } from '@contextd/protocol'
import type { SyncReport } from './handle-types.ts'
import { later } from './timers.ts'

interface Waiter<T> {
  resolve(value: T): void
  reject(error: ContextdError): void
}

/** Who waits for a state. */
export class ReadyWaiters {
  readonly #waiting = new Set<Waiter<JsonObject | undefined> & { readonly live: boolean }>()

  get size(): number {
    return this.#waiting.size
  }
  add(live: boolean, signal: AbortSignal | undefined): Promise<JsonObject | undefined> {
    return new Promise((resolve, reject) => {
      const waiter = { live, resolve, reject }
      this.#waiting.add(waiter)
      const abort = (): void => {
        if (this.#waiting.delete(waiter))
          reject(new ContextdError('aborted', 'The wait for a state was given up.', { cause: signal?.reason }))
      }
      if (signal?.aborted) abort()
      else signal?.addEventListener('abort', abort, { once: true })
    })
  }
  /** There is a state; `live`: it is the server's. */
  settle(live: boolean, state: JsonObject | undefined): void {
    for (const waiter of this.#waiting) {
      if (waiter.live && !live) continue
      this.#waiting.delete(waiter)
      waiter.resolve(state)
    }
  }
  fail(error: ContextdError): void {
    for (const waiter of this.#waiting) waiter.reject(error)
    this.#waiting.clear()
  }
}

/** Longest that a sync is waited for, ms. */
const syncTimeoutMs = 10_000

/** Who waits for a sync. One that was sent before they asked does not count. */
export class SyncWaiters {
  readonly #contextId: string
  readonly #waiting = new Map<Waiter<SyncReport>, number | null>()

  constructor(contextId: string) {
    this.#contextId = contextId
  }

  get size(): number {
    return this.#waiting.size
  }
  add(): Promise<SyncReport> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter<SyncReport> = {
        resolve: (report) => {
          clearTimeout(timer)
          resolve(report)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      }
      const timer = later(() => {
        if (!this.#waiting.delete(waiter)) return
        reject(
          new ContextdError('timeout', `No sync of "${this.#contextId}" in ${syncTimeoutMs} ms. It goes on by itself.`, {
            contextId: this.#contextId,
          }),
        )
      }, syncTimeoutMs)
      this.#waiting.set(waiter, null)
    })
  }
  /** A sync was sent; who waits waits for it. */
  sent(ticket: number): void {
    for (const waiter of this.#waiting.keys()) this.#waiting.set(waiter, ticket)
  }
  /** It was answered. */
  answered(ticket: number, report: () => SyncReport): void {
    for (const [waiter, awaited] of this.#waiting) {
      if (awaited !== ticket) continue
      this.#waiting.delete(waiter)
      waiter.resolve(report())
    }
  }
  fail(error: ContextdError): void {
    for (const waiter of this.#waiting.keys()) waiter.reject(error)
    this.#waiting.clear()
  }
}

/** What a sync moved. @param wasAbsent whether the context was known to be absent before */
export function reportOf(
  reply: SyncReply,
  head: { readonly version: number; readonly revision: string } | null,
  wasAbsent: boolean,
): SyncReport {
  const { answer } = reply
  const same = answer.type === 'same' || (answer.type === 'absent' && wasAbsent)
  return {
    type: same ? 'no_change' : answer.type === 'delta' ? 'delta' : 'full_context',
    version: head?.version ?? 0,
    revision: head?.revision ?? '',
    bytes: JSON.stringify(reply).length,
    deltas: answer.type === 'delta' ? answer.commits.length : 0,
  }
}
