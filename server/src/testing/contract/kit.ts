import { deepStrictEqual } from 'node:assert'
import type { Author, Head, StreamRecord, Verdict } from '@contextd/protocol'
import { revisionOf } from '@contextd/protocol'
import { noHead } from '../../backends/backend.ts'
import type {
  CommitBatch,
  CommitResult,
  ContextBackend,
  LockDemand,
  LogEntry,
  Retention,
  StreamPosition,
  SyncQuery,
  SyncResult,
  SyncStream,
} from '../../backends/backend.ts'

/** A store to be tested: empty when it is made. */
export interface StoreUnderTest {
  /** Makes one more backend on this very store, not opened yet. A store that only one may use gives the same backend again. */
  readonly handle: () => ContextBackend
  /** Removes the store, after its backends were closed. */
  readonly remove?: () => Promise<void> | void
}

/** What a case of the contract works with. */
export interface Kit {
  /** An open backend on a store of its own. */
  readonly backend: ContextBackend
  /** Opens one more backend on the same store; it is closed after the case. */
  readonly another: () => Promise<ContextBackend>
  /** How long to wait for what must come, ms. */
  readonly patienceMs: number
}

/** A case of the contract: a fact, and what throws where it does not hold. */
export interface KitCase {
  readonly name: string
  readonly run: (kit: Kit) => Promise<void>
}
/** Writes down a case. */
export const fact = (name: string, run: (kit: Kit) => Promise<void>): KitCase => ({ name, run })

export const hourMs = 3_600_000
/** Life of a session in the contract's batches and queries, ms. */
export const sessionTtlMs = 10 * hourMs
/** Begin of the contract's time, ms. */
export const startAt = 1_700_000_000_000
export const contextId = 'contract:1'
export const author: Author = { userId: 'ada', actor: 'tab-1' }
/** Somebody else, with texts that are easily damaged on their way. */
export const otherAuthor: Author = { userId: 'zoë 😀', actor: 'tab "2"' }

/** Compares what a store answers with what it must: as JSON, so that a class or a missing prototype makes no difference. */
export function same(actual: unknown, expected: unknown, what?: string): void {
  deepStrictEqual(plain(actual), plain(expected), what)
}
const plain = (value: unknown): unknown => (value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown))

/** A commit of a batch to be made. */
export interface MemberSpec {
  /** Its place in a stream; none: a commit of the server. */
  readonly stream?: Partial<StreamPosition>
  /** Default: it is applied. */
  readonly verdict?: 'applied' | 'nothing' | 'refused'
  /** What it demands of locks; default nothing. */
  readonly locks?: readonly LockDemand[]
}
/** A batch to be made. */
export interface BatchSpec {
  readonly contextId?: string
  /** Default: the context was never there. */
  readonly base?: Head
  /** Default: one commit of the server, which is applied. */
  readonly members?: readonly MemberSpec[]
  /** Write a snapshot (always when the context is created). */
  readonly snapshot?: boolean
  readonly remove?: boolean
  readonly now?: number
  readonly retention?: Partial<Retention>
  /** Length of padding in each entry, and in the snapshot unless `statePad` says otherwise. */
  readonly pad?: number
  readonly statePad?: number
  readonly message?: string
  /** Version of the definition; default 0. */
  readonly schema?: number
  /** Default {@link author}. */
  readonly updatedBy?: Author
}

let made = 0
/** Token that no other batch of this process has. */
export const freshToken = (): string => `t${(++made).toString(36).padStart(7, '0')}`

/** A stream's position with the fields that matter. */
export const at = (seq: number, stream: Partial<StreamPosition> = {}): StreamPosition => ({
  key: 'stream-1',
  mintedAt: startAt,
  epoch: 0,
  settled: 0,
  seq,
  ...stream,
})

const keepAll: Retention = { before: 0, softSize: 1e9, hardSize: 1e9, maxVersions: 0 }

/** Makes a batch. */
export function batchOf(spec: BatchSpec = {}): CommitBatch {
  const { base = noHead, now = startAt, pad = 0, statePad = pad, remove = false } = spec
  const token = freshToken()
  const incarnation = base.version === 0 ? `i-${token}` : base.incarnation
  const entries: LogEntry[] = []
  let head = base
  const members = (spec.members ?? [{}]).map(({ stream, verdict = 'applied', locks = [] }) => {
    const position = stream ? at(stream.seq ?? 1, stream) : null
    if (verdict !== 'applied') return { stream: position, verdict: verdict === 'nothing' ? nothing(head) : refused, locks }
    const revision = revisionOf(token, entries.length)
    const next: Head = remove ? { incarnation: '', version: 0, revision } : { incarnation, version: head.version + 1, revision }
    if (!remove) entries.push(entryOf(next, head, now, position?.seq ?? 0, pad))
    head = next
    return { stream: position, verdict: appliedAt(head), locks }
  })
  const created = base.version === 0 && entries.length > 0
  return {
    contextId: spec.contextId ?? contextId,
    base,
    head,
    now,
    sessionTtlMs,
    members,
    entries,
    snapshot: created || spec.snapshot ? stateAt(head.version, statePad) : null,
    updatedBy: spec.updatedBy ?? author,
    schema: spec.schema ?? 0,
    remove,
    retention: { ...keepAll, ...spec.retention },
    message: spec.message ?? null,
  }
}

/** State of the contract's contexts at a version, as JSON text. */
export const stateAt = (version: number, pad = 0): string => JSON.stringify({ count: version, pad: 'x'.repeat(pad) })
export const nothing = (head: Head): Verdict => ({ type: 'nothing', head })
export const appliedAt = (head: Head | null): Verdict => ({ type: 'applied', head })
export const refused: Verdict = {
  type: 'refused',
  code: 'conflict',
  message: 'No longer so.',
  details: { operations: [{ op: 'é\u2028😀' }] },
}

/** An entry as the engine writes it; a store knows of its text only that it begins with the time. */
function entryOf({ version, revision }: Head, base: Head, committedAt: number, seq: number, pad: number): LogEntry {
  const changes = [[1, ['count'], version, `${base.version} ${'x'.repeat(pad)}`]]
  const text = JSON.stringify([committedAt, version, revision, base.revision, author.userId, author.actor, seq, changes])
  return { version, revision, baseRevision: base.revision, committedAt, text }
}

/** Commits a batch that must be stored; returns it. */
export async function store(backend: ContextBackend, spec: BatchSpec = {}): Promise<CommitBatch> {
  const batch = batchOf(spec)
  same(await backend.commit(batch), { type: 'committed' }, 'the batch is stored')
  return batch
}

/** Stores batches of one entry each on top of each other, from creation on; returns them. */
export async function storeMany(backend: ContextBackend, count: number, spec: BatchSpec = {}): Promise<CommitBatch[]> {
  const batches: CommitBatch[] = []
  for (let index = 0; index < count; index += 1)
    batches.push(await store(backend, { ...spec, base: batches.at(-1)?.head ?? spec.base ?? noHead }))
  return batches
}

/** The entries of several batches. */
export const entriesOf = (batches: readonly CommitBatch[]): LogEntry[] => batches.flatMap(({ entries }) => entries)

/** What may be changed in a sync query. */
export type SyncSpec = Partial<Omit<SyncQuery, 'stream'>> & { readonly stream?: Partial<SyncStream> }

/** Makes a sync query: of a client that has nothing, unless said otherwise. */
export const queryOf = ({ stream, ...spec }: SyncSpec = {}): SyncQuery => ({
  contextId,
  head: null,
  known: null,
  now: startAt,
  sessionTtlMs,
  maxVersions: 0,
  ...spec,
  stream: { key: 'stream-1', mintedAt: startAt, epoch: 0, told: 0, settled: 0, ...stream },
})

/** Syncs, where the session must not be expired. */
export async function synced(backend: ContextBackend, spec: SyncSpec = {}): Promise<SyncResult & { type: 'found' }> {
  const result = await backend.sync(queryOf(spec))
  if (result.type !== 'found') throw new Error('The session is expired, and must not be.')
  return result
}

/** What the store knows of a stream; the query asks for nothing that would change it. */
export async function recordOf(backend: ContextBackend, stream: Partial<SyncStream> = {}, id = contextId): Promise<StreamRecord> {
  return (await synced(backend, { contextId: id, stream })).record
}

/** Gives a batch of which nothing may be stored; returns the answer. */
export async function refuse(backend: ContextBackend, batch: CommitBatch): Promise<CommitResult> {
  const before = await everything(backend, batch.contextId)
  const result = await backend.commit(batch)
  if (result.type === 'committed') throw new Error('The batch is stored, and must not be.')
  same(await everything(backend, batch.contextId), before, 'a refused batch changes nothing')
  return result
}

/** All that can be read of a context. */
export async function everything(backend: ContextBackend, id = contextId): Promise<unknown> {
  const listed = await backend.list({ limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 })
  return { stored: await backend.load(id), log: await backend.log(id, 0), heads: await backend.heads([id]), listed }
}
