import { roomOf } from '../publishing.ts'

/** Names of everything that one installation keeps in Redis: all begin with its prefix. */
export interface Names {
  /** Says whose keys these are, and how they are laid out. */
  readonly schema: string
  /** What the nodes that are running have agreed on; expires when none is. */
  readonly settings: string
  /** The index of contexts: see `ContextIndex`. One hash tag. */
  readonly index: readonly [ids: string, missing: string, updated: string, touched: string, logged: string]
  /** Channels of the Socket.IO adapter begin so. */
  readonly channelPrefix: string
  /** Channel on which a node hears itself. */
  heartbeat(node: string): string
  /** The keys of a context: row, snapshot, log, records of streams, when each record was last used, and locks. One hash tag, which the channel shares. */
  context(contextId: string): readonly [row: string, snapshot: string, log: string, records: string, uses: string, locks: string]
  /** The key of a context's locks. */
  locks(contextId: string): string
  /** The channel on which Socket.IO's sharded adapter delivers to the room of a context. */
  channel(contextId: string): string
}

/** Makes the names that begin with a prefix, and the channels that begin with another. */
export function namesOf(prefix: string, channelPrefix: string): Names {
  const index = `${prefix}:{contexts}:`
  const start = (contextId: string): string => `${prefix}:{ctx:${contextId}}:`
  return {
    schema: `${prefix}:schema`,
    settings: `${prefix}:settings`,
    index: [`${index}ids`, `${index}missing`, `${index}updated`, `${index}touched`, `${index}logged`],
    channelPrefix,
    heartbeat: (node) => `${channelPrefix}#heartbeat#${node}#`,
    context: (contextId) => {
      const own = start(contextId)
      return [`${own}row`, `${own}snapshot`, `${own}log`, `${own}records`, `${own}uses`, `${own}locks`]
    },
    locks: (contextId) => `${start(contextId)}locks`,
    channel: (contextId) => `${channelPrefix}#/#${roomOf(contextId)}#`,
  }
}
