import { ContextdError, createId, isContextdError } from '@contextd/protocol'
import type { JsonObject, Operation } from '@contextd/protocol'
import { absorb } from './coalesce.ts'
import type { Replica } from './replica.ts'
import type { ReplicaEvent } from './replica-event.ts'
import { openWrite } from './write.ts'
import type { OpenWrite, Write } from './write.ts'

/** What a write is computed on: the state that is shown, or what an absent context is created from. */
export interface View {
  readonly state: JsonObject
  readonly version: number
}
/** A call that writes. */
export interface Plan<R> {
  /**
   * @throws {ContextdError} it cannot be done on this state
   * @throws {TypeError} the program is wrong
   */
  compute(view: View): { readonly operations: readonly Operation[]; readonly result: R }
  /** Deletes the context. */
  readonly remove?: boolean
  /** Key of a commit that absorbs the next with the same, while it was not sent. */
  readonly coalesce?: string | undefined
  /** How often it is run again after a conflict. */
  readonly retries?: number
  readonly ifVersion?: number | undefined
}
/** A write that was refused. */
export interface Refusal {
  readonly id: string
  /** None: it deletes, or was refused before there was a state to compute it on. */
  readonly operations: readonly Operation[]
  readonly error: ContextdError
  /** Offers it again. */
  readonly again: Plan<unknown>
}
/** What a writer needs of the context around it. */
export interface WriterHost {
  /** A write was refused for good. */
  refused(refusal: Refusal): void
}

interface Job {
  readonly open: OpenWrite
  readonly plan: Plan<unknown>
  retries: number
  result: unknown
}

/** The writes of one context that are not settled: those that wait for the first state, and those that are commits. */
export class Writer {
  readonly #replica: Replica
  readonly #host: WriterHost
  #waiting: Job[] = []
  readonly #jobs = new Map<string, Job>()
  /** The newest commit that absorbs others. */
  #absorbing: { readonly key: string; readonly commitId: string; readonly job: Job } | null = null

  constructor(replica: Replica, host: WriterHost) {
    this.#replica = replica
    this.#host = host
  }

  /** Writes that wait for the first state. */
  get waiting(): number {
    return this.#waiting.length
  }
  get idle(): boolean {
    return this.#waiting.length === 0 && this.#jobs.size === 0
  }

  /** Writes, at once or when the first state has come. @throws {TypeError} as the plan does, when it is computed at once */
  submit<R>(plan: Plan<R>): Write<R> {
    const absorbed = this.#absorb(plan)
    if (absorbed) return absorbed as Write<R>
    const open = openWrite<R>(createId())
    const job = { open, plan, retries: plan.retries ?? 0, result: undefined } as unknown as Job
    if (this.#replica.error !== null) this.#refuse(job, [], this.#replica.error)
    else if (this.#waiting.length > 0 || this.#replica.phase === 'loading') this.#waiting.push(job)
    else this.#run(job)
    return open.write
  }

  /** Runs what has waited, once there is a state; refuses it, where there will be none. */
  proceed(): void {
    const { phase, error } = this.#replica
    if (phase === 'loading' || this.#waiting.length === 0) return
    for (const job of this.#waiting.splice(0)) {
      if (error !== null) this.#refuse(job, [], error)
      else this.#runLate(job)
    }
  }

  /** Refuses what waits. */
  abandon(error: ContextdError): void {
    for (const job of this.#waiting.splice(0)) this.#refuse(job, [], error)
  }

  /** The verdict on a commit. */
  settled({ id, head, rebased }: Extract<ReplicaEvent, { type: 'settled' }>): void {
    const job = this.#jobs.get(id)
    this.#jobs.delete(id)
    const at = head ?? this.#replica.head
    job?.open.resolve({ version: at?.version ?? 0, revision: at?.revision ?? '', result: job.result, rebased })
  }

  /** A refusal: a transaction is run again while it may, everything else is over. */
  refused({ id, operations, error }: Extract<ReplicaEvent, { type: 'refused' }>): void {
    const job = this.#jobs.get(id)
    this.#jobs.delete(id)
    // A commit without operations deletes.
    if (job === undefined)
      return this.#host.refused({ id, operations, error, again: { ...sameAgain(operations), remove: operations.length === 0 } })
    if (error.code !== 'conflict' || job.retries <= 0) return this.#refuse(job, operations, error)
    job.retries -= 1
    this.#runLate(job)
  }

  /** Rejects everything: the client is closed. */
  close(error: ContextdError): void {
    for (const { open } of [...this.#waiting.splice(0), ...this.#jobs.values()]) open.reject(error)
    this.#jobs.clear()
  }

  #runLate(job: Job): void {
    try {
      this.#run(job)
    } catch (cause) {
      this.#refuse(job, [], new ContextdError('aborted', 'The write could not be computed on the state that came.', { cause }))
    }
  }

  #run(job: Job): void {
    const { plan } = job
    const replica = this.#replica
    const version = replica.head?.version ?? 0
    let operations: readonly Operation[] = []
    try {
      if (plan.ifVersion !== undefined && plan.ifVersion !== version) throw otherVersion(version, plan.ifVersion)
      const planned = plan.compute({ state: replica.shown ?? replica.initial, version })
      operations = planned.operations
      job.result = planned.result
      if (operations.length === 0 && !plan.remove) return this.#nothing(job)
      const id = createId()
      const { remove = false, ifVersion } = plan
      replica.write({ id, operations, remove, ...(ifVersion !== undefined && { ifVersion }) })
      this.#jobs.set(id, job)
      this.#absorbing = plan.coalesce === undefined ? null : { key: plan.coalesce, commitId: id, job }
    } catch (error) {
      if (!isContextdError(error)) throw error
      this.#refuse(job, operations, error)
    }
  }

  /** Nothing would change: there is nothing to commit. */
  #nothing(job: Job): void {
    const head = this.#replica.head
    job.open.resolve({ version: head?.version ?? 0, revision: head?.revision ?? '', result: job.result, rebased: false })
  }

  #absorb(plan: Plan<unknown>): Write<unknown> | null {
    const into = this.#absorbing
    if (into === null || plan.coalesce !== into.key) return null
    const before = this.#replica.amendable(into.commitId)
    if (before === undefined) return null
    try {
      const { operations } = plan.compute({
        state: this.#replica.shown ?? this.#replica.initial,
        version: this.#replica.head?.version ?? 0,
      })
      const both = absorb(before, operations)
      if (both === null) return null
      this.#replica.amend(into.commitId, both)
      return into.job.open.write
    } catch (error) {
      if (!isContextdError(error)) throw error
      return null
    }
  }

  #refuse({ open, plan }: Job, operations: readonly Operation[], error: ContextdError): void {
    open.reject(error)
    this.#host.refused({ id: open.write.id, operations, error, again: operations.length > 0 ? sameAgain(operations) : plan })
  }
}

const sameAgain = (operations: readonly Operation[]): Plan<unknown> => ({ compute: () => ({ operations, result: undefined }) })

const otherVersion = (version: number, wanted: number): ContextdError =>
  new ContextdError('conflict', `The context is at version ${version}, not ${wanted}. Read it again, and repeat the write.`)
