import { setTimeout as delay } from 'node:timers/promises'
import { randomToken } from '@contextd/protocol'
import { StoreModel } from '../store-model.ts'
import type { StoreCopy } from '../store-model.ts'
import type { Bucket, Written } from './bucket.ts'
import { S3Failure, contended, damaged, unavailable, unknownOutcome } from './errors.ts'
import type { ListedObject, Listing } from './listing.ts'
import type { Names } from './names.ts'
import { NoteCache, ObjectCache } from './object-cache.ts'
import type { HeldObject } from './object-cache.ts'
import { decodeNote, decodeObject, emptyCopy, encodeNote, encodeObject, isSameCopy, noteOf } from './stored-object.ts'
import type { ContextNote } from './stored-object.ts'

/** What only tests set. */
export interface S3Timing {
  /** How long one request may take, ms. */
  readonly requestMs: number
  /** How long a call tries again, ms. */
  readonly patienceMs: number
  /** Longest pause before it does, ms; the first is far shorter, and all are random. */
  readonly pauseMs: number
  /** Time in which the head of each open context is read, ms. */
  readonly beaconMs: number
  /** Length of the objects that are kept in memory, UTF-16 units. */
  readonly cacheSize: number
}
export const defaultTiming: S3Timing = {
  requestMs: 10_000,
  patienceMs: 15_000,
  pauseMs: 2_000,
  beaconMs: 15_000,
  cacheSize: 64 * 1_048_576,
}

/** Most notes that are kept in memory. */
const notesKept = 50_000
const tokenLength = 12

/** A context's object, of a listing. */
export interface ListedContextObject extends ListedObject {
  readonly contextId: string
}

/** A call that may change a context. */
export interface Change<T> {
  /** The call, on a store model that holds the context alone. It may be made several times, each time on the context as it is then. */
  readonly run: (model: StoreModel) => T
  /** Whether this answer could as well be the outcome of our own earlier attempt, of which nothing was heard. Default: none could. */
  readonly isDoubtful?: (answer: T) => boolean
}
/** A call that waits for its turn. */
interface Waiting {
  readonly change: Change<unknown>
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: unknown) => void
}
/** What came of one call on the model. */
type Outcome = { readonly answer: unknown } | { readonly error: unknown }
/** A write that was sent. */
interface Attempt {
  readonly outcomes: readonly Outcome[]
  readonly copy: StoreCopy
  readonly text: string
  readonly write: string
}

/**
 * Contexts as objects: each is one cell of the store model. A call runs on the model and what it leaves is written on the condition that the
 * object is still the one it began with; else it runs again on the newer one.
 */
export class ContextObjects {
  readonly #bucket: Bucket
  readonly #names: Names
  readonly #timing: S3Timing
  readonly #cache: ObjectCache
  readonly #notes = new NoteCache(notesKept)
  /** Calls that wait, for each context that a write is under way for. */
  readonly #waiting = new Map<string, Waiting[]>()
  readonly #busy = new Set<Promise<void>>()

  constructor(bucket: Bucket, names: Names, timing: S3Timing) {
    this.#bucket = bucket
    this.#names = names
    this.#timing = timing
    this.#cache = new ObjectCache(timing.cacheSize)
  }

  /** Reads a context as it is now: one request, without the object itself when it has not changed since. */
  async read(contextId: string): Promise<StoreCopy> {
    return (await this.#fresh(contextId, this.#deadline())).copy
  }

  /** The note of a context as it is now: one request. */
  async look(contextId: string): Promise<ContextNote> {
    if (this.#cache.get(contextId) !== null) return noteOf(await this.read(contextId))
    const name = this.#names.context(contextId)
    const facts = await this.#retry(() => this.#bucket.look(name), this.#deadline())
    if (facts === null) return noteOf(emptyCopy(contextId))
    const note = decodeNote(contextId, facts.note) ?? noteOf(await this.read(contextId))
    this.#notes.set(contextId, facts.etag, note)
    return note
  }

  /** The note of a context whose object is known to have this etag: one request, or none when it was read before. */
  async lookAt(contextId: string, etag: string): Promise<ContextNote> {
    return this.#notes.get(contextId, etag) ?? (await this.look(contextId))
  }

  /** Objects of contexts whose ids begin with `prefix`, by name, a page at a time: one request for each. */
  async *list(prefix: string, pageSize: () => number): AsyncGenerator<readonly ListedContextObject[]> {
    const beginning = this.#names.beginning(prefix)
    let token: string | null = null
    do {
      const from: string | null = token
      const page: Listing = await this.#retry(() => this.#bucket.list(beginning, from, pageSize()), this.#deadline())
      yield page.objects.flatMap((object) => {
        const contextId = this.#names.contextId(object.name)
        return contextId === null ? [] : { ...object, contextId }
      })
      token = page.next
    } while (token !== null)
  }

  /** Makes a call that may change a context. Those that come while a write is under way share the next one. */
  change<T>(contextId: string, change: Change<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = { change: change as Change<unknown>, resolve: resolve as Waiting['resolve'], reject }
      const others = this.#waiting.get(contextId)
      if (others !== undefined) {
        others.push(waiting)
        return
      }
      this.#waiting.set(contextId, [waiting])
      const work = this.#work(contextId)
      this.#busy.add(work)
      void work.finally(() => this.#busy.delete(work))
    })
  }

  /** Removes a context's object, if `isOver` says so of what is in it. The store must look at the condition. */
  async remove(contextId: string, isOver: (model: StoreModel) => boolean): Promise<boolean> {
    const { etag, copy } = await this.#fresh(contextId, this.#deadline())
    const model = new StoreModel()
    model.putBack(copy)
    if (etag === null || !isOver(model)) return false
    this.#cache.delete(contextId)
    const name = this.#names.context(contextId)
    return (await this.#retry(() => this.#bucket.remove(name, etag), this.#deadline())) === 'removed'
  }

  /** Resolves when no write is under way. */
  async drain(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy)
  }

  async #work(contextId: string): Promise<void> {
    for (;;) {
      const calls = this.#waiting.get(contextId)!
      if (calls.length === 0) break
      this.#waiting.set(contextId, [])
      try {
        const outcomes = await this.#settle(contextId, calls)
        for (const [index, { resolve, reject }] of calls.entries()) {
          const outcome = outcomes[index]!
          if ('error' in outcome) reject(outcome.error)
          else resolve(outcome.answer)
        }
      } catch (error) {
        for (const { reject } of calls) reject(error)
      }
    }
    this.#waiting.delete(contextId)
  }

  /** Makes calls on a context, in their order, and stores what they leave in one write. */
  async #settle(contextId: string, calls: readonly Waiting[]): Promise<readonly Outcome[]> {
    const deadline = this.#deadline()
    const lost: Attempt[] = []
    // What is in memory may be old: the write finds out. An answer without a write is only given on what was just read.
    let held = this.#cache.get(contextId)
    let isFresh = false
    for (let round = 0; ; round += 1) {
      if (held === null) {
        held = await this.#freshOr(contextId, deadline, lost)
        isFresh = true
      }
      const { write, copy: before } = held
      const known = lost.find((attempt) => attempt.write === write)
      if (known) return known.outcomes
      const { outcomes, copy } = runAll(before, calls)
      if (!isSameCopy(copy, before)) {
        if (round > 0 && performance.now() >= deadline) throw lost.length > 0 ? unknownOutcome() : contended()
        const written = await this.#write(contextId, held, attemptOf(outcomes, copy), deadline, lost)
        if (written.type === 'written') return outcomes
        await delay(this.#pause(round))
      } else if (isFresh) return lost.length > 0 ? withoutDoubt(outcomes, calls) : outcomes
      held = null
    }
  }

  /** Reads a context in the middle of a change: that it cannot be read does not say that nothing was written. */
  async #freshOr(contextId: string, deadline: number, lost: readonly Attempt[]): Promise<HeldObject> {
    try {
      return await this.#fresh(contextId, deadline, true)
    } catch (error) {
      throw lost.length > 0 ? unknownOutcome() : error
    }
  }

  /** Sends one write until something is heard of it: the same text on the same condition, so that it is done once at most. */
  async #write(contextId: string, base: HeldObject, attempt: Attempt, deadline: number, lost: Attempt[]): Promise<Written> {
    const name = this.#names.context(contextId)
    const note = noteOf(attempt.copy)
    for (let tries = 0; ; tries += 1) {
      try {
        const written = await this.#bucket.write(name, base.etag, attempt.text, encodeNote(note))
        if (written.type === 'written') this.#hold(contextId, { ...attempt, etag: written.etag, size: attempt.text.length })
        return written
      } catch (error) {
        if (!(error instanceof S3Failure)) throw error
        if (error.kind === 'lost' && !lost.includes(attempt)) lost.push(attempt)
        if (error.kind === 'refused' || performance.now() >= deadline) throw lost.length > 0 ? unknownOutcome() : unavailable(error, true)
      }
      await delay(this.#pause(tries))
    }
  }

  async #fresh(contextId: string, deadline: number, writes = false): Promise<HeldObject> {
    const name = this.#names.context(contextId)
    const known = this.#cache.get(contextId)
    const read = await this.#retry(() => this.#bucket.read(name, known?.etag ?? null), deadline, writes)
    if (read === 'same') return known!
    if (read === null && known?.etag === null) return known
    const held = read === null ? { etag: null, copy: emptyCopy(contextId), write: '', size: 0 } : this.#decode(contextId, read)
    // Not over what was written or read meanwhile, which may be newer.
    if (this.#cache.get(contextId) === known) this.#hold(contextId, held)
    return held
  }

  #decode(contextId: string, { etag, body }: { readonly etag: string; readonly body: string }): HeldObject {
    const decoded = decodeObject(contextId, body)
    if (decoded === null) throw damaged(contextId)
    return { etag, ...decoded, size: body.length }
  }

  #hold(contextId: string, held: HeldObject): void {
    const { etag, copy, write, size } = held
    this.#cache.set(contextId, { etag, copy, write, size })
    if (etag !== null) this.#notes.set(contextId, etag, noteOf(copy))
  }

  /** Makes a request that may be made twice, until it is answered. @throws {ContextdError} `backend_unavailable` */
  async #retry<T>(ask: () => Promise<T>, deadline: number, writes = false): Promise<T> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await ask()
      } catch (error) {
        if (!(error instanceof S3Failure)) throw error
        if (error.kind === 'refused' || performance.now() >= deadline) throw unavailable(error, writes)
      }
      await delay(this.#pause(tries))
    }
  }

  #deadline(): number {
    return performance.now() + this.#timing.patienceMs
  }

  /** Random, so that processes that were refused together do not come back together, ms. */
  #pause(tries: number): number {
    return Math.random() * Math.min(this.#timing.pauseMs, 10 * 2 ** Math.min(tries, 10))
  }
}

function runAll(before: StoreCopy, calls: readonly Waiting[]): { readonly outcomes: readonly Outcome[]; readonly copy: StoreCopy } {
  const model = new StoreModel()
  model.putBack(before)
  let copy = before
  const outcomes = calls.map(({ change }): Outcome => {
    try {
      const answer = change.run(model)
      copy = model.copy(before.contextId)
      return { answer }
    } catch (error) {
      // It leaves nothing half done to the others.
      model.putBack(copy)
      return { error }
    }
  })
  return { outcomes, copy }
}

function attemptOf(outcomes: readonly Outcome[], copy: StoreCopy): Attempt {
  const write = randomToken(tokenLength)
  return { outcomes, copy, text: encodeObject(copy, write), write }
}

/** Answers after an attempt of which nothing was heard: what it may have caused itself is not told as if others had. */
function withoutDoubt(outcomes: readonly Outcome[], calls: readonly Waiting[]): readonly Outcome[] {
  return outcomes.map((outcome, index) => {
    const doubtful = 'answer' in outcome && calls[index]!.change.isDoubtful?.(outcome.answer)
    return doubtful ? { error: unknownOutcome() } : outcome
  })
}
