import type { StoreCopy } from '../store-model.ts'
import type { ContextNote } from './stored-object.ts'

/** A context's object as it was read or written. */
export interface HeldObject {
  /** Null: there is none. */
  readonly etag: string | null
  readonly copy: StoreCopy
  /** Random, of the write that made it; '' when there is none. */
  readonly write: string
  /** Length of its text. */
  readonly size: number
}

/** What an object counts at least: its maps and its name. */
const leastSize = 500

/** Objects as they were last known, the least used ones forgotten when they are too large together. */
export class ObjectCache {
  readonly #most: number
  readonly #held = new Map<string, HeldObject>()
  #size = 0

  /** `most`: length of all texts, UTF-16 units. */
  constructor(most: number) {
    this.#most = most
  }

  /** The object as last known: another process may have written since. */
  get(contextId: string): HeldObject | null {
    const held = this.#held.get(contextId)
    if (held === undefined) return null
    this.#held.delete(contextId)
    this.#held.set(contextId, held)
    return held
  }

  set(contextId: string, held: HeldObject): void {
    this.delete(contextId)
    this.#held.set(contextId, held)
    this.#size += held.size + leastSize
    for (const oldest of this.#held.keys()) {
      if (this.#size <= this.#most) break
      this.delete(oldest)
    }
  }

  delete(contextId: string): void {
    const held = this.#held.get(contextId)
    if (held === undefined || !this.#held.delete(contextId)) return
    this.#size -= held.size + leastSize
  }
}

/** Notes of contexts by the etag that they were read under, so that a list reads only what has changed since the last one. */
export class NoteCache {
  readonly #most: number
  readonly #notes = new Map<string, { readonly etag: string; readonly note: ContextNote }>()

  /** `most`: number of notes. */
  constructor(most: number) {
    this.#most = most
  }

  /** The note of an object with this etag; null: not known. */
  get(contextId: string, etag: string): ContextNote | null {
    const known = this.#notes.get(contextId)
    return known?.etag === etag ? known.note : null
  }

  set(contextId: string, etag: string, note: ContextNote): void {
    this.#notes.delete(contextId)
    this.#notes.set(contextId, { etag, note })
    const [oldest] = this.#notes.keys()
    if (this.#notes.size > this.#most && oldest !== undefined) this.#notes.delete(oldest)
  }
}
