import { isContextdError } from '@contextd/protocol'
import { isInternal } from '../backends/backend.ts'
import type { CommitBatch, CommitResult, ContextBackend, SyncResult } from '../backends/backend.ts'
import { Histogram, Tally, secondsBounds } from './histogram.ts'

/** A call of the store that is timed. */
export type StoreCall = Exclude<keyof ContextBackend, 'name' | 'publishing' | 'materialized' | 'open' | 'close'>

/** What became of a commit that was handed to the store; but for the first three, nothing was written. */
export type CommitOutcome = 'applied' | 'nothing' | 'refused' | 'repeated' | 'gap' | 'fenced' | 'expired'
export const commitOutcomes: readonly CommitOutcome[] = ['applied', 'nothing', 'refused', 'repeated', 'gap', 'fenced', 'expired']
/** How a sync of a client was answered. */
export type SyncKind = 'same' | 'delta' | 'full' | 'absent' | 'expired'
export const syncKinds: readonly SyncKind[] = ['same', 'delta', 'full', 'absent', 'expired']

/** Bounds for commits of a batch, of which there are at most 256. */
const batchBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256]
/** Bounds for what is told to subscribers, bytes. */
const bytesBounds = [128, 256, 512, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576]

/** What a node's calls of its store came to, from the moment that somebody asked for it. */
export class StoreMeasures {
  readonly seconds = new Map<StoreCall, Histogram>()
  /** By call and code: `commit timeout`. */
  readonly errors = new Tally()
  readonly commits = new Tally<CommitOutcome>()
  /** Codes of the refused. */
  readonly refusals = new Tally()
  conflicts = 0
  readonly batchCommits = new Histogram(batchBounds)
  readonly batchBytes = new Histogram(bytesBounds)
  readonly syncs = new Tally<SyncKind>()
  readonly resets = new Tally<'rolled_back' | 'restored'>()

  took(call: StoreCall, ms: number): void {
    let seconds = this.seconds.get(call)
    if (seconds === undefined) this.seconds.set(call, (seconds = new Histogram(secondsBounds)))
    seconds.observe(ms / 1_000)
  }

  failed(call: StoreCall, error: unknown): void {
    this.errors.add(`${call} ${isContextdError(error) ? error.code : 'internal'}`)
  }

  /** Notes what came of a batch; those of the engine's own contexts, and those without commits, say nothing of its users. */
  committed({ contextId, members, message }: CommitBatch, result: CommitResult): void {
    if (members.length === 0 || isInternal(contextId)) return
    if (result.type === 'conflict') this.conflicts += 1
    else if (result.type === 'members') {
      for (const { answer } of result.answers)
        if (answer.type !== 'locked') this.commits.add(answer.type === 'repeat' ? 'repeated' : answer.type)
    } else {
      this.batchCommits.observe(members.length)
      if (message !== null) this.batchBytes.observe(Buffer.byteLength(message))
      for (const { verdict } of members) {
        this.commits.add(verdict.type)
        if (verdict.type === 'refused') this.refusals.add(verdict.code)
      }
    }
  }

  synced(result: SyncResult): void {
    if (result.type === 'expired') return this.syncs.add('expired')
    const { row, way, rolledBack } = result
    if (rolledBack) this.resets.add(row?.restored === true ? 'restored' : 'rolled_back')
    if (row === null || row.head.version === 0) this.syncs.add('absent')
    else this.syncs.add(way === 'same' ? 'same' : way === 'since' ? 'delta' : 'full')
  }
}
