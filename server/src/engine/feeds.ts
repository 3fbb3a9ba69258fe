import type { Head } from '@contextd/protocol'
import type { ContextBackend } from '../backends/backend.ts'
import type { Watcher } from './engine.ts'
import { Feed } from './feed.ts'
import type { FeedListener } from './feed.ts'
import type { KnownContext } from '../commits/known-context.ts'
import type { Logger } from '../logger.ts'

/** A context that a listener follows. */
export interface Followed {
  /** As it was told; null: nothing was read yet. */
  readonly at: KnownContext | null
  /** Resolves once a stored head was told, or what came after it; null: any. False: it could not be read. */
  reach(head: Head | null): Promise<boolean>
  /** Resolves once all was told that is stored now. False: it could not be read. */
  catchUp(): Promise<boolean>
  readonly end: () => void
}

/** What feeds work with. */
export interface FeedsOptions {
  readonly backend: ContextBackend
  readonly logger: Logger
  readonly itemKey: (contextId: string) => string
  readonly fresh: (contextId: string) => Promise<KnownContext>
  /** Holds a context open. Returns the end of it. */
  readonly watch: (contextId: string, watcher: Watcher) => () => void
  /** Opens the backend; at once when it is open. */
  readonly open: () => Promise<void>
}

interface Opened {
  readonly feed: Feed
  readonly end: () => void
}

/** The feeds of the contexts that listeners of this process follow: one for each. */
export class Feeds {
  readonly #options: FeedsOptions
  readonly #opened = new Map<string, Opened>()

  constructor(options: FeedsOptions) {
    this.#options = options
  }

  /** The feed of a context; undefined: nobody follows it. */
  of(contextId: string): Feed | undefined {
    return this.#opened.get(contextId)?.feed
  }

  follow(contextId: string, listener: FeedListener): Followed {
    const opened = this.#opened.get(contextId) ?? this.#open(contextId)
    // Of its own, so that one listener may be given twice.
    const own: FeedListener = { step: (step, now) => listener.step(step, now), gone: () => listener.gone() }
    const { feed } = opened
    feed.listeners.add(own)
    return {
      get at() {
        return feed.at
      },
      reach: (head) => feed.reach(head),
      catchUp: () => feed.catchUp(),
      end: () => {
        if (!feed.listeners.delete(own) || feed.listeners.size > 0) return
        this.#opened.delete(contextId)
        opened.end()
      },
    }
  }

  end(): void {
    for (const { end } of this.#opened.values()) end()
  }

  #open(contextId: string): Opened {
    const { backend, logger, itemKey, fresh, watch, open } = this.#options
    const { publishing } = backend
    const feed = new Feed({
      contextId,
      itemKey: itemKey(contextId),
      logger,
      fresh: () => fresh(contextId),
      log: (after) => backend.log(contextId, after),
    })
    const unwatch = watch(contextId, { frame: () => {}, head: (head) => feed.head(head) })
    let end = unwatch
    if (publishing.type === 'publish') {
      const unsubscribe = publishing.subscribe(contextId, (message) => feed.published(message))
      end = () => {
        unsubscribe()
        unwatch()
      }
      // What was published before the store knew of the subscription is read.
      void open()
        .then(() => publishing.sockets.confirm(contextId))
        .then(
          () => feed.catchUp(),
          (error: unknown) => logger.warn({ contextId, error }, 'a subscription is not confirmed yet'),
        )
    }
    const opened = { feed, end }
    this.#opened.set(contextId, opened)
    return opened
  }
}
