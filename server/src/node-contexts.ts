import { ContextdError, checkContextId, checkOperations, formats, isContextdError } from '@contextd/protocol'
import type { ContextInfo, Delta, DeltaFormat, Head, JsonObject, LockToken, Operation, Snapshot, SyncAnswer } from '@contextd/protocol'
import type { LogEntry } from './backends/backend.ts'
import type { Answer } from './commit-queue.ts'
import type { KnownHead, ListOptions, WriteOptions, WriteResult } from './contexts-types.ts'
import type { Decided } from './decide.ts'
import type { CommitRequest } from './engine.ts'
import { defaultListLimit } from './engine-node.ts'
import type { EngineNode } from './engine-node.ts'
import { backwards, deltaOf, emptyDelta } from './history.ts'
import type { Step } from './history.ts'
import { copyJson, frozen, takePatch, takeState } from './json-copy.ts'
import { followsOn, serverAuthor } from './known-context.ts'
import type { KnownContext } from './known-context.ts'
import type { Lock, LockOptions } from './lock-handle.ts'
import { wholeOf } from './options.ts'
import type { Past } from './past.ts'
import { Transaction } from './transaction.ts'
import { checkOptions, checkSince, checkWriteOptions } from './write-options.ts'

type Written = WriteResult<JsonObject, unknown>
/** What a call wants to commit. */
type Wanted = Pick<CommitRequest, 'operations' | 'remove' | 'initial'>

const defaultRetries = 3
const defaultHistoryLimit = 100
/** How often a read of state and log is tried anew, when the context began a new life in between. */
const mostReads = 5
const writeOptions = ['ifVersion', 'ifRevision', 'lock', 'user', 'initial']
const lockOptions = ['ttlMs', 'retryDelayMs', 'maxRetries', 'signal']

/** The calls of an application, on the engine: what `createContexts` returns, there with the types of its definitions (see `Contexts`). */
export class NodeContexts {
  readonly #node: EngineNode
  readonly #format: DeltaFormat<unknown>
  /** Steps as formatted, so that many subscribers share one. */
  readonly #formatted = new WeakMap<Step, Delta<unknown>>()

  constructor(node: EngineNode, format: DeltaFormat<unknown>) {
    this.#node = node
    this.#format = format
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
    const contextId = this.#id(id)
    const now = await this.#node.using(contextId, (live) => live.fresh())
    return now.state === null ? null : snapshotOf(contextId, now)
  }

  async sync(id: string, since: number | KnownHead | null): Promise<SyncAnswer<JsonObject, unknown>> {
    const contextId = this.#id(id)
    const from = since === null ? null : checkSince(since)
    const { now, entries, past } = await this.#read(contextId, ({ head }) => {
      if (from === null || from.version >= head.version) return null
      if (from.incarnation !== undefined && from.incarnation !== head.incarnation) return null
      const { deltaThreshold } = this.#node
      return deltaThreshold > 0 && from.version < head.version - deltaThreshold ? null : from.version
    })
    if (from !== null && isHead(from, now.head)) return { type: 'no_change', version: now.head.version, revision: now.head.revision }
    const first = entries[0]
    // A number alone cannot tell whether the history is still the same; a head can.
    if (from !== null && first?.version === from.version + 1 && (from.revision ?? first.baseRevision) === first.baseRevision) {
      return { type: 'delta', delta: this.#deltaSince(contextId, now, entries, past) }
    }
    return { type: 'full_context', context: snapshotOf(contextId, now) }
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
    const limit = wholeOf('limit', options.limit, 1) ?? defaultHistoryLimit
    const { state, entries } = await this.#read(contextId, ({ head }) => Math.max(0, head.version - limit))
    return [...backwards(contextId, state, entries)].map((step) => this.#delta(step))
  }

  async at(id: string, version: number): Promise<Snapshot> {
    const contextId = this.#id(id)
    if (wholeOf('version', version, 1) === undefined) throw new TypeError('at takes a version, a whole number of at least 1')
    const { now, state, entries } = await this.#read(contextId, ({ head }) => (version < head.version ? version - 1 : null))
    const { head, createdAt } = now
    if (version === head.version) return snapshotOf(contextId, now)
    if (version > head.version) {
      throw new ContextdError('not_found', `${contextId} has no version ${version} yet; it is at ${head.version}.`, { contextId })
    }
    for (const { delta, after } of backwards(contextId, state, entries)) {
      if (delta.version !== version) continue
      const { revision, committedAt, author } = delta
      return snapshotOf(contextId, {
        ...now,
        head: { ...head, version, revision },
        state: after,
        createdAt,
        updatedAt: committedAt,
        updatedBy: author,
      })
    }
    throw new ContextdError('expired', `Version ${version} of ${contextId} is no longer in the log. Read a later one.`, { contextId })
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
      step: (step, now) => listener(this.#delta(step), snapshotOf(contextId, now)),
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

  close(): Promise<void> {
    return this.#node.close()
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
    const { version } = after.head
    const { updatedAt: committedAt, updatedBy: author } = after
    const delta =
      revision === null
        ? emptyDelta(contextId, after)
        : deltaOf(contextId, { version, revision, committedAt, author, changes: [...changes] })
    const step = { delta, before: before.state ?? (revision === null ? after.state! : {}), after: after.state! }
    return { context: snapshotOf(contextId, after), delta: this.#delta(step) }
  }

  #delta(step: Step): Delta<unknown> {
    const known = this.#formatted.get(step)
    if (known) return known
    const delta = { ...step.delta, author: { ...step.delta.author } }
    frozen(delta.changes)
    const formatted = { ...delta, changes: this.#format(delta, { before: frozen(step.before), after: frozen(step.after) }) }
    this.#formatted.set(step, formatted)
    return formatted
  }

  #deltaSince(contextId: string, now: KnownContext, entries: readonly LogEntry[], past: Past): Delta<unknown> {
    if (entries.length > 1) {
      // The verbose format looks at the states alone.
      const itemKey = this.#format === formats.verbose ? null : this.#node.declared(contextId).itemKey
      return this.#delta(past.step(contextId, now, entries, itemKey))
    }
    const [only] = backwards(contextId, now.state!, entries)
    return this.#delta(only!)
  }

  /**
   * Reads a context, and the entries of its log from a version on that lead to it: none when `from` says null, or when the log does not reach
   * back so far without a hole.
   * @throws {ContextdError} `not_found`
   */
  async #read(
    contextId: string,
    from: (now: KnownContext) => number | null,
  ): Promise<{ readonly now: KnownContext; readonly state: JsonObject; readonly entries: readonly LogEntry[]; readonly past: Past }> {
    return this.#node.using(contextId, async (live) => {
      const { past } = live
      for (let reads = 1; ; reads += 1) {
        const now = await live.fresh()
        const { state, head } = now
        if (state === null) throw new ContextdError('not_found', `There is no context ${contextId}.`, { contextId })
        const after = from(now)
        if (after === null) return { now, state, entries: [], past }
        const log = await past.log(now, after, () => this.#node.backend.log(contextId, after))
        const entries = log.filter(({ version }) => version <= head.version)
        if (entries.length === 0 && log.length === 0) return { now, state, entries, past }
        if (entries.at(-1)?.revision === head.revision && isUnbroken(entries)) return { now, state, entries, past }
        // The context began a new life between the two reads.
        if (reads === mostReads) return { now, state, entries: [], past }
      }
    })
  }
}

/** What a caller is told of a context, as its own: the state is frozen, and what later commits share with it too. */
function snapshotOf(contextId: string, { head, state, createdAt, updatedAt, updatedBy }: KnownContext): Snapshot {
  return { contextId, ...head, state: frozen(state!), createdAt, updatedAt, updatedBy: { ...updatedBy } }
}

const isHead = (at: Partial<Head>, head: Head): boolean =>
  at.version === head.version &&
  (at.revision ?? head.revision) === head.revision &&
  (at.incarnation ?? head.incarnation) === head.incarnation

const isUnbroken = (entries: readonly LogEntry[]): boolean =>
  entries.length > 0 && followsOn({ version: entries[0]!.version - 1, revision: entries[0]!.baseRevision }, entries)

/** Why a write did not come to a commit. */
function errorOf(contextId: string, answer: Answer): unknown {
  if (answer.type === 'verdict' && answer.decided?.error !== undefined) return located(answer.decided.error, contextId)
  if (answer.type === 'held') return located(answer.error, contextId)
  return new ContextdError(
    'timeout',
    `It is not known whether the write to ${contextId} was stored. Read the context before writing again.`,
    {
      contextId,
      details: { outcome: 'unknown' },
    },
  )
}

/** Whether a write was refused since the lock that it carried is no longer held. */
const isLockLost = (error: unknown, { key }: LockToken): boolean => isContextdError(error, 'locked') && error.details['key'] === key

/** The error, with the context that it is about; what the caller's own code threw stays as it is. */
function located(error: unknown, contextId: string): unknown {
  if (!isContextdError(error) || error.contextId !== undefined) return error
  const { code, message, details } = error
  return new ContextdError(code, message, { details, contextId, cause: error })
}
