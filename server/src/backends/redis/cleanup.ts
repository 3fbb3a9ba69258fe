import type { PrunableQuery, StaleContext } from '../backend.ts'
import { boundOf, pageSize } from './context-index.ts'
import type { ContextIndex } from './context-index.ts'
import { reasonOf } from './errors.ts'
import { lookScript, touchScript, unlogScript } from './index-scripts.ts'
import type { Names } from './keys.ts'
import { headOf } from './replies.ts'
import type { Servers } from './servers.ts'

/** A context, as cleanup sees it. */
interface Seen {
  readonly context: StaleContext
  readonly updatedAt: number
  /** When the oldest entry of its log was committed; null: the log is empty. */
  readonly oldest: number | null
}

/** An id, and the bound that the index has of it. */
interface Bounded {
  readonly id: string
  readonly bound: number
}

/** What was found wrong about bounds while a range of them was read; it is put right afterwards, so that the range stays in place. */
interface Corrections {
  readonly raised: (readonly [bound: number, id: string])[]
  readonly missing: string[]
}

const inOrder = (a: Bounded, b: Bounded): number => a.bound - b.bound || (a.id < b.id ? -1 : 1)

/**
 * Finds what is to be cleaned up, without looking at contexts that are in use: it reads the ids with the lowest bounds, a page at a time, looks at these
 * contexts, and raises the bounds that are too low. So a context is looked at again only when it may have grown old since.
 */
export class Cleanup {
  readonly #servers: Servers
  readonly #names: Names
  readonly #index: ContextIndex

  constructor(servers: Servers, names: Names, index: ContextIndex) {
    this.#servers = servers
    this.#names = names
    this.#index = index
  }

  /** See `ContextBackend.touch`. */
  async touch(contextIds: readonly string[], now: number): Promise<void> {
    for (let from = 0; from < contextIds.length; from += pageSize) {
      const ids = contextIds.slice(from, from + pageSize)
      const versions = await Promise.all(ids.map((id) => this.#version(id)))
      const there = ids.filter((_, index) => versions[index]! > 0)
      if (there.length > 0) await this.#servers.run(touchScript, this.#names.index, [String(now), ...there])
    }
  }

  async #version(contextId: string): Promise<number> {
    const [row] = this.#names.context(contextId)
    return Number(await unlessDamaged(this.#servers.send(row, (client) => client.hget(row, 'v'))))
  }

  /** See `ContextBackend.stale`. */
  async stale(before: number, limit: number): Promise<StaleContext[]> {
    const [, , updated] = this.#names.index
    const found = new Map<string, Bounded & { readonly context: StaleContext }>()
    const corrections: Corrections = { raised: [], missing: [] }
    let first: (Bounded & { readonly context: StaleContext })[] = []
    for (let offset = 0; ; offset += pageSize) {
      const page = await this.#oldest(updated, before, offset)
      const [seen, touched] = await Promise.all([this.#seen(page), this.#touched(page)])
      for (const [index, { id, bound }] of page.entries()) {
        const item = seen[index]!
        if (item === 'absent') corrections.missing.push(id)
        if (typeof item === 'string') continue
        const usedAt = Math.max(item.updatedAt, touched[index]!)
        if (usedAt > bound) corrections.raised.push([usedAt, id])
        if (usedAt < before) found.set(id, { id, bound: usedAt, context: item.context })
      }
      first = [...found.values()].toSorted(inOrder).slice(0, limit)
      // What was not looked at is no older than the last one that was.
      if (page.length < pageSize || (first.length === limit && inOrder(first.at(-1)!, page.at(-1)!) <= 0)) break
    }
    await this.#correct(updated, corrections, before)
    return first.map(({ context }) => context)
  }

  /** See `ContextBackend.prunable`. */
  async prunable({ before, maxVersions, limit }: PrunableQuery): Promise<string[]> {
    const found = new Set<string>()
    if (before > 0) await this.#findOld(found, before, limit)
    if (maxVersions > 0) await this.#findLong(found, maxVersions, limit)
    return [...found].slice(0, limit)
  }

  async #findOld(found: Set<string>, before: number, limit: number): Promise<void> {
    const [, , , , logged] = this.#names.index
    const corrections: Corrections = { raised: [], missing: [] }
    const empty: Bounded[] = []
    for (let offset = 0, length = pageSize; length === pageSize && found.size < limit; offset += pageSize) {
      const page = await this.#oldest(logged, before, offset)
      length = page.length
      const seen = await this.#seen(page)
      for (const [index, item] of page.entries()) {
        const context = seen[index]!
        if (context === 'absent') corrections.missing.push(item.id)
        if (typeof context === 'string') continue
        if (context.oldest === null) empty.push(item)
        else if (context.oldest < before) found.add(item.id)
        else if (boundOf(context.oldest) > item.bound) corrections.raised.push([boundOf(context.oldest), item.id])
      }
    }
    for (let from = 0; from < empty.length; from += pageSize) {
      const args = empty.slice(from, from + pageSize).flatMap(({ id, bound }) => [id, String(bound)])
      await this.#servers.run(unlogScript, [logged], args)
    }
    await this.#correct(logged, corrections, before)
  }

  async #findLong(found: Set<string>, maxVersions: number, limit: number): Promise<void> {
    for (let last: string | null = null; found.size < limit;) {
      const ids: string[] = await this.#index.page({ prefix: '', order: 'asc' }, last)
      const long = await Promise.all(ids.map((id) => this.#isLong(id, maxVersions)))
      const candidates = ids.filter((id, index) => long[index] && !found.has(id)).map((id) => ({ id, bound: 0 }))
      for (const item of await this.#seen(candidates)) {
        if (typeof item !== 'string' && item.context.logged > maxVersions) found.add(item.context.contextId)
      }
      last = ids.at(-1) ?? null
      if (ids.length < pageSize) break
    }
  }

  /** Whether a log may have more entries than that. */
  async #isLong(contextId: string, maxVersions: number): Promise<boolean> {
    const [row] = this.#names.context(contextId)
    const [version, first] = (await unlessDamaged(this.#servers.send(row, (client) => client.hmget(row, 'v', 'fv')))) ?? []
    return Number(version ?? 0) - Number(first ?? 1) + 1 > maxVersions
  }

  /** Ids with the lowest bounds below another, in order. */
  async #oldest(key: string, before: number, offset: number): Promise<Bounded[]> {
    const flat = await this.#servers.send(key, (client) =>
      client.zrangebyscore(key, '-inf', `(${before}`, 'WITHSCORES', 'LIMIT', offset, pageSize),
    )
    const page: Bounded[] = []
    for (let at = 0; at < flat.length; at += 2) page.push({ id: flat[at]!, bound: Number(flat[at + 1]) })
    return page
  }

  async #touched(page: readonly Bounded[]): Promise<number[]> {
    if (page.length === 0) return []
    const [, , , touched] = this.#names.index
    const times = await this.#servers.send(touched, (client) => client.zmscore(touched, ...page.map(({ id }) => id)))
    return times.map((time) => Number(time ?? 0))
  }

  async #seen(page: readonly Bounded[]): Promise<(Seen | 'absent' | 'damaged')[]> {
    return await Promise.all(page.map(({ id }) => this.#look(id)))
  }

  async #look(contextId: string): Promise<Seen | 'absent' | 'damaged'> {
    const reply = (await unlessDamaged(this.#servers.run(lookScript, this.#names.context(contextId), []))) as readonly string[] | null
    if (reply === null) return 'damaged'
    const [incarnation, version, revision, updatedAt, logged, oldest] = reply
    if (version === undefined) return 'absent'
    const context = { contextId, head: headOf(incarnation!, version, revision!), logged: Number(logged) }
    return { context, updatedAt: Number(updatedAt), oldest: oldest ? Number(oldest) : null }
  }

  async #correct(key: string, { raised, missing }: Corrections, before: number): Promise<void> {
    for (let from = 0; from < raised.length; from += pageSize) {
      const pairs = raised.slice(from, from + pageSize).flat()
      await this.#servers.send(key, (client) => client.zadd(key, 'XX', 'GT', ...pairs))
    }
    await this.#index.clean(missing, before)
  }
}

/** What was read; null: another program has put something else there, or it is being restored. The other contexts are wanted all the same. */
async function unlessDamaged<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading
  } catch (error) {
    if (reasonOf(error) === 'WRONGTYPE' || reasonOf(error) === 'DAMAGED') return null
    throw error
  }
}
