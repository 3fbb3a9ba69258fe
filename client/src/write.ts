import type { ContextdError } from '@contextd/protocol'

/** What a write came to. */
export interface Committed<R = void> {
  version: number
  revision: string
  /** What the transaction returned. */
  result: R
  /** True when others' commits came in between. */
  rebased: boolean
}
/**
 * A write: shown at once, settled on the server's verdict (offline it stays open: await it for "saved", not for "shown").
 * Rejects with a final `ContextdError`; a refusal also reaches `onError` once, and is never an unhandled rejection.
 */
export interface Write<R = void> extends Promise<Committed<R>> {
  readonly id: string
}

/** A write with what settles it. */
export interface OpenWrite<R = unknown> {
  readonly write: Write<R>
  resolve(committed: Committed<R>): void
  reject(error: ContextdError): void
}

/** Makes a write that is not settled yet. */
export function openWrite<R>(id: string): OpenWrite<R> {
  let resolve!: (committed: Committed<R>) => void
  let reject!: (error: ContextdError) => void
  const promise = new Promise<Committed<R>>((yes, no) => {
    resolve = yes
    reject = no
  })
  // Who does not wait for a write is told of its refusal by `onError`.
  promise.catch(() => {})
  return { write: Object.assign(promise, { id }), resolve, reject }
}
