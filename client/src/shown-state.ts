import { applyOperations, equal, isContextdError, shareIdentity } from '@contextd/protocol'
import type { Change, JsonObject, Operation } from '@contextd/protocol'
import type { Entry, Outbox } from './outbox.ts'

/** A state on the way from the confirmed one to the shown one. */
export interface Shown {
  /** Null: the context is absent. */
  readonly state: JsonObject | null
  /** Life of the context; `''`: absent; null: one that a pending commit is to create. */
  readonly incarnation: string | null
}

const nowhere: Shown = { state: null, incarnation: '' }

/** The confirmed state with the pending commits on top of it, rebased when one of them has changed. */
export class ShownState {
  readonly #outbox: Outbox
  readonly #itemKey: string
  #confirmed: Shown = nowhere
  #tip: Shown = nowhere
  #dirty = false
  /** The tip has pending commits in it. */
  #overlaid = false

  constructor(outbox: Outbox, itemKey: string) {
    this.#outbox = outbox
    this.#itemKey = itemKey
  }

  get confirmed(): Shown {
    return this.#confirmed
  }

  /** Takes a new confirmed state. */
  confirm(confirmed: Shown): void {
    this.#confirmed = confirmed
    this.#dirty = true
  }

  /** Says that pending commits have changed. */
  touch(): void {
    this.#dirty = true
  }

  /** Shows one more commit. @throws {ContextdError} it does not apply */
  push(entry: Entry): void {
    this.#tip = this.#play(entry, this.tip)
    this.#overlaid = true
  }

  /** Gives the newest commit, which is shown, other operations. @throws {ContextdError} they do not apply */
  amend(entry: Entry, operations: readonly Operation[]): void {
    const { base: state, baseIncarnation: incarnation } = entry
    this.#tip = this.#play(Object.assign(entry, { operations }), { state, incarnation })
  }

  /** What is shown. A commit that does not apply any more is left out; parts that did not change are the same objects as before. */
  get tip(): Shown {
    if (!this.#dirty) return this.#tip
    this.#dirty = false
    const was = this.#tip.state
    let tip = this.#confirmed
    for (const entry of this.#outbox.entries) tip = this.#replay(entry, tip)
    const overlaid = this.#outbox.size > 0
    const { state, incarnation } = tip
    if (state !== null && was !== null && state !== was && (overlaid || this.#overlaid)) {
      tip = { state: shareIdentity(was, state, { itemKey: this.#itemKey }), incarnation }
      this.#replace(state, tip.state!)
    }
    this.#overlaid = overlaid
    this.#tip = tip
    return tip
  }

  #play(entry: Entry, { state, incarnation }: Shown): Shown {
    if (entry.remove) return nowhere
    const { state: after, changes } = applyOperations(state ?? entry.initial, entry.operations, { itemKey: this.#itemKey })
    entry.base = state
    entry.baseIncarnation = incarnation
    entry.after = after
    entry.changes = changes
    return { state: after, incarnation: state === null ? createdBy(entry) : incarnation }
  }

  #replay(entry: Entry, shown: Shown): Shown {
    if (entry.id === null) return shown
    const { state, incarnation } = shown
    // P12: what was written on another life of the context is never applied to this one.
    if (entry.incarnation && incarnation !== null && entry.incarnation !== incarnation) return leaveOut(entry, shown)
    if (entry.after !== null && entry.base === state && entry.baseIncarnation === incarnation) {
      return { state: entry.after, incarnation: state === null ? createdBy(entry) : incarnation }
    }
    try {
      return this.#play(entry, shown)
    } catch (error) {
      if (!isContextdError(error)) throw error
      return leaveOut(entry, shown)
    }
  }

  /** Puts one state in the place of an equal one, so that what was computed from it is found again. */
  #replace(state: JsonObject, by: JsonObject): void {
    if (state === by) return
    if (this.#confirmed.state === state) this.#confirmed = { ...this.#confirmed, state: by }
    for (const entry of this.#outbox.entries) {
      if (entry.base === state) entry.base = by
      if (entry.after === state) entry.after = by
    }
  }
}

/** Whether a commit did to this state exactly what is confirmed now: its result then is the very object that is shown. */
export function didExactly(entry: Entry, state: JsonObject | null, changes: readonly Change[]): entry is Entry & { after: JsonObject } {
  if (state === null || entry.base !== state || entry.after === null || entry.changes.length !== changes.length) return false
  return changes.every(({ path, action, value }, index) => {
    const own = entry.changes[index]!
    return own.action === action && equal(own.path as never, path as never) && equal(own.value, value)
  })
}

const createdBy = ({ told }: Entry): string | null => (told?.type === 'applied' && told.head?.incarnation) || null

function leaveOut(entry: Entry, shown: Shown): Shown {
  entry.base = null
  entry.after = null
  return shown
}
