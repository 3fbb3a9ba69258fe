import { ContextdError } from '@contextd/protocol'
import type { Head } from '@contextd/protocol'
import { isInternal } from './backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextBackend,
  ContextDump,
  HeldLock,
  ListQuery,
  ListedContext,
  LockRequest,
  LockResult,
  LogEntry,
  PrunableQuery,
  PruneBatch,
  RestoreBatch,
  RestoreResult,
  StaleContext,
  StoredContext,
  SyncQuery,
  SyncResult,
} from './backend.ts'
import type { Publishing } from './publishing.ts'
import { Bucket } from './s3/bucket.ts'
import { ContextObjects, defaultTiming } from './s3/context-objects.ts'
import type { ListedContextObject, S3Timing } from './s3/context-objects.ts'
import { each } from './s3/each.ts'
import { closed } from './s3/errors.ts'
import { Names, isOrdered } from './s3/names.ts'
import { checkBucket, keepsOnCondition } from './s3/open-checks.ts'
import { checkOptions } from './s3/options.ts'
import type { S3BackendOptions, S3Settings } from './s3/options.ts'
import type { ContextNote } from './s3/stored-object.ts'
import { StoreModel } from './store-model.ts'
import type { StoreCopy } from './store-model.ts'

export type { S3BackendOptions } from './s3/options.ts'

/** Most requests of one call at a time. */
const requestsAtATime = 16
/** Most names of a page of a listing, as S3 has it. */
const pageLimit = 1_000
/** Fewest names of a page, since those of absent contexts are among them. */
const leastPage = 100
/** When a process first looks for absent contexts that it may forget, and how often from then on, ms. */
const forgetAfterMs = 3_600_000
const forgetEveryMs = 86_400_000

/**
 * Keeps contexts as objects of a bucket, one for each context, for archives and for contexts that are written rarely: each commit writes the
 * context's whole object, on the condition that nobody else has. Any S3-compatible store with conditional writes will do.
 * @param options `s3://bucket[/prefix][?endpoint=…&region=…]`, or an object; keys that are not given come from the `AWS_*` environment variables
 * @throws {TypeError} no bucket is named, or an option is malformed
 */
export function s3Backend(options: string | S3BackendOptions): ContextBackend {
  return new S3Backend(checkOptions(options, process.env))
}

/** What there is once it is open. */
interface Opened {
  readonly bucket: Bucket
  readonly objects: ContextObjects
}

/** A bucket behind the interface of a backend. */
export class S3Backend implements ContextBackend {
  readonly name = 's3'
  readonly publishing: Publishing
  readonly #settings: S3Settings
  readonly #timing: S3Timing
  readonly #names: Names
  #opening: Promise<void> | null = null
  #opened: Opened | null = null
  #closed = false
  #forgetAt = performance.now() + forgetAfterMs
  #forgetting: Promise<unknown> | null = null
  /** Whether an object can be removed on condition; null: not found out yet. */
  #removes: boolean | null = null

  constructor(settings: S3Settings, timing: Partial<S3Timing> = {}) {
    this.#settings = settings
    this.#timing = { ...defaultTiming, ...timing }
    this.#names = new Names(settings.prefix)
    this.publishing = { type: 'beacon', intervalMs: this.#timing.beaconMs }
  }

  /** Requests made so far. */
  get requests(): number {
    return this.#opened?.bucket.requests ?? 0
  }

  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = null
      throw error
    })
    return this.#opening
  }

  async commit(batch: CommitBatch): Promise<CommitResult> {
    const { objects } = this.#use()
    const result = await objects.change(batch.contextId, {
      run: (model) => model.commit(batch),
      // Of a log that does not reach back nobody can tell whether it had our attempt in it.
      isDoubtful: ({ type, ...rest }) => type === 'conflict' && 'missed' in rest && rest.missed === null,
    })
    if (performance.now() >= this.#forgetAt) this.#forget(batch.now, batch.sessionTtlMs)
    return result
  }

  async sync(query: SyncQuery): Promise<SyncResult> {
    return this.#use().objects.change(query.contextId, { run: (model) => model.sync(query) })
  }

  async load(contextId: string): Promise<StoredContext | null> {
    return (await this.#model(contextId)).load(contextId)
  }

  async log(contextId: string, after: number): Promise<readonly LogEntry[]> {
    return (await this.#model(contextId)).log(contextId, after)
  }

  async heads(contextIds: readonly string[]): Promise<readonly Head[]> {
    const { objects } = this.#use()
    const notes = await each([...new Set(contextIds)], requestsAtATime, (contextId) => objects.look(contextId))
    const heads = new Map(notes.map(({ contextId, incarnation, version, revision }) => [contextId, { incarnation, version, revision }]))
    return contextIds.map((contextId) => heads.get(contextId)!)
  }

  /**
   * A request for each 1,000 objects under the prefix, and one for each context that has changed since this process last looked at it: what
   * S3 lists does not say the version. With `updatedSince` all of them are looked at, in descending order all of them are listed.
   */
  async list({ limit, offset, order, prefix, updatedSince }: ListQuery): Promise<readonly ListedContext[]> {
    const found: ListedContext[] = []
    const enough = limit === 0 ? Number.POSITIVE_INFINITY : offset + limit
    const missing = (): number => enough - found.length
    for await (const notes of this.#notes(prefix, order, missing)) {
      for (const { contextId, version, revision, createdAt, updatedAt } of notes) {
        if (version > 0 && updatedAt >= updatedSince) found.push({ contextId, version, revision, createdAt, updatedAt })
      }
      if (found.length >= enough) break
    }
    return found.slice(offset, enough)
  }

  async lock(request: LockRequest): Promise<LockResult> {
    return this.#use().objects.change(request.contextId, { run: (model) => model.lock(request) })
  }

  async unlock(contextId: string, key: string, hold: string, now: number): Promise<boolean> {
    return this.#use().objects.change(contextId, { run: (model) => model.unlock(contextId, key, hold, now) })
  }

  async locks(contextId: string, now: number): Promise<readonly HeldLock[]> {
    return (await this.#model(contextId)).locks(contextId, now)
  }

  async dump(contextId: string): Promise<ContextDump | null> {
    return (await this.#model(contextId)).dump(contextId)
  }

  async restore(batch: RestoreBatch): Promise<RestoreResult> {
    return this.#use().objects.change(batch.contextId, {
      run: (model) => model.restore(batch),
      isDoubtful: ({ type }) => type === 'conflict',
    })
  }

  /** Writes each of the contexts. */
  async touch(contextIds: readonly string[], now: number): Promise<void> {
    const { objects } = this.#use()
    const touched = [...new Set(contextIds)]
    await each(touched, requestsAtATime, (contextId) => objects.change(contextId, { run: (model) => model.touch([contextId], now) }))
  }

  /** Looks at all contexts, as {@link list} does. */
  async stale(before: number, limit: number): Promise<readonly StaleContext[]> {
    const stale: { readonly usedAt: number; readonly context: StaleContext }[] = []
    for await (const notes of this.#notes('', 'asc', () => pageLimit)) {
      for (const { contextId, incarnation, version, revision, updatedAt, touchedAt, logged } of notes) {
        const usedAt = Math.max(updatedAt, touchedAt)
        const head = { incarnation, version, revision }
        if (version > 0 && usedAt < before) stale.push({ usedAt, context: { contextId, head, logged } })
      }
    }
    // Those of one time stay in the order of their ids.
    stale.sort((a, b) => a.usedAt - b.usedAt)
    return stale.slice(0, limit).map(({ context }) => context)
  }

  /** Looks at contexts, as {@link list} does, until there are enough. */
  async prunable({ before, maxVersions, limit }: PrunableQuery): Promise<readonly string[]> {
    const found: string[] = []
    for await (const notes of this.#notes('', 'asc', () => pageLimit)) {
      for (const { contextId, version, logged, loggedFrom } of notes) {
        if (version > 0 && logged > 0 && (loggedFrom < before || (maxVersions > 0 && logged > maxVersions))) found.push(contextId)
      }
      if (found.length >= limit) break
    }
    return found.slice(0, limit)
  }

  async prune(batch: PruneBatch): Promise<number | null> {
    return this.#use().objects.change(batch.contextId, { run: (model) => model.prune(batch) })
  }

  /**
   * Removes the objects of absent contexts that are past their time: see `StoreModel.expireRecords`. Only a store that looks at the condition
   * of a DELETE can do so without taking a context that was just created again with it; on others they stay, some hundred bytes each.
   * @returns how many contexts were forgotten
   */
  async expireRecords(now: number, sessionTtlMs: number): Promise<number> {
    const { bucket, objects } = this.#use()
    this.#removes ??= await keepsOnCondition(bucket, this.#names)
    if (!this.#removes) return 0
    let forgotten = 0
    for await (const notes of this.#notes('', 'asc', () => pageLimit)) {
      for (const { contextId, version } of notes) {
        if (version > 0) continue
        if (await objects.remove(contextId, (model) => model.expireRecords(now, sessionTtlMs) > 0)) forgotten += 1
      }
    }
    return forgotten
  }

  async close(): Promise<void> {
    this.#closed = true
    // Why it could not be opened was told to who opened it.
    await this.#opening?.catch(() => {})
    const opened = this.#opened
    this.#opened = null
    await opened?.objects.drain()
    await this.#forgetting
  }

  async #open(): Promise<void> {
    if (this.#closed) throw closed()
    const { url, region, keys, address } = this.#settings
    if (keys === null) {
      throw new ContextdError('backend_unavailable', `${address} needs keys. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.`)
    }
    const bucket = new Bucket(url, region, keys, this.#timing.requestMs)
    await checkBucket(bucket, this.#names, address)
    this.#opened = { bucket, objects: new ContextObjects(bucket, this.#names, this.#timing) }
  }

  #use(): Opened {
    if (this.#closed) throw closed()
    if (this.#opened === null) throw new ContextdError('backend_unavailable', 'The store is not open yet. Call open() first.')
    return this.#opened
  }

  async #model(contextId: string): Promise<StoreModel> {
    return modelOf(await this.#use().objects.read(contextId))
  }

  /** Notes of users' contexts by id, also of absent ones, some at a time; `missing` says how many are wanted still. */
  async *#notes(prefix: string, order: 'asc' | 'desc', missing: () => number): AsyncGenerator<readonly ContextNote[]> {
    const { objects } = this.#use()
    const waiting: ListedContextObject[] = []
    const look = (): Promise<ContextNote[]> =>
      each(waiting.splice(0, Math.max(missing(), requestsAtATime)), requestsAtATime, ({ contextId, etag }) =>
        objects.lookAt(contextId, etag),
      )
    const pageSize = (): number => (order === 'asc' ? Math.min(Math.max(missing(), leastPage), pageLimit) : pageLimit)
    for await (const page of objects.list(prefix, pageSize)) {
      waiting.push(...page.filter(({ contextId }) => !isInternal(contextId)))
      // What comes with an escaped name may belong further down.
      if (order === 'desc' || !waiting.every(({ name }) => isOrdered(name))) continue
      while (waiting.length > 0) yield await look()
    }
    const sign = order === 'asc' ? 1 : -1
    waiting.sort((a, b) => (a.contextId < b.contextId ? -sign : sign))
    while (waiting.length > 0) yield await look()
  }

  #forget(now: number, sessionTtlMs: number): void {
    this.#forgetAt = performance.now() + forgetEveryMs
    // What stays is forgotten another day.
    this.#forgetting = this.expireRecords(now, sessionTtlMs).catch(() => {})
  }
}

function modelOf(copy: StoreCopy): StoreModel {
  const model = new StoreModel()
  model.putBack(copy)
  return model
}
