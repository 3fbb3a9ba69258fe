import { roomOf } from '../backend.ts'

/** Names of everything that one installation keeps in Redis: all begin with its prefix. */
export interface Names {
  /** Says whose keys these are, and how they are laid out. */
  readonly schema: string
  /** What the nodes that are running have agreed on; expires when none is. */
  readonly settings: string
  /** The index of contexts, and the ids in it that were found without a context: one hash tag. */
  readonly index: readonly [ids: string, missing: string]
  /** Channels of the Socket.IO adapter begin so. */
  readonly channelPrefix: string
  /** Channel on which a node hears itself. */
  heartbeat(node: string): string
  /** The keys of a context: row, snapshot, log, records of streams, and when each record was last used. One hash tag, which the channel shares. */
  context(contextId: string): readonly [row: string, snapshot: string, log: string, records: string, uses: string]
  /** The channel on which Socket.IO's sharded adapter delivers to the room of a context. */
  channel(contextId: string): string
}

/** Makes the names that begin with a prefix, and the channels that begin with another. */
export function namesOf(prefix: string, channelPrefix: string): Names {
  return {
    schema: `${prefix}:schema`,
    settings: `${prefix}:settings`,
    index: [`${prefix}:{contexts}:ids`, `${prefix}:{contexts}:missing`],
    channelPrefix,
    heartbeat: (node) => `${channelPrefix}#heartbeat#${node}#`,
    context: (contextId) => {
      const start = `${prefix}:{ctx:${contextId}}:`
      return [`${start}row`, `${start}snapshot`, `${start}log`, `${start}records`, `${start}uses`]
    },
    channel: (contextId) => `${channelPrefix}#/#${roomOf(contextId)}#`,
  }
}
