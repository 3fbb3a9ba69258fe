import { isInternal } from '../backend.ts'
import type { ListQuery, ListedContext } from '../backend.ts'
import { reasonOf } from './errors.ts'
import { addToIndexScript, cleanIndexScript, keepInIndexScript } from './index-scripts.ts'
import type { Names } from './keys.ts'
import type { Servers } from './servers.ts'

/** How many ids are read at once. */
export const pageSize = 500
/** How long an id must have been without a context to be taken out: far longer than the creation of a context takes, ms. */
const missingMs = 3_600_000
/** How much later than another an entry may be committed that follows it in the log, by the clock of another node, ms. */
const skewMs = 60_000

/** The least that `logged` may say of a log whose oldest entry was committed at a time, now or once some of its entries are gone. */
export const boundOf = (committedAt: number): number => committedAt - skewMs

/** Which ids to page through. */
type Range = Pick<ListQuery, 'prefix' | 'order'>

/**
 * The ids of all contexts, in order: one sorted set, which on a Cluster lies elsewhere than the contexts, so it is no part of a commit's step.
 *
 * Beside it lie, by id: `updated`, a lower bound of when the context was written or touched last; `touched`, when it was last touched; `logged`, a lower
 * bound of when its oldest entry was committed, and none when the log was found empty. A commit does not write them, but for a context's first and
 * for the first entry of an empty log: bounds are raised when they are looked at (see `Cleanup`).
 *
 * An id is in it before the context's first commit, and may be in it without a context: `list` looks at each one's row, and takes out those that have
 * had none for long. A page of ids costs two round trips, also where all of them are left out by `offset` or `updatedSince`.
 */
export class ContextIndex {
  readonly #servers: Servers
  readonly #names: Names

  constructor(servers: Servers, names: Names) {
    this.#servers = servers
    this.#names = names
  }

  /**
   * Puts in a context that is about to be created or restored.
   * @param usedAt when it will have been written, ms
   * @param oldest when the oldest entry of its log will have been committed, ms; null: the log will be empty
   */
  async add(contextId: string, usedAt: number, oldest: number | null): Promise<void> {
    if (isInternal(contextId)) return
    const bound = oldest === null ? '' : String(boundOf(oldest))
    await this.#servers.run(addToIndexScript, this.#names.index, [contextId, String(usedAt), bound])
  }

  /** Puts in a context that is there, should the index have lost it. */
  async keep(contextId: string): Promise<void> {
    if (isInternal(contextId)) return
    await this.#servers.run(keepInIndexScript, this.#names.index, [contextId])
  }

  /** Notes the first entry of a log that was empty. */
  async begin(contextId: string, committedAt: number): Promise<void> {
    if (isInternal(contextId)) return
    const [, , , , logged] = this.#names.index
    await this.#servers.send(logged, (client) => client.zadd(logged, boundOf(committedAt), contextId))
  }

  /** Contexts that exist. Not as of one moment: a context that is created or deleted meanwhile may be in it or not. */
  async list(query: ListQuery): Promise<ListedContext[]> {
    const end = query.limit === 0 ? Number.POSITIVE_INFINITY : query.offset + query.limit
    const listed: ListedContext[] = []
    const missing: string[] = []
    for (let last: string | null = null; listed.length < end;) {
      const ids: string[] = await this.page(query, last)
      for (const item of await Promise.all(ids.map((id) => this.#look(id)))) {
        if (typeof item === 'string') missing.push(item)
        else if (item !== null && item.updatedAt >= query.updatedSince) listed.push(item)
      }
      last = ids.at(-1) ?? null
      if (ids.length < pageSize) break
    }
    // Beside the answer: where it does not come about, a later list does it.
    this.clean(missing).catch(() => {})
    return listed.slice(query.offset, end)
  }

  /** At most {@link pageSize} ids, after another one. */
  async page({ prefix, order }: Range, last: string | null): Promise<string[]> {
    // Ids are ASCII: their order by bytes is their order by code units, and none has the byte FF.
    const from = Buffer.from(`[${prefix}`)
    const to = Buffer.concat([Buffer.from(`(${prefix}`), Buffer.from([0xff])])
    const after = last === null ? null : `(${last}`
    const range = order === 'asc' ? [after ?? from, to, 'BYLEX'] : [after ?? to, from, 'BYLEX', 'REV']
    return (await this.#servers.send(this.#names.index[0], (client) =>
      client.call('ZRANGE', [this.#names.index[0], ...range, 'LIMIT', '0', String(pageSize)]),
    )) as string[]
  }

  /** A context, its id when there is none, or null when what is stored cannot be read. */
  async #look(contextId: string): Promise<ListedContext | string | null> {
    const [row] = this.#names.context(contextId)
    try {
      const [version, revision, createdAt, updatedAt] = await this.#servers.send(row, (client) => client.hmget(row, 'v', 'r', 'c', 'u'))
      if (!version || version === '0') return contextId
      return { contextId, version: Number(version), revision: revision ?? '', createdAt: Number(createdAt), updatedAt: Number(updatedAt) }
    } catch (error) {
      if (reasonOf(error) !== 'WRONGTYPE') throw error
      return null
    }
  }

  /**
   * Notes ids that were found without a context, and takes out those that have had none for long.
   * @param until the others are not looked at again before the cleanup of this time, ms; null: that does not change
   */
  async clean(missing: readonly string[], until: number | null = null): Promise<void> {
    const bound = until === null ? '' : String(until + missingMs)
    for (let from = 0; from < missing.length; from += pageSize) {
      const ids = missing.slice(from, from + pageSize)
      await this.#servers.run(cleanIndexScript, this.#names.index, [String(missingMs), bound, ...ids])
    }
  }
}
