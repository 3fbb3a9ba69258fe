import { ContextdError } from '@contextd/protocol'
import type { Change, ContextInfo, Delta, JsonObject, Snapshot, SyncAnswer } from '@contextd/protocol'
import type { ArchivedContext, ExportedContext } from '../archives/archive.ts'
import { openBackend } from '../backends/open-backend.ts'
import { createContexts } from '../contexts/contexts.ts'
import type { Contexts } from '../contexts/contexts.ts'
import type { Logger } from '../logger.ts'
import { ChangesQueue } from './changes-queue.ts'
import type { Conditions, Exported, Target, Written } from './target.ts'

/** What a store is opened with. */
export interface StoreOptions {
  readonly logger: Logger
  readonly contextTtlMs?: number
  readonly deltaTtlMs?: number
}

/** The contexts of a store, opened in this process. */
export class StoreTarget implements Target {
  readonly #contexts: Contexts<{}, Change[]>
  /** What is on its way out of the store, and into it. */
  readonly #taken = new Map<string, Exported>()
  readonly #given = new Map<string, Exported>()

  /** @throws {TypeError} the URL names no store */
  constructor(url: string, { logger, contextTtlMs, deltaTtlMs }: StoreOptions) {
    this.#contexts = createContexts({
      backend: openBackend(url),
      deltaFormat: 'changes',
      logger,
      archive: {
        export: (snapshot: ExportedContext) => void this.#taken.set(snapshot.contextId, { ...snapshot }),
        restore: (contextId: string) => (this.#given.get(contextId) as ArchivedContext | undefined) ?? null,
      },
      ...(contextTtlMs !== undefined && { contextTtlMs, autoDelete: true }),
      ...(deltaTtlMs !== undefined && { deltaTtlMs }),
    })
  }

  get(id: string): Promise<Snapshot | null> {
    return this.#contexts.get(id)
  }

  at(id: string, version: number): Promise<Snapshot> {
    return this.#contexts.at(id, version)
  }

  set(id: string, state: JsonObject, conditions: Conditions): Promise<Written> {
    return this.#contexts.set(id, state, conditions)
  }

  update(id: string, patch: JsonObject, conditions: Conditions): Promise<Written> {
    return this.#contexts.update(id, patch, conditions)
  }

  delete(id: string, conditions: Conditions): Promise<void> {
    return this.#contexts.delete(id, conditions)
  }

  list(options: { prefix: string; limit: number; offset: number; order: 'asc' | 'desc' }): Promise<ContextInfo[]> {
    return this.#contexts.list(options)
  }

  history(id: string, limit: number): Promise<Delta[]> {
    return this.#contexts.history(id, { limit })
  }

  async export(id: string): Promise<Exported | null> {
    try {
      await this.#contexts.export(id)
      return this.#taken.get(id) ?? null
    } catch (error) {
      if (error instanceof ContextdError && error.code === 'not_found') return null
      throw error
    } finally {
      this.#taken.delete(id)
    }
  }

  async restore(id: string, exported?: Exported): Promise<Snapshot> {
    if (exported === undefined)
      throw new ContextdError('invalid_operation', 'A store has no archive of its own. Say with --from where to restore from.')
    this.#given.set(id, exported)
    try {
      return await this.#contexts.restore(id)
    } finally {
      this.#given.delete(id)
    }
  }

  cleanup(limit: number | undefined): Promise<{ contexts: number; deltas: number }> {
    return this.#contexts.cleanup(limit === undefined ? {} : { limit })
  }

  async *watch(id: string, signal: AbortSignal): AsyncGenerator<SyncAnswer> {
    const queue = new ChangesQueue<Delta | 'gone'>()
    const unsubscribe = this.#contexts.subscribe(id, (delta) => queue.add(delta), { onDelete: () => queue.add('gone') })
    const end = (): void => queue.end()
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
    try {
      let answer = await this.#contexts.sync(id, null)
      for (;;) {
        if (answer.type !== 'no_change') yield answer
        const last = answer.type === 'full_context' ? answer.context : answer.type === 'delta' ? answer.delta : answer
        const next = await queue.next()
        if (next === null) return
        if (next !== 'gone' && next.baseVersion === last.version && next.version > last.version) answer = { type: 'delta', delta: next }
        else if (next === 'gone' && (await this.#contexts.get(id)) === null) return
        else answer = await this.#contexts.sync(id, last)
      }
    } finally {
      signal.removeEventListener('abort', end)
      unsubscribe()
    }
  }

  close(): Promise<void> {
    return this.#contexts.close()
  }
}
