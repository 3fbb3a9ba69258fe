import { createShardedAdapter } from '@socket.io/redis-adapter'
import type { Namespace } from 'socket.io'
import type { Adapter } from 'socket.io-adapter'
import type { Servers } from './servers.ts'
import type { Subscriptions } from './subscriptions.ts'

/** First byte of a message that is JSON. */
const brace = 0x7b

/** What the sharded adapter is made of, beyond what is public. */
interface Inside {
  readonly responseChannel: string
  onRawMessage(message: Buffer, channel: Buffer): void
  onMessage(message: unknown): void
  onResponse(response: unknown): void
  publishResponse(requester: string, response: unknown): void
  serverSideEmit(packet: unknown[]): Promise<unknown>
}

/**
 * Makes Socket.IO's sharded Redis adapter on our connections, and safe: as it is, a message on its channels that others have published, or an
 * answer that cannot be sent, may end the process.
 */
export function safeAdapter(servers: Servers, subscriptions: Subscriptions, channelPrefix: string): (namespace: Namespace) => Adapter {
  // No arrow function: Socket.IO calls it with `new`.
  return function adapterOf(namespace: Namespace): Adapter {
    const client = adapterClient(servers, subscriptions)
    const adapter = createShardedAdapter(client, client, { channelPrefix })(namespace)
    const inside = adapter as unknown as Inside
    countMessages(inside)
    guardRequests(inside)
    return adapter
  }
}

/** Our connections, as the adapter takes them: the part of node-redis' client that it uses. */
function adapterClient(servers: Servers, subscriptions: Subscriptions): object {
  const ends = new Map<string, () => void>()
  return {
    sSubscribe: (channel: string, handler: (message: Buffer, channel: Buffer) => void) => {
      ends.get(channel)?.()
      ends.set(channel, subscriptions.add(channel, handler))
    },
    sUnsubscribe: (channel: string) => {
      ends.get(channel)?.()
      ends.delete(channel)
    },
    sPublish: (channel: string, message: string | Buffer) => servers.send(channel, (redis) => redis.spublish(channel, message)),
    // It ends with the channel that it is about.
    sendCommand: ([command, ...args]: [string, ...string[]]) => servers.send(args.at(-1)!, (redis) => redis.call(command, args)),
  }
}

/** Lets what cannot be read throw, as what cannot be delivered does: whoever hands messages over ({@link Subscriptions}) catches and counts both. */
function countMessages(adapter: Inside): void {
  const receive = adapter.onRawMessage.bind(adapter)
  adapter.onRawMessage = (message, channel) => {
    // Binary events; not ours.
    if (message[0] !== brace) {
      receive(message, channel)
      return
    }
    const read: unknown = JSON.parse(message.toString())
    if (channel.toString() === adapter.responseChannel) adapter.onResponse(read)
    else adapter.onMessage(read)
  }
}

function guardRequests(adapter: Inside): void {
  const respond = adapter.publishResponse.bind(adapter)
  adapter.publishResponse = (requester, response) => {
    try {
      respond(requester, response)
    } catch {
      // A socket's data that is no JSON. Who asked finds out by its time-out.
    }
  }
  const emit = adapter.serverSideEmit.bind(adapter)
  adapter.serverSideEmit = async (packet) => {
    const reply = packet.at(-1)
    try {
      await emit(packet)
    } catch (error) {
      if (typeof reply === 'function') reply(error, [])
    }
  }
}
