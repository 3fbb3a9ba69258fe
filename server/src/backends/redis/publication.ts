import { roomOf } from '../publishing.ts'

/*
 * What the commit script publishes is a message of Socket.IO's sharded Redis adapter: a broadcast to one room, from no node of the cluster, so that
 * every node delivers it, also the one that committed. The event's arguments come last, and are text already.
 */

/** The adapter's number of a broadcast, and Socket.IO's of an event. */
const broadcastMessage = 3
const eventPacket = 2
const end = '}}}'

const startOf = (contextId: string): string =>
  `{"uid":"contextd","nsp":"/","type":${broadcastMessage},"data":{"opts":{"rooms":[${JSON.stringify(roomOf(contextId))}],"except":[]},` +
  `"packet":{"type":${eventPacket},"nsp":"/","data":`

/** The adapter's message that delivers a frame (JSON text of an event's arguments) to the room of a context. */
export function publicationOf(contextId: string, frame: string): string {
  return startOf(contextId) + frame + end
}

/** The frame in a message on a context's channel; null: it is none of ours. */
export function frameOf(contextId: string, message: Buffer): string | null {
  const text = message.toString()
  const start = startOf(contextId)
  return text.startsWith(start) && text.endsWith(end) ? text.slice(start.length, -end.length) : null
}
