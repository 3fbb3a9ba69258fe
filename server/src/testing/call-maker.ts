import type { Head, Verdict } from '@contextd/protocol'
import { revisionOf } from '@contextd/protocol'
import { noHead } from '../backends/backend.ts'
import type { BatchMember, CommitBatch, ContextBackend, LogEntry, Retention, StreamPosition, SyncQuery } from '../backends/backend.ts'
import type { StoreModel } from '../backends/store-model.ts'
import type { Random } from './random.ts'

/** One call, to be made on the model and on a backend. */
export interface StoreCall {
  readonly name: 'commit' | 'sync' | 'load' | 'log' | 'heads' | 'list'
  readonly input: unknown
  readonly onModel: (model: StoreModel) => unknown
  readonly onBackend: (backend: ContextBackend) => Promise<unknown>
}

const hourMs = 3_600_000
const sessionTtlMs = 6 * hourMs
const contextCount = 40
const streamCount = 5
const author = { userId: 'zoë 😀', actor: 'tab' }
/** Texts that are easily damaged on their way, as they stand inside JSON text. */
const oddTexts = ['plain', 'é\u2028ü', '😀😀', '\u0000"\\\n', '\ud83d', '</script>', 'x'.repeat(700), ''] as const

/** Makes calls that are mostly near what the store holds, and often beside it: stale bases, repeats, gaps, other epochs and incarnations. */
export class CallMaker {
  readonly #random: Random
  readonly #model: StoreModel
  readonly #ids: readonly string[]
  /** Heads that contexts had, newest last; they are the clients' and the nodes' knowledge. */
  readonly #heads = new Map<string, Head[]>()
  /** Batches that were given, to be given again. */
  readonly #batches = new Map<string, CommitBatch>()
  #now = 1_700_000_000_000
  #tokens = 0

  constructor(random: Random, model: StoreModel, prefix: string) {
    this.#random = random
    this.#model = model
    this.#ids = Array.from({ length: contextCount }, (_, index) => `${prefix}${random.pick(['a', 'b', 'B', 'a_', 'a.'])}${index}`)
  }

  /** Calls that may be made at once: on different contexts, or a single one that looks at several. */
  nextGroup(): StoreCall[] {
    const random = this.#random
    // A long pause now and then, so that sessions and records grow old.
    this.#now += random.chance(0.01) ? random.below(40 * hourMs) : random.below(2_000)
    if (random.chance(0.06)) return [random.chance(0.5) ? this.#list() : this.#headsOf()]
    const ids = this.#ids.filter(() => random.chance(0.6))
    return ids.map((id) => this.#callOn(id))
  }

  /** Calls that show all that is stored, one after the other. */
  lookAtEverything(): StoreCall[] {
    const calls: StoreCall[] = [this.#listing({ limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 }), this.#headsAt(this.#ids)]
    for (const id of this.#ids) {
      calls.push(this.#load(id), this.#logAt(id, 0))
      const record = this.#model.copy(id).records
      for (const key of [...record.keys(), 'unknown']) {
        const epoch = record.get(key)?.epoch ?? 0
        calls.push(this.#syncing({ ...this.#nothingKnown(id), stream: { key, mintedAt: this.#now, epoch, told: 0, settled: 0 } }))
      }
    }
    return calls
  }

  #callOn(id: string): StoreCall {
    const kind = this.#random.weighted({ commit: 60, again: 6, sync: 24, load: 5, log: 5 })
    if (kind === 'sync') return this.#sync(id)
    if (kind === 'load') return this.#load(id)
    if (kind === 'log') return this.#logAt(id, this.#random.below((this.#head(id).version || 3) + 3))
    const again = this.#batches.get(id)
    return this.#commit(kind === 'again' && again ? { ...again, now: this.#now } : this.#batch(id))
  }

  #commit(batch: CommitBatch): StoreCall {
    this.#batches.set(batch.contextId, batch)
    const onModel = (model: StoreModel): unknown => {
      const result = model.commit(batch)
      if (result.type === 'committed') this.#remember(batch)
      return result
    }
    return { name: 'commit', input: batch, onModel, onBackend: (backend) => backend.commit(batch) }
  }

  #sync(id: string): StoreCall {
    const random = this.#random
    const key = this.#key()
    const record = this.#model.copy(id).records.get(key)
    const last = record?.last ?? 0
    const stream = {
      key,
      mintedAt: this.#mintedAt(),
      epoch: (record?.epoch ?? 0) + (random.chance(0.05) ? random.below(3) : 0),
      told: random.chance(0.05) ? last + random.below(3) : random.below(last + 1),
      settled: random.below(last + (random.chance(0.05) ? 3 : 1)),
    }
    const maxVersions = random.chance(0.2) ? 1 + random.below(4) : 0
    return this.#syncing({ ...this.#nothingKnown(id), head: this.#someHead(id), known: this.#someHead(id), maxVersions, stream })
  }

  #nothingKnown(contextId: string): Omit<SyncQuery, 'stream'> {
    return { contextId, head: null, known: null, now: this.#now, sessionTtlMs, maxVersions: 0 }
  }

  #syncing(query: SyncQuery): StoreCall {
    return { name: 'sync', input: query, onModel: (model) => model.sync(query), onBackend: (backend) => backend.sync(query) }
  }

  #load(id: string): StoreCall {
    return { name: 'load', input: id, onModel: (model) => model.load(id), onBackend: (backend) => backend.load(id) }
  }

  #logAt(id: string, after: number): StoreCall {
    return { name: 'log', input: [id, after], onModel: (model) => model.log(id, after), onBackend: (backend) => backend.log(id, after) }
  }

  #headsOf(): StoreCall {
    return this.#headsAt(Array.from({ length: this.#random.below(8) }, () => this.#random.pick([...this.#ids, 'unknown'])))
  }

  #headsAt(ids: readonly string[]): StoreCall {
    return { name: 'heads', input: ids, onModel: (model) => model.heads(ids), onBackend: (backend) => backend.heads(ids) }
  }

  #list(): StoreCall {
    const random = this.#random
    return this.#listing({
      limit: random.below(10),
      offset: random.chance(0.5) ? 0 : random.below(20),
      order: random.pick(['asc', 'desc']),
      prefix: random.chance(0.5) ? '' : random.pick(this.#ids).slice(0, -1 - random.below(2)),
      updatedSince: random.chance(0.5) ? 0 : this.#now - random.below(10_000),
    })
  }

  #listing(query: Parameters<ContextBackend['list']>[0]): StoreCall {
    return { name: 'list', input: query, onModel: (model) => model.list(query), onBackend: (backend) => backend.list(query) }
  }

  #head(id: string): Head {
    return this.#model.heads([id])[0]!
  }

  #remember({ contextId, base, entries, head }: CommitBatch): void {
    const heads = this.#heads.get(contextId) ?? []
    for (const { version, revision } of entries) heads.push({ incarnation: head.incarnation, version, revision })
    if (head.version === 0 && head.revision !== base.revision) heads.push(head)
    this.#heads.set(contextId, heads.slice(-30))
  }

  /** What somebody may know of a context: its head, an earlier one, or one that never was in its history. */
  #someHead(id: string): Head | null {
    const random = this.#random
    const head = this.#head(id)
    const heads = this.#heads.get(id) ?? []
    const kind = random.weighted({ nothing: 15, head: 25, near: 25, old: 25, lost: 4, ahead: 3, other: 3 })
    if (kind === 'head') return head
    if (kind === 'near') return heads.at(-1 - random.below(4)) ?? head
    if (kind === 'old') return heads.length > 0 ? random.pick(heads) : noHead
    if (kind === 'lost') return { ...(heads.length > 0 ? random.pick(heads) : head), revision: this.#token() }
    if (kind === 'ahead') return { ...head, version: head.version + 1 + random.below(3), revision: this.#token() }
    if (kind === 'other') return { ...head, incarnation: this.#token() }
    return null
  }

  #batch(contextId: string): CommitBatch {
    const random = this.#random
    const base = (random.chance(0.85) ? this.#head(contextId) : this.#someHead(contextId)) ?? noHead
    const token = this.#token()
    const remove = base.version > 0 && random.chance(0.04)
    const incarnation = base.version === 0 ? `i${token}` : base.incarnation
    const entries: LogEntry[] = []
    let head = base
    const members: BatchMember[] = this.#positions(contextId).map((stream) => {
      const kind = random.weighted({ applied: 8, nothing: 1, refused: 1 })
      if (kind === 'nothing') return { stream, verdict: { type: 'nothing', head }, locks: [] }
      if (kind === 'refused') return { stream, verdict: this.#refusal(), locks: [] }
      const revision = revisionOf(token, entries.length)
      if (remove) head = { incarnation: '', version: 0, revision }
      else {
        const next = { incarnation, version: head.version + 1, revision }
        entries.push(this.#entry(next, head, stream?.seq ?? 0))
        head = next
      }
      return { stream, verdict: { type: 'applied', head }, locks: [] }
    })
    const created = base.version === 0 && entries.length > 0
    return {
      contextId,
      base,
      head,
      now: this.#now,
      sessionTtlMs,
      members,
      entries,
      snapshot:
        created || (entries.length > 0 && random.chance(0.25)) ? JSON.stringify({ text: random.pick(oddTexts), at: head.version }) : null,
      updatedBy: random.chance(0.5) ? author : { userId: null, actor: 'server' },
      schema: remove ? 0 : 1,
      remove: remove && head !== base,
      retention: this.#retention(),
      message: entries.length > 0 ? JSON.stringify(['h', [contextId, head.incarnation, head.version, head.revision]]) : null,
    }
  }

  /** Places of a batch's members: mostly the next ones of their streams. */
  #positions(id: string): (StreamPosition | null)[] {
    const random = this.#random
    const next = new Map<string, number>()
    const { records } = this.#model.copy(id)
    return Array.from({ length: 1 + random.below(random.chance(0.2) ? 8 : 3) }, () => {
      if (random.chance(0.25)) return null
      const key = this.#key()
      const record = records.get(key)
      const seq = next.get(key) ?? (record?.last ?? 0) + 1
      next.set(key, seq + 1)
      const slip = random.weighted({ none: 94, repeat: 3, gap: 2, epoch: 1 })
      return {
        key,
        mintedAt: this.#mintedAt(),
        epoch: Math.max(0, (record?.epoch ?? 0) + (slip === 'epoch' ? random.below(4) - 1 : 0)),
        seq: slip === 'repeat' ? Math.max(1, seq - random.below(4)) : slip === 'gap' ? seq + 1 + random.below(2) : seq,
        settled: random.chance(0.4) ? Math.max(0, seq - 1 - random.below(6)) : 0,
      }
    })
  }

  #entry({ version, revision }: Head, base: Head, seq: number): LogEntry {
    // An earlier time than now: a batch is stored after it was computed, and clocks of nodes differ.
    const committedAt = this.#now - this.#random.below(500)
    const changes = [[1, ['text'], this.#random.pick(oddTexts), base.version]]
    const text = JSON.stringify([committedAt, version, revision, base.revision, author.userId, author.actor, seq, changes])
    return { version, revision, baseRevision: base.revision, committedAt, text }
  }

  #refusal(): Verdict {
    const message = this.#random.pick(oddTexts)
    if (this.#random.chance(0.5)) return { type: 'refused', code: 'invalid_operation', message }
    return { type: 'refused', code: 'conflict', message, details: { operations: [{ op: 'set', path: ['a', 1.5], value: null }] } }
  }

  #retention(): Retention {
    const random = this.#random
    return {
      before: this.#now - random.below(4_000),
      softSize: random.below(6_000),
      hardSize: random.chance(0.1) ? random.below(5_000) : 1_000_000,
      maxVersions: random.chance(0.2) ? 1 + random.below(20) : 0,
    }
  }

  #key(): string {
    // Sessions come and go, so that records grow old.
    return `session-${Math.floor(this.#now / (12 * hourMs)) % 7}-${this.#random.below(streamCount)}`
  }

  #mintedAt(): number {
    return this.#now - (this.#random.chance(0.03) ? sessionTtlMs + this.#random.below(2) : this.#random.below(hourMs))
  }

  #token(): string {
    this.#tokens += 1
    return `t${this.#tokens.toString(36).padStart(7, '0')}`
  }
}
