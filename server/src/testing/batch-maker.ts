import type { Head, Verdict } from '@contextd/protocol'
import { revisionOf } from '@contextd/protocol'
import { noHead } from '../backends/backend.ts'
import type {
  BatchMember,
  CommitBatch,
  LockDemand,
  LogEntry,
  RestoreBatch,
  Retention,
  StoredStream,
  StreamPosition,
} from '../backends/backend.ts'
import type { StoreModel } from '../backends/store-model.ts'
import type { Random } from './random.ts'

const hourMs = 3_600_000
export const sessionTtlMs = 6 * hourMs
const streamCount = 5
export const author = { userId: 'zoë 😀', actor: 'tab' }
/** Keys that are locked. */
export const lockKeys = ['doc', 'doc.a', 'B', '0'] as const
/** Texts that are easily damaged on their way, as they stand inside JSON text. */
const oddTexts = ['plain', 'é\u2028ü', '😀😀', '\u0000"\\\n', '\ud83d', '</script>', 'x'.repeat(700), ''] as const

/** Makes what is written into a store, near what it holds and often beside it: stale bases, repeats, gaps, other epochs and incarnations. */
export class BatchMaker {
  /** The time, ms; whoever makes calls moves it on. */
  now = 1_700_000_000_000
  readonly #random: Random
  readonly #model: StoreModel
  /** Heads that contexts had, newest last; they are the clients' and the nodes' knowledge. */
  readonly #heads = new Map<string, Head[]>()
  #tokens = 0

  constructor(random: Random, model: StoreModel) {
    this.#random = random
    this.#model = model
  }

  head(id: string): Head {
    return this.#model.heads([id])[0]!
  }

  /** Notes a batch that was stored. */
  remember({ contextId, base, entries, head }: Pick<CommitBatch, 'contextId' | 'base' | 'entries' | 'head'>): void {
    const heads = this.#heads.get(contextId) ?? []
    for (const { version, revision } of entries) heads.push({ incarnation: head.incarnation, version, revision })
    if (entries.length === 0 && head.revision !== base.revision) heads.push(head)
    this.#heads.set(contextId, heads.slice(-30))
  }

  /** What somebody may know of a context: its head, an earlier one, or one that never was in its history. */
  someHead(id: string): Head | null {
    const random = this.#random
    const head = this.head(id)
    const heads = this.#heads.get(id) ?? []
    const kind = random.weighted({ nothing: 15, head: 25, near: 25, old: 25, lost: 4, ahead: 3, other: 3 })
    if (kind === 'head') return head
    if (kind === 'near') return heads.at(-1 - random.below(4)) ?? head
    if (kind === 'old') return heads.length > 0 ? random.pick(heads) : noHead
    if (kind === 'lost') return { ...(heads.length > 0 ? random.pick(heads) : head), revision: this.token() }
    if (kind === 'ahead') return { ...head, version: head.version + 1 + random.below(3), revision: this.token() }
    if (kind === 'other') return { ...head, incarnation: this.token() }
    return null
  }

  batch(contextId: string): CommitBatch {
    const random = this.#random
    const base = (random.chance(0.85) ? this.head(contextId) : this.someHead(contextId)) ?? noHead
    const token = this.token()
    const remove = base.version > 0 && random.chance(0.04)
    const incarnation = base.version === 0 ? `i${token}` : base.incarnation
    const entries: LogEntry[] = []
    const locking = random.chance(0.15)
    let head = base
    const members: BatchMember[] = this.#positions(contextId).map((stream) => {
      const kind = random.weighted({ applied: 8, nothing: 1, refused: 1 })
      if (kind === 'nothing') return { stream, verdict: { type: 'nothing', head } }
      if (kind === 'refused') return { stream, verdict: this.#refusal() }
      const revision = revisionOf(token, entries.length)
      if (remove) head = { incarnation: '', version: 0, revision }
      else {
        const next = { incarnation, version: head.version + 1, revision }
        entries.push(this.#entry(next, head, stream?.seq ?? 0))
        head = next
      }
      const locks = locking && random.chance(0.6) ? { locks: this.#demands(contextId) } : {}
      return { stream, verdict: { type: 'applied', head }, ...locks }
    })
    const created = base.version === 0 && entries.length > 0
    return {
      contextId,
      base,
      head,
      now: this.now,
      sessionTtlMs,
      members,
      entries,
      snapshot: created || (entries.length > 0 && random.chance(0.25)) ? this.state(head.version) : null,
      updatedBy: random.chance(0.5) ? author : { userId: null, actor: 'server' },
      schema: remove || random.chance(0.8) ? 0 : random.below(4),
      remove: remove && head !== base,
      retention: this.#retention(),
      message: entries.length > 0 ? messageOf(contextId, head) : null,
    }
  }

  /** A delete without a member: what a cleanup does. */
  expiry(contextId: string): CommitBatch {
    const base = (this.#random.chance(0.7) ? this.head(contextId) : this.someHead(contextId)) ?? noHead
    const head = base.version > 0 ? { incarnation: '', version: 0, revision: this.token() } : base
    const batch = { ...this.batch(contextId), base, head, members: [], entries: [], snapshot: null, schema: 0 }
    return { ...batch, remove: base.version > 0, message: base.version > 0 ? messageOf(contextId, head) : null }
  }

  /** A restore: of this context or another as it is now, or of one that nobody has seen. */
  restore(contextId: string, from: string): RestoreBatch {
    const random = this.#random
    const dump = random.chance(0.7) ? this.#model.dump(from) : null
    const token = this.token()
    const head = { incarnation: `i${token}`, version: 1 + random.below(60), revision: `r${token}` }
    const { createdAt, updatedAt, schema } = dump?.stored.row ?? {
      createdAt: this.now - 5,
      updatedAt: this.now - random.below(3_000),
      schema: 1,
    }
    const restored = dump !== null && random.chance(0.7) ? dump.stored.row.head : head
    return {
      contextId,
      base: random.chance(0.4) ? null : random.chance(0.6) ? this.head(contextId) : this.someHead(contextId),
      head: restored,
      now: this.now,
      sessionTtlMs,
      createdAt,
      updatedAt,
      updatedBy: author,
      schema,
      snapshot: dump?.stored.snapshot ?? this.state(restored.version),
      streams: [...(dump?.streams ?? []), ...(random.chance(0.3) ? [this.#stream(`archived-${random.below(4)}`)] : [])],
      message: random.chance(0.8) ? messageOf(contextId, restored) : null,
    }
  }

  state(version: number): string {
    return JSON.stringify({ text: this.#random.pick(oddTexts), at: version })
  }

  /** Name of a session's stream. */
  key(): string {
    // Sessions come and go, so that records grow old.
    return `session-${Math.floor(this.now / (12 * hourMs)) % 7}-${this.#random.below(streamCount)}`
  }

  mintedAt(): number {
    return this.now - (this.#random.chance(0.03) ? sessionTtlMs + this.#random.below(2) : this.#random.below(hourMs))
  }

  token(): string {
    this.#tokens += 1
    return `t${this.#tokens.toString(36).padStart(7, '0')}`
  }

  #stream(key: string): StoredStream {
    const last = 1 + this.#random.below(5)
    return {
      key,
      epoch: this.#random.below(3),
      last,
      verdicts: [[last, this.#refusal()]],
      usedAt: this.now - this.#random.below(60 * hourMs),
    }
  }

  /** What a commit demands: mostly what is so. */
  #demands(id: string): LockDemand[] {
    const random = this.#random
    const held = new Map(this.#model.locks(id, this.now).map(({ key, token }) => [key, token]))
    return Array.from({ length: 1 + random.below(3) }, () => {
      const key = random.pick(lockKeys)
      const token = held.get(key) ?? null
      if (random.chance(0.85)) return { key, token }
      return { key, token: token === null || random.chance(0.5) ? this.now - random.below(3) : random.chance(0.5) ? token + 1 : null }
    })
  }

  /** Places of a batch's members: mostly the next ones of their streams. */
  #positions(id: string): (StreamPosition | null)[] {
    const random = this.#random
    const next = new Map<string, number>()
    const { records } = this.#model.copy(id)
    return Array.from({ length: 1 + random.below(random.chance(0.2) ? 8 : 3) }, () => {
      if (random.chance(0.25)) return null
      const key = this.key()
      const record = records.get(key)
      const seq = next.get(key) ?? (record?.last ?? 0) + 1
      next.set(key, seq + 1)
      const slip = random.weighted({ none: 94, repeat: 3, gap: 2, epoch: 1 })
      return {
        key,
        mintedAt: this.mintedAt(),
        epoch: Math.max(0, (record?.epoch ?? 0) + (slip === 'epoch' ? random.below(4) - 1 : 0)),
        seq: slip === 'repeat' ? Math.max(1, seq - random.below(4)) : slip === 'gap' ? seq + 1 + random.below(2) : seq,
        settled: random.chance(0.4) ? Math.max(0, seq - 1 - random.below(6)) : 0,
      }
    })
  }

  #entry({ version, revision }: Head, base: Head, seq: number): LogEntry {
    // An earlier time than now: a batch is stored after it was computed, and clocks of nodes differ.
    const committedAt = this.now - this.#random.below(500)
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
      before: this.now - random.below(4_000),
      softSize: random.below(6_000),
      hardSize: random.chance(0.1) ? random.below(5_000) : 1_000_000,
      maxVersions: random.chance(0.2) ? 1 + random.below(20) : 0,
    }
  }
}

const messageOf = (contextId: string, { incarnation, version, revision }: Head): string =>
  JSON.stringify(['h', [contextId, incarnation, version, revision]])
