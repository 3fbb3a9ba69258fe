import { revisionOf } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import { sameHead } from '../backends/backend.ts'

/** Where a `d` frame begins and what it leads to: its first five fields. */
export type FrameStart = readonly [
  contextId: string,
  incarnation: string,
  version: number,
  revision: string,
  batch: string,
  ...rest: unknown[],
]

/** What a room was told last: a head, or the batch of a frame, any commit of which can only be its last one when it is somebody's base or head. */
type Told = { readonly head: Head } | { readonly incarnation: string; readonly version: number; readonly batch: string }

/**
 * Remembers what the members of a room were told of a context's head, so that a beacon speaks only where something may have been missed.
 * Pure.
 */
export class ToldHead {
  /** `nothing`: nobody was told anything yet; `doubt`: not all were told the same, or something in between was missed. */
  #told: Told | 'nothing' | 'doubt' = 'nothing'

  /** A sync was answered with this head: one member knows it, the others only if it is what the room was told last. */
  synced(head: Head): void {
    this.#told = this.#told === 'nothing' || this.#is(head) ? { head } : 'doubt'
  }

  /** A frame of deltas goes to the room. A base that it was not told last means that something before it was missed. */
  delta([, incarnation, version, revision, batch]: FrameStart): void {
    // An absent context has no incarnation; the frame names the one that its first commit began.
    const base = { incarnation: version === 0 ? '' : incarnation, version, revision }
    this.#told = this.#is(base) ? { incarnation, version, batch } : 'doubt'
  }

  /** The room is told a head. */
  head(head: Head): void {
    this.#told = { head }
  }

  /** Somebody in the room may have missed something. */
  doubt(): void {
    this.#told = 'doubt'
  }

  /** The beacon: whether the room is to be told this head, unless that very head was the last thing told there. */
  shouldTell(head: Head): boolean {
    return !this.#is(head)
  }

  /** Whether the room was told this version last, or a later one. */
  covers(head: Head): boolean {
    const told = this.#told
    if (typeof told === 'string') return false
    if ('head' in told) return told.head.incarnation === head.incarnation && told.head.version >= head.version
    return told.incarnation === head.incarnation && (told.version >= head.version || this.#is(head))
  }

  #is(head: Head): boolean {
    const told = this.#told
    if (typeof told === 'string') return false
    if ('head' in told) return sameHead(told.head, head)
    const index = head.version - told.version - 1
    return told.incarnation === head.incarnation && index >= 0 && head.revision === revisionOf(told.batch, index)
  }
}
