import { checkContextId, checkOperations, isContextdError } from '@contextd/protocol'
import type { Change, ContextInfo, Delta, DeltaFormat, JsonObject, LockToken, Operation, Snapshot, SyncAnswer } from '@contextd/protocol'
import { checkOptions } from '../check-options.ts'
import type { Cleaned } from '../cleanup/cleaner.ts'
import { checkCleanupOptions } from '../cleanup/cleanup.ts'
import type { CleanupOptions } from '../cleanup/cleanup.ts'
import type { KnownHead, ListOptions, WriteOptions, WriteResult } from './contexts-types.ts'
import { hasState } from '../commits/batch-states.ts'
import type { Decided } from '../commits/decide.ts'
import type { CommitRequest } from '../engine/engine.ts'
import { defaultListLimit } from '../engine/engine-node.ts'
import type { EngineNode } from '../engine/engine-node.ts'
import { Formatter } from '../reads/formatter.ts'
import { deltaOf, emptyDelta, snapshotOf } from '../reads/history.ts'
import type { Step } from '../reads/history.ts'
import { lateSnapshotOf } from '../reads/late-snapshot.ts'
import { copyJson, takePatch, takeState } from '../json-copy.ts'
import { serverAuthor } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import type { Lock, LockOptions } from '../locks/lock-handle.ts'
import { wholeOf } from '../options.ts'
import { Reads } from './reads.ts'
import { Sources } from '../sources/sources.ts'
import type { ContextSource } from '../sources/source-types.ts'
import { Transaction } from '../commits/transaction.ts'
import { errorOf, located } from '../commits/write-error.ts'
import { checkWriteOptions } from './write-options.ts'

type Written = WriteResult<JsonObject, unknown>
/** What a call wants to commit. */
type Wanted = Pick<CommitRequest, 'operations' | 'remove' | 'initial'>

const defaultRetries = 3
const defaultHistoryLimit = 100
const writeOptions = ['ifVersion', 'ifRevision', 'lock', 'user', 'initial']
const lockOptions = ['ttlMs', 'retryDelayMs', 'maxRetries', 'signal']

/** The calls of an application, on the engine: what `createContexts` returns, there with the types of its definitions (see `Contexts`). */
export class NodeContexts {
  readonly #node: EngineNode
  readonly #sources: Sources
  readonly #formatter: Formatter
  readonly #reads: Reads

  constructor(node: EngineNode, format: DeltaFormat<unknown>) {
    this.#node = node
    this.#sources = new Sources(node)
    this.#formatter = new Formatter(format)
    this.#reads = new Reads(node, this.#formatter)
  }

  async set(id: string, state: object, options: WriteOptions = {}): Promise<Written> {
    const contextId = this.#id(id)
    checkOptions('set', options, writeOptions)
    const operations = takeState(state, this.#node.limits)
    // What it is created from does not matter: all of it is replaced.
    return this.#result(contextId, await this.#commit(contextId, { operations, remove: false, initial: {} }, options))
  }

  async update(id: string, patch: object, options: WriteOptions = {}): Promise<Written> {
    const contextId = this.#id(id)
    checkOptions('update', options, writeOptions)
    const operations = takePatch(patch, this.#node.limits)
    return this.#result(
      contextId,
      await this.#commit(contextId, { operations, remove: false, initial: this.#initial(contextId, options) }, options),
    )
  }

  async apply(id: string, operations: readonly Operation[], options: WriteOptions = {}): Promise<Written> {
    const contextId = this.#id(id)
    checkOptions('apply', options, writeOptions)
    const checked = checkOperations(copyJson(operations), this.#node.limits)
    return this.#result(
      contextId,
      await this.#commit(contextId, { operations: checked, remove: false, initial: this.#initial(contextId, options) }, options),
    )
  }

  async transact<R>(
    id: string,
    fn: (draft: JsonObject) => R,
    options: WriteOptions & { retries?: number } = {},
  ): Promise<Written & { result: R }> {
    const contextId = this.#id(id)
    checkOptions('transact', options, [...writeOptions, 'retries'])
    if (typeof fn !== 'function') throw new TypeError('transact takes a function (draft) => result')
    const initial = this.#initial(contextId, options)
    const retries = wholeOf('retries', options.retries, 0) ?? defaultRetries
    const { itemKey } = this.#node.declared(contextId)
    const transaction = new Transaction(fn, initial, itemKey, retries)
    const wanted = { operations: ({ state }: KnownContext) => transaction.run(state), remove: false, initial: transaction.initial }
    const decided = await new Promise<Decided<unknown>>((resolve, reject) => {
      // On a context that others write to all the time the store might never confirm that it was given up.
      transaction.givenUp = (error) => reject(located(error, contextId))
      this.#commit(contextId, wanted, options).then(resolve, reject)
    })
    return { ...this.#result(contextId, decided), result: transaction.resultOn(decided.before.state) }
  }

  async get(id: string): Promise<Snapshot | null> {
    return this.#reads.get(this.#id(id))
  }

  async sync(id: string, since: number | KnownHead | null): Promise<SyncAnswer<JsonObject, unknown>> {
    return this.#reads.sync(this.#id(id), since)
  }

  async delete(id: string, options: Omit<WriteOptions, 'initial'> = {}): Promise<void> {
    const contextId = this.#id(id)
    checkOptions('delete', options, writeOptions.slice(0, -1))
    await this.#commit(contextId, { operations: [], remove: true, initial: null }, options)
  }

  async list(options: ListOptions = {}): Promise<ContextInfo[]> {
    checkOptions('list', options, ['limit', 'offset', 'order', 'prefix', 'updatedSince'])
    const { order = 'asc', prefix = '', updatedSince = 0 } = options
    if (order !== 'asc' && order !== 'desc') throw new TypeError("order must be 'asc' or 'desc'")
    if (typeof prefix !== 'string') throw new TypeError('prefix must be the beginning of ids, a string')
    if (typeof updatedSince !== 'number' || Number.isNaN(updatedSince))
      throw new TypeError('updatedSince must be a time, ms since the epoch')
    const limit = wholeOf('limit', options.limit, 1) ?? defaultListLimit
    const offset = wholeOf('offset', options.offset, 0) ?? 0
    await this.#node.open()
    const listed = await this.#node.backend.list({ limit, offset, order, prefix, updatedSince })
    return listed.map(({ contextId, version, revision, createdAt, updatedAt }) => ({ contextId, version, revision, createdAt, updatedAt }))
  }

  async history(id: string, options: { limit?: number } = {}): Promise<Delta<unknown>[]> {
    const contextId = this.#id(id)
    checkOptions('history', options, ['limit'])
    return this.#reads.history(contextId, wholeOf('limit', options.limit, 1) ?? defaultHistoryLimit)
  }

  async at(id: string, version: number): Promise<Snapshot> {
    const contextId = this.#id(id)
    if (wholeOf('version', version, 1) === undefined) throw new TypeError('at takes a version, a whole number of at least 1')
    return this.#reads.at(contextId, version)
  }

  async between(id: string, from: number, to: number): Promise<Delta<unknown>> {
    const contextId = this.#id(id)
    if (wholeOf('from', from, 0) === undefined || wholeOf('to', to, 1) === undefined) {
      throw new TypeError('between takes two versions: whole numbers, the first of at least 0, the second of at least 1')
    }
    return this.#reads.between(contextId, from, to)
  }

  async export(id: string): Promise<Snapshot> {
    return this.#node.export(this.#id(id))
  }

  async restore(id: string): Promise<Snapshot> {
    return this.#node.restore(this.#id(id))
  }

  async cleanup(options: Pick<CleanupOptions, 'limit'> = {}): Promise<Cleaned> {
    return this.#node.cleanup.run(checkCleanupOptions('cleanup', options, ['limit']))
  }

  startCleanup(options: CleanupOptions = {}): void {
    this.#node.cleanup.start(checkCleanupOptions('startCleanup', options))
  }

  updateCleanup(options: CleanupOptions): void {
    this.#node.cleanup.update(checkCleanupOptions('updateCleanup', options))
  }

  stopCleanup(): void {
    this.#node.cleanup.stop()
  }

  subscribe(
    id: string,
    listener: (delta: Delta<unknown>, snapshot: Snapshot) => void,
    options: { onDelete?: () => void } = {},
  ): () => void {
    const contextId = this.#id(id)
    checkOptions('subscribe', options, ['onDelete'])
    const { onDelete } = options
    if (typeof listener !== 'function') throw new TypeError('subscribe takes a function (delta, snapshot) => …')
    if (onDelete !== undefined && typeof onDelete !== 'function') throw new TypeError('onDelete must be a function')
    return this.#node.subscribe(contextId, {
      step: (step, now) => listener(this.#formatter.delta(step), snapshotOf(contextId, now)),
      gone: () => onDelete?.(),
    })
  }

  async lock(id: string, key: string, options: LockOptions = {}): Promise<Lock> {
    const contextId = this.#id(id)
    checkOptions('lock', options, lockOptions)
    return this.#node.locks.take(contextId, key, serverAuthor, options)
  }

  get leader(): { readonly isLeader: boolean } {
    const { leader } = this.#node
    return {
      get isLeader() {
        return leader.isLeader
      },
    }
  }

  addSource(options: unknown): ContextSource {
    return this.#sources.add(options)
  }

  async close(): Promise<void> {
    await this.#sources.close()
    await this.#node.close()
  }

  #id(id: unknown): string {
    return checkContextId(id, this.#node.limits.idBytes)
  }

  #initial(contextId: string, { initial }: WriteOptions): CommitRequest['initial'] {
    return initial === undefined ? this.#node.declared(contextId).initial : takeState(initial, this.#node.limits)[0].value
  }

  /** Commits, and tells how it was decided. @throws what refused it */
  #commit(contextId: string, wanted: Wanted, options: WriteOptions): Promise<Decided<unknown>> {
    const { conditions, user } = checkWriteOptions(options, this.#node.limits.idBytes)
    const { operations, remove, initial } = wanted
    return new Promise((resolve, reject) => {
      const request: CommitRequest = {
        operations,
        remove,
        initial,
        source: '',
        stream: null,
        author: user === null ? serverAuthor : { userId: user.id, actor: serverAuthor.actor },
        incarnation: null,
        size: 0,
        user,
        reply: (answer) => {
          if (answer.type === 'verdict' && answer.decided !== null && answer.decided.error === undefined) resolve(answer.decided)
          else {
            const error = errorOf(contextId, answer)
            if (options.lock !== undefined && isLockLost(error, options.lock)) this.#node.locks.lost(contextId, options.lock)
            reject(error)
          }
        },
      }
      // Most have no conditions, and an object that is put together from others is a slow one.
      this.#node.submit(contextId, conditions === null ? request : { ...request, ...conditions })
    })
  }

  #result(contextId: string, { revision, before, after, changes }: Decided<unknown>): Written {
    const { head, updatedAt: committedAt, updatedBy: author } = after
    const delta =
      revision === null
        ? emptyDelta(contextId, after)
        : deltaOf(contextId, { version: head.version, revision, committedAt, author, changes: changes as Change[] })
    const step = new WrittenStep(delta, before, after)
    // First the delta: it may need the state, which is there then.
    const formatted = this.#formatter.deltaOnce(step)
    return { context: hasState(after) ? snapshotOf(contextId, after) : lateSnapshotOf(contextId, after), delta: formatted }
  }
}

/** The step of a write: its states are read only where they are needed. */
class WrittenStep implements Step {
  readonly delta: Delta
  readonly #before: KnownContext
  readonly #after: KnownContext

  constructor(delta: Delta, before: KnownContext, after: KnownContext) {
    this.delta = delta
    this.#before = before
    this.#after = after
  }

  get before(): JsonObject {
    return this.#before.state ?? (this.#before === this.#after ? this.after : {})
  }
  get after(): JsonObject {
    return this.#after.state!
  }
}

/** Whether a write was refused since the lock that it carried is no longer held. */
const isLockLost = (error: unknown, { key }: LockToken): boolean => isContextdError(error, 'locked') && error.details['key'] === key
