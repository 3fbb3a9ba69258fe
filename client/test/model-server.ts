import { applyOperations, diff, isContextdError, packChanges, revisionOf } from '@contextd/protocol'
import type {
  DeltaFrame,
  Head,
  HeadFrame,
  JsonObject,
  JsonValue,
  Operation,
  StreamRecord,
  SyncReply,
  Verdict,
  VerdictFrame,
  WireCommit,
} from '@contextd/protocol'
import type { Replica } from '../src/replica.ts'

type Outcomes = VerdictFrame[3]
interface Logged {
  readonly base: Head
  readonly revision: string
  readonly actor: string
  readonly seq: number
  readonly changes: JsonValue[]
}
interface Stored {
  head: Head
  state: JsonObject | null
  log: Logged[]
  records: Map<string, StreamRecord>
}
type Sync = NonNullable<ReturnType<Replica['takeSync']>>

/** One context as a server has it, in a few lines: what a replica is told in tests. Every commit is a batch of its own. */
export class ModelServer {
  #stored: Stored = { head: { incarnation: '', version: 0, revision: '' }, state: null, log: [], records: new Map() }
  #minted = 0
  /** Codes with which commits are refused, by the first value that they set. */
  readonly refuses = new Map<JsonValue, 'forbidden' | 'conflict'>()

  get head(): Head {
    return this.#stored.head
  }
  get state(): JsonObject | null {
    return this.#stored.state
  }
  record(actor: string): StreamRecord {
    return this.#stored.records.get(actor) ?? { epoch: 0, last: 0, verdicts: [] }
  }
  /** What a backup holds. */
  dump(): Stored {
    return { ...this.#stored, log: [...this.#stored.log], records: new Map(this.#stored.records) }
  }
  restore(dump: Stored): void {
    this.#stored = { ...dump, log: [...dump.log], records: new Map(dump.records) }
  }
  trimLog(): void {
    this.#stored.log = []
  }

  /** A write of the server itself, told as a delta. */
  write(operations: readonly Operation[], initial: JsonObject = {}): DeltaFrame {
    return this.#apply('server', 0, operations, initial)!
  }
  remove(): HeadFrame {
    this.#stored.head = { incarnation: '', version: 0, revision: this.#mint() }
    this.#stored.state = null
    this.#stored.log = []
    return this.headFrame()
  }
  headFrame(): HeadFrame {
    const { incarnation, version, revision } = this.head
    return ['c', incarnation, version, revision]
  }

  /** A `commit` message: the frames that it makes, and what is told to the session alone (P5). */
  commit(
    actor: string,
    { epoch, settled, commits }: { epoch: number; settled: number; commits: readonly WireCommit[] },
  ): { frames: DeltaFrame[]; outcomes: Outcomes } {
    const frames: DeltaFrame[] = []
    const outcomes: Outcomes = []
    for (const commit of commits) {
      const record = this.record(actor)
      if (record.epoch !== epoch) outcomes.push([commit.seq, { type: 'fenced' }])
      else if (commit.seq <= record.last) outcomes.push([commit.seq, verdictIn(record, commit.seq)])
      else if (commit.seq > record.last + 1) outcomes.push([commit.seq, { type: 'gap' }])
      else {
        const { verdict, frame } = this.#decide(actor, commit)
        const verdicts: StreamRecord['verdicts'] = [...record.verdicts.filter(([seq]) => seq > settled), [commit.seq, verdict]]
        this.#stored.records.set(actor, { epoch, last: commit.seq, verdicts })
        if (frame) frames.push(frame)
        else outcomes.push([commit.seq, verdict])
      }
    }
    return { frames, outcomes }
  }

  /** A sync (P10, P11). */
  sync(actor: string, { head, epoch, told, settled }: Sync): SyncReply {
    const was = this.record(actor)
    const mine = this.head
    const known =
      head !== null &&
      this.#history().some((at) => at.incarnation === head.incarnation && at.version === head.version && at.revision === head.revision)
    const gone =
      head !== null &&
      head.incarnation === mine.incarnation &&
      !known &&
      (head.version >= mine.version || this.#stored.log.length >= mine.version)
    const fence = gone || was.epoch !== epoch || was.last < told
    const record = fence ? { epoch: Math.max(was.epoch, epoch) + 1, last: Math.max(was.last, settled), verdicts: was.verdicts } : was
    if (fence) this.#stored.records.set(actor, record)
    return { answer: this.#answer(head, known), record, before: fence ? was : null, reset: gone ? 'rolled_back' : null, access: 'write' }
  }

  #history(): Head[] {
    const heads = this.#stored.log.map(({ revision, base }) => ({
      incarnation: this.head.incarnation,
      version: base.version + 1,
      revision,
    }))
    return [this.head, ...heads]
  }

  #answer(from: Head | null, known: boolean): SyncReply['answer'] {
    const { head, state, log } = this.#stored
    if (from && from.version === head.version && from.revision === head.revision && from.incarnation === head.incarnation)
      return { type: 'same', head }
    if (state === null) return { type: 'absent', head }
    if (!known || from === null || from.version === 0) {
      const updatedBy = { userId: null, actor: 'server' }
      return { type: 'full', head, state: structuredClone(state), createdAt: 0, updatedAt: 0, updatedBy }
    }
    const missed = log.filter(({ base }) => base.version >= from.version)
    const actors = [...new Set(missed.map(({ actor }) => actor))]
    return {
      type: 'delta',
      authors: actors.map((actor) => [null, actor]),
      commits: missed.map(({ revision, actor, seq, changes }) => [revision, 0, actors.indexOf(actor), seq, changes]),
    }
  }

  #decide(actor: string, commit: WireCommit): { verdict: Verdict; frame: DeltaFrame | null } {
    const { seq, incarnation, initial } = commit
    const operations = commit.operations as unknown as readonly Operation[]
    const refused = (code: 'not_found' | 'forbidden' | 'conflict'): { verdict: Verdict; frame: null } =>
      only({ type: 'refused', code, message: code })
    if (operations.length === 0 && !commit.delete) return only({ type: 'nothing', head: this.head })
    if (incarnation !== '' && incarnation !== this.head.incarnation) return refused('not_found')
    const [first] = operations
    const code = first?.type === 'set' ? this.refuses.get(first.value) : undefined
    if (code) return refused(code)
    if (commit.delete) {
      if (this.state === null) return only({ type: 'nothing', head: this.head })
      this.remove()
      return only({ type: 'applied', head: this.head })
    }
    try {
      const frame = this.#apply(actor, seq, operations, (initial ?? null) as JsonObject | null)
      return frame ? { verdict: { type: 'applied', head: this.head }, frame } : only({ type: 'nothing', head: this.head })
    } catch (error) {
      if (!isContextdError(error)) throw error
      return refused('conflict')
    }
  }

  #apply(actor: string, seq: number, operations: readonly Operation[], initial: JsonObject | null): DeltaFrame | null {
    const { head, state } = this.#stored
    const { state: next, changes } = applyOperations(state ?? initial ?? {}, operations)
    if (state !== null && next === state) return null
    const revision = this.#mint()
    const incarnation = state === null ? `life${revision}` : head.incarnation
    const packed = packChanges(state === null ? diff({}, next) : changes)
    this.#stored.log.push({ base: head, revision, actor, seq, changes: packed })
    this.#stored.head = { incarnation, version: head.version + 1, revision: revisionOf(revision, 0) }
    this.#stored.state = next
    return ['c', incarnation, head.version, head.revision, revision, 0, [[null, actor]], [[0, seq, packed]]]
  }

  #mint(): string {
    this.#minted += 1
    return `r${this.#minted}`
  }
}

function verdictIn({ verdicts }: StreamRecord, seq: number): Verdict {
  return verdicts.find(([number]) => number === seq)?.[1] ?? { type: 'applied', head: null }
}

const only = (verdict: Verdict): { verdict: Verdict; frame: null } => ({ verdict, frame: null })
