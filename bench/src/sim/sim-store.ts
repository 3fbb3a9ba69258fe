import type { CommitBatch, CommitResult, LogEntry, StoredContext, SyncQuery, SyncResult } from 'contextd/cores'
import { StoreModel, recordGraceMs } from 'contextd/cores'
import type { Head } from '@contextd/protocol'
import type { LedgerMark } from './ledger.ts'
import type { World } from './world.ts'

/** What a node learns of its call. */
export type CallEnd<T> = { readonly type: 'done'; readonly value: T } | { readonly type: 'refused' } | { readonly type: 'unknown' }
/** Takes what becomes of a call. */
export type Done<T> = (end: CallEnd<T>) => void

/** A call of a node to the store, which a schedule may keep back. */
export interface StoreCall {
  readonly kind: 'commit' | 'sync' | 'load' | 'log' | 'heads'
  readonly nodeId: string
  /** Runs it at the store, which may happen more than once. The answer is that of the first run. */
  run(): void
  /** Gives the answer of the first run; `unknown` when it has not run. */
  answer(): void
  /** Tells the node that nothing was done. */
  refuse(): void
  /** Tells the node nothing: connection lost. */
  lose(): void
}

/** A stored moment, for a rollback. */
export interface SimDump {
  readonly contextId: string
  readonly data: ReturnType<StoreModel['copy']>
  readonly mark: LedgerMark
}

/** Where a publication goes. */
export interface Subscriber {
  readonly id: string
  publication(contextId: string, message: string): void
}

/** Longest time after which a lost call is still done, ms. */
const latest = 15_000

/** The one store: the model that the memory backend runs, behind a network that loses answers, with publications to every node. */
export class SimStore {
  readonly model = new StoreModel()
  /** A schedule's hand: true keeps the call back. */
  intercept: ((call: StoreCall) => boolean) | null = null
  readonly #world: World
  readonly #subscribers: Subscriber[] = []
  /** Time at which the last publication in order arrives, by subscriber. */
  readonly #arrivals = new Map<string, number>()

  constructor(world: World) {
    this.#world = world
  }

  subscribe(subscriber: Subscriber): void {
    this.#subscribers.push(subscriber)
  }

  commit(nodeId: string, batch: CommitBatch, done: Done<CommitResult>): void {
    this.#call('commit', nodeId, () => this.#commitNow(batch), done)
  }

  sync(nodeId: string, query: SyncQuery, done: Done<SyncResult>): void {
    this.#call('sync', nodeId, () => this.#syncNow(query), done)
  }

  load(nodeId: string, contextId: string, done: Done<StoredContext | null>): void {
    this.#call('load', nodeId, () => this.model.load(contextId), done)
  }

  log(nodeId: string, contextId: string, done: Done<readonly LogEntry[]>): void {
    this.#call('log', nodeId, () => this.model.log(contextId, 0), done)
  }

  heads(nodeId: string, contextIds: readonly string[], done: Done<readonly Head[]>): void {
    this.#call('heads', nodeId, () => this.model.heads(contextIds), done)
  }

  dump(contextId: string): SimDump {
    this.#world.note('store', 'dump', contextId)
    return { contextId, data: this.model.copy(contextId), mark: this.#world.ledger(contextId).mark() }
  }

  restore({ contextId, data, mark }: SimDump): void {
    this.#world.note('store', 'rollback', contextId, mark.head)
    this.model.putBack(data)
    this.#world.ledger(contextId).restored(mark)
    this.#noteLog(contextId)
  }

  /** Forgets records past their time, and absent contexts that have none left. */
  sweep(): void {
    this.#world.note('store', 'sweep')
    this.model.expireRecords(this.#world.now, this.#world.options.sessionTtlMs)
    for (const [contextId, ledger] of this.#world.ledgers) if (this.model.load(contextId) === null) ledger.forgotten()
  }

  #commitNow(batch: CommitBatch): CommitResult {
    const result = this.model.commit(batch)
    if (this.#world.trace.on) this.#world.note('store', 'commit', batch.base, batch.head, batch.members, result)
    if (result.type !== 'committed') return result
    for (const { stream, verdict } of batch.members) {
      if (stream) this.#world.book.decided(batch.contextId, stream, verdict)
    }
    this.#world.ledger(batch.contextId).committed(batch)
    this.#noteLog(batch.contextId)
    if (batch.message !== null) this.#publish(batch.contextId, batch.message)
    return result
  }

  #noteLog(contextId: string): void {
    const ledger = this.#world.ledger(contextId)
    ledger.trimmedTo = Math.max(ledger.trimmedTo, this.model.load(contextId)?.row.firstVersion ?? 1)
  }

  #syncNow(query: SyncQuery): SyncResult {
    this.#world.book.synced(query.contextId, query.stream)
    const result = this.model.sync(query)
    if (this.#world.trace.on) this.#world.note('store', 'sync', query.head, query.stream, result)
    return result
  }

  #publish(contextId: string, message: string): void {
    const { faults, random, scheduler } = this.#world
    for (const subscriber of this.#subscribers) {
      if (random.chance(faults.publicationLost)) continue
      const deliver = (): void => subscriber.publication(contextId, message)
      const delay = this.#world.delay(faults.storeLatency)
      const inOrder = Math.max(scheduler.now + delay, this.#arrivals.get(subscriber.id) ?? 0)
      if (random.chance(faults.publicationLate)) scheduler.after(delay + random.below(3_000), deliver)
      else {
        this.#arrivals.set(subscriber.id, inOrder)
        scheduler.after(inOrder - scheduler.now, deliver)
      }
      if (random.chance(faults.publicationTwice)) scheduler.after(delay + random.below(500), deliver)
    }
  }

  #call<T>(kind: StoreCall['kind'], nodeId: string, execute: () => T, done: Done<T>): void {
    const call = this.#makeCall(kind, nodeId, execute, done)
    if (this.intercept?.(call)) return
    const { faults, random, scheduler } = this.#world
    const there = this.#world.delay(faults.storeLatency)
    const back = there + this.#world.delay(faults.storeLatency)
    if (random.chance(faults.storeRefused)) return scheduler.after(there, () => call.refuse())
    if (random.chance(faults.storeLate)) {
      const { leapt } = this.#world
      // Records are kept a day longer than sessions last; no call is under way for as long.
      const late = (): void => (this.#world.leapt - leapt < recordGraceMs ? call.run() : undefined)
      if (random.chance(0.7)) scheduler.after(random.below(latest), late)
      return scheduler.after(back + random.below(500), () => call.lose())
    }
    scheduler.after(there, () => call.run())
    const lost = random.chance(faults.storeAnswerLost)
    scheduler.after(back, () => (lost ? call.lose() : call.answer()))
  }

  #makeCall<T>(kind: StoreCall['kind'], nodeId: string, execute: () => T, done: Done<T>): StoreCall {
    let first: { value: T } | null = null
    return {
      kind,
      nodeId,
      run: () => {
        const value = execute()
        first ??= { value }
      },
      answer: () => done(first ? { type: 'done', value: first.value } : { type: 'unknown' }),
      refuse: () => done({ type: 'refused' }),
      lose: () => done({ type: 'unknown' }),
    }
  }
}
