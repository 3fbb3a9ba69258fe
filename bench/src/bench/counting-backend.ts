import type { Backend } from 'contextd'

/** The part of a store's interface that is looked at here. */
interface CommitBatch {
  readonly members: readonly unknown[]
  readonly entries: readonly { readonly text: string }[]
  readonly snapshot: string | null
  readonly message: string | null
}
type Commit = (batch: CommitBatch) => Promise<{ readonly type: string }>

/** What went through a counted backend. */
export interface Counts {
  batches: number
  commits: number
  /** Length of all entries, snapshots and messages, UTF-16 units. */
  text: number
  snapshots: number
  /** Turns of the event loop in which batches were answered: for SQLite, its transactions. */
  turns: number
}

/** A backend that counts what is handed to it, and else is the one given. */
export function counted(backend: Backend): { readonly backend: Backend; readonly counts: Counts } {
  const counts: Counts = { batches: 0, commits: 0, text: 0, snapshots: 0, turns: 0 }
  let inTurn = false
  const answered = (): void => {
    if (inTurn) return
    inTurn = true
    counts.turns += 1
    setImmediate(() => {
      inTurn = false
    })
  }
  const commit = async (batch: CommitBatch): ReturnType<Commit> => {
    const result = await (backend as unknown as { commit: Commit }).commit(batch)
    answered()
    if (result.type !== 'committed') return result
    counts.batches += 1
    counts.commits += batch.entries.length
    counts.text += (batch.snapshot?.length ?? 0) + (batch.message?.length ?? 0)
    for (const { text } of batch.entries) counts.text += text.length
    if (batch.snapshot !== null) counts.snapshots += 1
    return result
  }
  const proxy = new Proxy(backend, {
    get(target, name) {
      if (name === 'commit') return commit
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
  return { backend: proxy, counts }
}
