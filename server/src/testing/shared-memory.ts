import type { CommitBatch, CommitResult, ContextBackend, RestoreBatch, RestoreResult } from '../backends/backend.ts'
import type { Publishing } from '../backends/publishing.ts'
import { MemoryBackend } from '../backends/memory.ts'
import { StoreModel } from '../backends/store-model.ts'

/**
 * One store in memory for several nodes of one process, for tests: each handle is a backend of its own, and hears (like one that polls) that
 * another has written.
 */
export class SharedMemory {
  /** The store itself, to look into it, or to roll a context back by `copy` and `putBack`. */
  readonly store = new StoreModel()
  readonly #listeners = new Set<{ readonly handle: ContextBackend; readonly changed: () => void }>()

  /** One more node's backend. */
  handle(): ContextBackend {
    return new SharedHandle(this)
  }

  /** Calls `changed` when another handle than this one has written. Returns the end of it. */
  listen(handle: ContextBackend, changed: () => void): () => void {
    const listener = { handle, changed }
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Tells every handle but `writer`. */
  tell(writer: ContextBackend | null): void {
    for (const { handle, changed } of this.#listeners) if (handle !== writer) queueMicrotask(changed)
  }
}

class SharedHandle extends MemoryBackend {
  override readonly name = 'shared memory'
  override readonly publishing: Publishing
  readonly #shared: SharedMemory

  constructor(shared: SharedMemory) {
    super(shared.store)
    this.#shared = shared
    this.publishing = { type: 'poll', onChange: (changed) => shared.listen(this, changed) }
  }

  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = await super.commit(batch)
    if (result.type === 'committed') this.#shared.tell(this)
    return result
  }

  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    const result = await super.restore(batch)
    if (result.type === 'restored') this.#shared.tell(this)
    return result
  }
}
