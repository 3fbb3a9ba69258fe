import type { Head } from '@contextd/protocol'
import type { CommitBatch, ContextBackend, LockRequest, PrunableQuery, SyncQuery } from '../backends/backend.ts'
import type { StoreModel } from '../backends/store-model.ts'
import { BatchMaker, author, lockKeys, sessionTtlMs } from './batch-maker.ts'
import { sameAnswer, sameLocks, somePrunable } from './compare-answers.ts'
import type { Random } from './random.ts'

/** The calls that are made. */
type CallName = Exclude<keyof ContextBackend, 'name' | 'close' | 'open' | 'publishing'>

/** One call, to be made on the model and on a backend. */
export interface StoreCall {
  readonly name: CallName
  readonly input: unknown
  readonly onModel: (model: StoreModel) => unknown
  readonly onBackend: (backend: ContextBackend) => Promise<unknown>
  /** @throws an error where the backend's answer is not what the model's says it must be */
  readonly compare: (actual: unknown, expected: unknown) => void
}

const hourMs = 3_600_000
const contextCount = 40
/** So long that no lease ends within a run: a store with a clock of its own knows nothing of the time in the calls. */
const leaseMs = 20 * 365 * 24 * hourMs
const everything = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

/** Makes calls that are mostly near what the store holds, and often beside it. */
export class CallMaker {
  readonly #random: Random
  readonly #model: StoreModel
  readonly #ids: readonly string[]
  readonly #make: BatchMaker
  /** Batches that were given, to be given again. */
  readonly #batches = new Map<string, CommitBatch>()

  constructor(random: Random, model: StoreModel, prefix: string) {
    this.#random = random
    this.#model = model
    this.#make = new BatchMaker(random, model)
    this.#ids = Array.from({ length: contextCount }, (_, index) => `${prefix}${random.pick(['a', 'b', 'B', 'a_', 'a.'])}${index}`)
  }

  /** Calls that may be made at once: on different contexts, or such as look at several and change nothing. */
  nextGroup(): StoreCall[] {
    const random = this.#random
    // A long pause now and then, so that sessions and records grow old.
    this.#make.now += random.chance(0.01) ? random.below(40 * hourMs) : random.below(2_000)
    if (random.chance(0.03)) return [this.#touch(this.#someIds())]
    if (random.chance(0.1)) return Array.from({ length: 1 + random.below(10) }, () => this.#lookAtSeveral())
    const ids = this.#ids.filter(() => random.chance(0.6))
    return ids.map((id) => this.#callOn(id))
  }

  /** Calls that show all that is stored, one after the other. */
  lookAtEverything(): StoreCall[] {
    const calls = [
      this.#listing(everything),
      this.#headsAt(this.#ids),
      this.#stale(this.#make.now + 1, 1_000),
      this.#prunable({ before: this.#make.now + 1, maxVersions: 0, limit: 1_000 }),
    ]
    for (const id of this.#ids) {
      calls.push(this.#load(id), this.#logAt(id, 0), this.#dump(id), this.#locks(id))
      const record = this.#model.copy(id).records
      for (const key of [...record.keys(), 'unknown']) {
        const epoch = record.get(key)?.epoch ?? 0
        calls.push(this.#syncing({ ...this.#nothingKnown(id), stream: { key, mintedAt: this.#make.now, epoch, told: 0, settled: 0 } }))
      }
    }
    return calls
  }

  #lookAtSeveral(): StoreCall {
    const random = this.#random
    const kind = random.weighted({ list: 2, heads: 2, stale: 3, prunable: 3 })
    const before = this.#make.now - random.below(20_000)
    if (kind === 'list') return this.#list()
    if (kind === 'heads') return this.#headsAt(this.#someIds())
    if (kind === 'stale') return this.#stale(before, random.below(12))
    const maxVersions = random.chance(0.5) ? 1 + random.below(15) : 0
    return this.#prunable({ before: random.chance(0.7) ? before : 0, maxVersions, limit: random.below(12) })
  }

  #callOn(id: string): StoreCall {
    const random = this.#random
    const kind = random.weighted({
      commit: 60,
      again: 6,
      sync: 24,
      load: 4,
      log: 4,
      dump: 2,
      restore: 2,
      lock: 9,
      expire: 1,
      prune: 4,
      touch: 1,
    })
    if (kind === 'sync') return this.#sync(id)
    if (kind === 'load') return this.#load(id)
    if (kind === 'log') return this.#logAt(id, random.below((this.#make.head(id).version || 3) + 3))
    if (kind === 'dump') return this.#dump(id)
    if (kind === 'restore') return this.#restore(id)
    if (kind === 'lock') return this.#lockCall(id)
    if (kind === 'prune') return this.#prune(id)
    if (kind === 'touch') return this.#touch([id])
    if (kind === 'expire') return this.#commit(this.#make.expiry(id))
    const again = this.#batches.get(id)
    return this.#commit(kind === 'again' && again ? { ...again, now: this.#make.now } : this.#make.batch(id))
  }

  #commit(batch: CommitBatch): StoreCall {
    this.#batches.set(batch.contextId, batch)
    const onModel = (model: StoreModel): unknown => {
      const result = model.commit(batch)
      if (result.type === 'committed') this.#make.remember(batch)
      return result
    }
    return { name: 'commit', input: batch, onModel, onBackend: (backend) => backend.commit(batch), compare: sameAnswer }
  }

  #restore(id: string): StoreCall {
    const batch = this.#make.restore(id, this.#random.pick(this.#ids))
    const onModel = (model: StoreModel): unknown => {
      const base: Head = this.#make.head(id)
      const result = model.restore(batch)
      if (result.type === 'restored') this.#make.remember({ ...batch, base, entries: [] })
      return result
    }
    return { name: 'restore', input: batch, onModel, onBackend: (backend) => backend.restore(batch), compare: sameAnswer }
  }

  #sync(id: string): StoreCall {
    const random = this.#random
    const make = this.#make
    const key = make.key()
    const record = this.#model.copy(id).records.get(key)
    const last = record?.last ?? 0
    const stream = {
      key,
      mintedAt: make.mintedAt(),
      epoch: (record?.epoch ?? 0) + (random.chance(0.05) ? random.below(3) : 0),
      told: random.chance(0.05) ? last + random.below(3) : random.below(last + 1),
      settled: random.below(last + (random.chance(0.05) ? 3 : 1)),
    }
    const maxVersions = random.chance(0.2) ? 1 + random.below(4) : 0
    return this.#syncing({ ...this.#nothingKnown(id), head: make.someHead(id), known: make.someHead(id), maxVersions, stream })
  }

  /** Takes, extends, ends and lists holds; the same few, so that they meet. */
  #lockCall(contextId: string): StoreCall {
    const random = this.#random
    const kind = random.weighted({ lock: 5, extend: 2, unlock: 3, locks: 1 })
    if (kind === 'locks') return this.#locks(contextId)
    const key = random.pick(lockKeys)
    const hold = `hold-${random.below(3)}`
    // Clocks of nodes differ.
    const now = this.#make.now - random.below(3_000)
    if (kind === 'unlock') {
      return {
        name: 'unlock',
        input: [contextId, key, hold, now],
        onModel: (model) => model.unlock(contextId, key, hold, now),
        onBackend: (backend) => backend.unlock(contextId, key, hold, now),
        compare: sameAnswer,
      }
    }
    const holder = random.chance(0.5) ? author : { userId: null, actor: 'server' }
    const request: LockRequest = { contextId, key, hold, holder, ttlMs: leaseMs + random.below(1_000), extend: kind === 'extend', now }
    return {
      name: 'lock',
      input: request,
      onModel: (model) => model.lock(request),
      onBackend: (backend) => backend.lock(request),
      compare: sameLocks,
    }
  }

  #prune(contextId: string): StoreCall {
    const random = this.#random
    const make = this.#make
    const base = (random.chance(0.85) ? make.head(contextId) : make.someHead(contextId)) ?? make.head(contextId)
    const batch = {
      contextId,
      base,
      snapshot: random.chance(0.5) ? make.state(base.version) : null,
      before: random.chance(0.7) ? make.now - random.below(6_000) : 0,
      maxVersions: random.chance(0.4) ? 1 + random.below(10) : 0,
    }
    return {
      name: 'prune',
      input: batch,
      onModel: (model) => model.prune(batch),
      onBackend: (backend) => backend.prune(batch),
      compare: sameAnswer,
    }
  }

  #nothingKnown(contextId: string): Omit<SyncQuery, 'stream'> {
    return { contextId, head: null, known: null, now: this.#make.now, sessionTtlMs, maxVersions: 0 }
  }

  #list(): StoreCall {
    const random = this.#random
    return this.#listing({
      limit: random.below(10),
      offset: random.chance(0.5) ? 0 : random.below(20),
      order: random.pick(['asc', 'desc']),
      prefix: random.chance(0.5) ? '' : random.pick(this.#ids).slice(0, -1 - random.below(2)),
      updatedSince: random.chance(0.5) ? 0 : this.#make.now - random.below(10_000),
    })
  }

  #someIds(): string[] {
    return Array.from({ length: this.#random.below(8) }, () => this.#random.pick([...this.#ids, 'unknown']))
  }

  #syncing(query: SyncQuery): StoreCall {
    return call('sync', query, (store) => store.sync(query))
  }
  #load(id: string): StoreCall {
    return call('load', id, (store) => store.load(id))
  }
  #logAt(id: string, after: number): StoreCall {
    return call('log', [id, after], (store) => store.log(id, after))
  }
  #headsAt(ids: readonly string[]): StoreCall {
    return call('heads', ids, (store) => store.heads(ids))
  }
  #listing(query: Parameters<ContextBackend['list']>[0]): StoreCall {
    return call('list', query, (store) => store.list(query))
  }
  #dump(id: string): StoreCall {
    return call('dump', id, (store) => store.dump(id))
  }
  #touch(ids: readonly string[]): StoreCall {
    const { now } = this.#make
    return call('touch', [ids, now], (store) => store.touch(ids, now))
  }
  #stale(before: number, limit: number): StoreCall {
    return call('stale', [before, limit], (store) => store.stale(before, limit))
  }
  #locks(id: string): StoreCall {
    const { now } = this.#make
    return { ...call('locks', id, (store) => store.locks(id, now)), compare: sameLocks }
  }
  #prunable(query: PrunableQuery): StoreCall {
    // Any of them may be answered: the model says which there are.
    const onModel = (model: StoreModel): unknown => model.prunable({ ...query, limit: contextCount })
    return { ...call('prunable', query, (store) => store.prunable(query)), onModel, compare: somePrunable(query.limit) }
  }
}

/** A call that is the same on both. */
function call(name: CallName, input: unknown, run: (store: StoreModel | ContextBackend) => unknown): StoreCall {
  return { name, input, onModel: run, onBackend: async (backend) => run(backend), compare: sameAnswer }
}
