/** A key of the store that holds the same data for other programs; exactly this key, swapped in whole. */
export type Materialize =
  | { readonly key: string; readonly type: 'list' | 'set' | 'string'; readonly idProp?: string }
  | { readonly key: string; readonly type: 'hash'; /** Property of an item that is its field. */ readonly idProp: string }

/** One fetch, as it is told to `fetch`. */
export interface FetchRun {
  /** Aborted when nobody waits for its answer any more: it took too long, the source was removed, or another node has taken over. */
  readonly signal: AbortSignal
  /** Fencing token of the node that fetches: it grows from one node that takes over to the next. */
  readonly token: number
}

/** A slow source. A fetched list is stored as `{ items: […] }`. */
export type SourceOptions<P = undefined> = {
  /** The context that is kept equal to the source; nobody else should write to it. */
  contextId: string
  /**
   * Gives what the context shall be: a plain object, or a list; it is not changed afterwards. It may throw, and take long: the last good state stays
   * meanwhile.
   */
  fetch(params: P, run: FetchRun): object | Promise<object>
  /** Time between the beginnings of two fetches, ms; they never overlap. After failures doubled, up to 5 min. */
  refreshIntervalMs: number
  /** Longest that `fetch` may take, ms. Default 60,000, or the interval where that is longer. */
  timeoutMs?: number
  /** Copies for other programs; needs a store that has keys (Redis). */
  materialize?: readonly Materialize[]
} & (undefined extends P ? { params?: P } : { params: P })

/** How a source is doing, as this node sees it. */
export interface SourceStatus {
  /** Whether this node fetches. */
  readonly leader: boolean
  /** Whether a fetch is under way here. */
  readonly running: boolean
  /** Failures since the last success here. */
  readonly failures: number
  readonly lastSuccessAt: number | null
  readonly lastError: Error | null
  readonly nextRunAt: number | null
  /** Version of the context as last seen here; 0: none yet. */
  readonly version: number
}

/** A source that was added. */
export interface ContextSource {
  /**
   * Fetches now: on the leader, whichever node asks; whoever asks while a fetch is under way gets that one.
   * @throws what `fetch` throws, on the leader
   * @throws {ContextdError} `internal` – it failed on the leader, which is another node · `timeout` – no leader has fetched in time · `closed` – it was removed
   */
  refresh(): Promise<void>
  /** Ends it on this node; the context stays. */
  remove(): Promise<void>
  readonly status: SourceStatus
  /** Calls when the status changes; returns the function that ends it. */
  subscribe(listener: (status: SourceStatus) => void): () => void
}
