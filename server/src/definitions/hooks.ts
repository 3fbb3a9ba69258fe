import { ContextdError, isContextdError } from '@contextd/protocol'
import type { Delta, JsonObject, Operation } from '@contextd/protocol'
import { unawaited } from '../application-code.ts'
import type { User } from '../authorize.ts'
import type { Answered } from '../commits/commit-queue.ts'
import type { Decided, Submission } from '../commits/decide.ts'
import type { CommitRequest } from '../engine/engine.ts'
import { deltaOf } from '../reads/history.ts'
import { frozen } from '../json-copy.ts'
import type { Logger } from '../logger.ts'
import { inTime } from '../patience.ts'

/** What happens around each commit. */
export interface Hooks {
  /**
   * Throw a `ContextdError` with a final code to refuse the commit. `before` is null when it creates the context. Called again when the commit has
   * to be computed on another state; no commit of the context is stored meanwhile, so answer soon, and wait for no
   * write to it.
   */
  beforeCommit?(commit: {
    user: User | null
    contextId: string
    operations: readonly Operation[]
    before: JsonObject | null
    after: JsonObject
  }): void | Promise<void>
  /** Told once the commit is stored, by the node that stored it; an error here is logged and changes nothing. Not called again after a crash. */
  afterCommit?(commit: { user: User | null; contextId: string; delta: Delta; after: JsonObject }): void | Promise<void>
}

type Reviewed = Submission<CommitRequest>

/** Calls an application's hooks, and bounds what they may do. */
export class HookRunner {
  readonly #hooks: Hooks
  readonly #logger: Logger
  readonly #patienceMs: number

  /** @param patienceMs longest that a commit waits for `beforeCommit` */
  constructor(hooks: Hooks, logger: Logger, patienceMs: number) {
    this.#hooks = hooks
    this.#logger = logger
    this.#patienceMs = patienceMs
  }

  /** Asks about commits in order; null: there is nobody to ask. Those after one that is refused are asked about again, on the state they get then. */
  before(contextId: string, decided: readonly Decided<CommitRequest>[]): Promise<Map<Reviewed, unknown>> | null {
    if (this.#hooks.beforeCommit === undefined) return null
    const changing = decided.filter(({ revision, after }) => revision !== null && after.state !== null)
    return changing.length === 0 ? null : this.#ask(contextId, changing)
  }

  async #ask(contextId: string, decided: readonly Decided<CommitRequest>[]): Promise<Map<Reviewed, unknown>> {
    for (const each of decided) {
      const { submission, before, after, operations } = each
      const commit = {
        user: submission.target.user,
        contextId,
        operations: frozen(operations),
        before: frozenOr(before.state),
        after: frozen(after.state!),
      }
      try {
        await this.#inTime(this.#hooks.beforeCommit!(commit))
      } catch (error) {
        if (!isContextdError(error) || error.retryable) this.#logger.error({ contextId, error }, 'the hook beforeCommit failed')
        return new Map([[submission, error]])
      }
    }
    return new Map()
  }

  /** Tells of commits that are stored. */
  after(contextId: string, answered: readonly Answered<CommitRequest>[]): void {
    if (this.#hooks.afterCommit === undefined) return
    for (const { submission, answer } of answered) {
      const decided = answer.type === 'verdict' ? answer.decided : null
      if (decided === null || decided.revision === null || decided.after.state === null) continue
      const { after, revision, changes } = decided
      const { updatedAt: committedAt, updatedBy: author, head } = after
      const delta = deltaOf(contextId, { version: head.version, revision, committedAt, author, changes: frozen([...changes]) })
      this.#tell({ user: submission.target.user, contextId, delta, after: frozen(after.state!) })
    }
  }

  #tell(commit: Parameters<NonNullable<Hooks['afterCommit']>>[0]): void {
    const { contextId } = commit
    unawaited(
      () => this.#hooks.afterCommit!(commit),
      (error) => this.#logger.error({ contextId, error }, 'the hook afterCommit failed'),
    )
  }

  async #inTime(answer: void | Promise<void>): Promise<void> {
    if (answer === undefined) return
    const ms = this.#patienceMs
    await inTime(answer, ms, () => new ContextdError('aborted', `The hook beforeCommit did not answer within ${ms} ms.`))
  }
}

const frozenOr = (state: JsonObject | null): JsonObject | null => (state === null ? null : frozen(state))
