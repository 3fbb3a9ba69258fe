import { ContextdError } from '@contextd/protocol'
import type { Engine } from '../engine.ts'
import type { ExportedContext } from './archive.ts'
import { exportedOf } from './archivist.ts'

/** Which contexts to export, and who is told how it goes. */
export interface ExportAllOptions {
  /** Default: all. */
  readonly prefix?: string
  /** Ends it, with `aborted`. */
  readonly signal?: AbortSignal
  /** Called after each context: how many were looked at, of how many. */
  readonly onProgress?: (done: number, total: number) => void
}

/** How many contexts are read ahead. */
const ahead = 8

/**
 * Gives each context as an archive would get it, by id in code-unit order. Only their ids and a few states are in memory at a time. Contexts that
 * are deleted meanwhile are left out; those that are created meanwhile are too.
 * @throws {ContextdError} `aborted` · `backend_unavailable` · `internal` – what is stored of one does not fit together
 */
export async function* exportAll(
  engine: Pick<Engine, 'open' | 'backend'>,
  { prefix = '', signal, onProgress }: ExportAllOptions = {},
): AsyncGenerator<ExportedContext, void, void> {
  const { backend } = engine
  checkGoesOn(signal)
  await engine.open()
  const listed = await backend.list({ prefix, limit: 0, offset: 0, order: 'asc', updatedSince: 0 })
  const contextIds = listed.map(({ contextId }) => contextId)
  const read = (contextId: string): Promise<ExportedContext | null> =>
    backend.dump(contextId).then((dump) => dump && exportedOf(contextId, dump))
  const reading = contextIds.slice(0, ahead).map((contextId) => marked(read(contextId)))
  for (let done = 0; done < contextIds.length; done += 1) {
    checkGoesOn(signal)
    const exported = await reading.shift()!
    const next = contextIds[done + ahead]
    if (next !== undefined) reading.push(marked(read(next)))
    if (exported !== null) yield exported
    onProgress?.(done + 1, contextIds.length)
  }
}

/** A promise whose failure is no unhandled one, should nobody come to await it. */
function marked<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

function checkGoesOn(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ContextdError('aborted', 'The export was ended.', { cause: signal.reason })
}
