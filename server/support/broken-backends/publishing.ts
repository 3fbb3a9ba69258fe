import { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import type { CommitBatch, CommitResult, RestoreBatch, RestoreResult } from '../../src/backends/backend.ts'
import type { StorePublishing } from '../../src/backends/publishing.ts'
import type { StoreCopy, StoreModel } from '../../src/backends/store-model.ts'
import { Broken } from './broken.ts'
import type { BrokenBackends } from './broken.ts'

const channels = new WeakMap<StoreModel, EventEmitter>()

/** The publications of a store, whichever backends are on it. */
function channelOf(store: StoreModel): EventEmitter {
  const channel = channels.get(store) ?? new EventEmitter()
  channels.set(store, channel)
  return channel
}

const noSockets = (): never => {
  throw new Error('This store has no sockets.')
}

/** A memory backend that publishes, each message within the turn in which it is stored. */
export class PublishingMemory extends Broken {
  override readonly publishing: StorePublishing = {
    type: 'publish',
    subscribe: (contextId, listener) => {
      channelOf(this.store).on(contextId, listener)
      return () => channelOf(this.store).off(contextId, listener)
    },
    onRestored: () => () => {},
    sockets: { adapter: noSockets, room: noSockets, confirm: noSockets },
  }

  publish({ contextId, message }: { readonly contextId: string; readonly message: string | null }): void {
    if (message !== null) channelOf(this.store).emit(contextId, message)
  }

  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = this.store.commit(batch)
    if (result.type === 'committed') this.publish(batch)
    return result
  }

  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    const result = this.store.restore(batch)
    if (result.type === 'restored') this.publish(batch)
    return result
  }
}

/** What comes of a batch, which is not stored. */
function tried(store: StoreModel, batch: CommitBatch): CommitResult {
  const before: StoreCopy = store.copy(batch.contextId)
  const result = store.commit(batch)
  store.putBack(before)
  return result
}

class PublishesFirst extends PublishingMemory {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    if (tried(this.store, batch).type === 'committed') this.publish(batch)
    await turn()
    return this.store.commit(batch)
  }
}

class PublishesWhatIsRefused extends PublishingMemory {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    this.publish(batch)
    return this.store.commit(batch)
  }
}

class PublishesRefusedRestores extends PublishingMemory {
  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    this.publish(batch)
    return this.store.restore(batch)
  }
}

class RestoresInSilence extends PublishingMemory {
  override async restore(batch: RestoreBatch): Promise<RestoreResult> {
    return this.store.restore(batch)
  }
}

class PublishesTwice extends PublishingMemory {
  override async commit(batch: CommitBatch): Promise<CommitResult> {
    const result = await super.commit(batch)
    if (result.type === 'committed') this.publish(batch)
    return result
  }
}

class DeletesInSilence extends PublishingMemory {
  override publish(batch: CommitBatch | RestoreBatch): void {
    if (!('remove' in batch && batch.remove)) super.publish(batch)
  }
}

class PublishesNothingToTell extends PublishingMemory {
  override publish(batch: CommitBatch | RestoreBatch): void {
    super.publish({ ...batch, message: batch.message ?? 'null' })
  }
}

/** Changes how somebody listens. */
const listening = (listen: (channel: EventEmitter, contextId: string, listener: (message: string) => void) => () => void) =>
  class extends PublishingMemory {
    override readonly publishing: StorePublishing = {
      type: 'publish',
      subscribe: (contextId, listener) => listen(channelOf(this.store), contextId, listener),
      onRestored: () => () => {},
      sockets: { adapter: noSockets, room: noSockets, confirm: noSockets },
    }
  }

class TellsNobody extends Broken {
  override readonly publishing = { type: 'poll' as const, onChange: () => () => {} }
}

/** How others hear of what was stored. */
export const brokenPublishing: BrokenBackends = {
  'messages are published before they are stored': [PublishesFirst, /^G2: what is published is stored/],
  'messages of refused batches are published': [PublishesWhatIsRefused, /^a backend hears/],
  'messages of refused restores are published': [PublishesRefusedRestores, /^a backend hears/],
  'restores are not published': [RestoresInSilence, /^a backend hears/],
  'deletes are not published': [DeletesInSilence, /^a backend hears/],
  'a batch that has nothing to tell is published': [PublishesNothingToTell, /^a backend hears/],
  'who has ended listening is told still': [
    listening((channel, contextId, listener) => {
      channel.on(contextId, listener)
      return () => {}
    }),
    /^who has ended listening hears nothing more/,
  ],
  'the end of one ends all who listen alike': [
    listening((channel, contextId, listener) => {
      channel.on(contextId, listener)
      return () => {
        while (channel.listeners(contextId).includes(listener)) channel.off(contextId, listener)
      }
    }),
    /^who has ended listening hears nothing more/,
  ],
  'messages are published twice': [PublishesTwice, /^a backend hears/],
  'others are not told of writes': [TellsNobody, /^a backend hears/],
}
