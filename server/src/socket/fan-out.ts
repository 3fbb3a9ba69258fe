import type { Head } from '@contextd/protocol'
import type { Adapter } from 'socket.io-adapter'
import type { Namespace, Socket } from 'socket.io'
import { roomOf } from '../backends/publishing.ts'
import type { Engine } from '../engine/engine.ts'
import { JsonText } from './packets.ts'
import { ToldHead } from './told-head.ts'
import type { FrameStart } from './told-head.ts'

/** Socket.IO's number of an event packet, and the cluster adapter's of a broadcast. */
const eventPacket = 2
const broadcastMessage = 3

/** A context that sockets of this node have open. */
interface Room {
  readonly name: string
  readonly told: ToldHead
  readonly sockets: Set<Socket>
  release: () => void
}

/** The rooms of the contexts that this node's sockets have open: who is in, what was told there, and how frames get there. */
export class FanOut {
  readonly #engine: Engine
  readonly #namespace: Namespace
  readonly #rooms = new Map<string, Room>()
  /** How often a room was told a head by the beacon: something may have been missed there. */
  toldByBeacon = 0

  constructor(engine: Engine, namespace: Namespace) {
    this.#engine = engine
    this.#namespace = namespace
  }

  /** How many contexts the sockets of this node have open. */
  get size(): number {
    return this.#rooms.size
  }

  /** What a room was told; undefined: no socket of this node has the context open. */
  told(contextId: string): ToldHead | undefined {
    return this.#rooms.get(contextId)?.told
  }

  /** Lets a socket into the room of a context; once it resolves, no later commit passes the socket by. */
  async join(contextId: string, socket: Socket): Promise<void> {
    const room = this.#rooms.get(contextId) ?? this.#open(contextId)
    room.sockets.add(socket)
    await socket.join(room.name)
    const { publishing } = this.#engine.backend
    if (publishing.type === 'publish') await publishing.sockets.confirm(contextId)
  }

  /** Takes a socket out of the room for good. */
  leave(contextId: string, socket: Socket): void {
    const room = this.#rooms.get(contextId)
    if (!room?.sockets.delete(socket)) return
    void socket.leave(room.name)
    if (room.sockets.size > 0) return
    this.#rooms.delete(contextId)
    room.release()
  }

  /** Sends a socket nothing more of the context, until it joins again. */
  mute(contextId: string, socket: Socket): void {
    void socket.leave(roomOf(contextId))
  }

  /** Notes a packet that the store published to this node's sockets. */
  observe(args: unknown): void {
    if (!Array.isArray(args) || !Array.isArray(args[1])) return
    if (args[0] === 'd') this.told(args[1][0] as string)?.delta(args[1] as unknown as FrameStart)
    if (args[0] === 'h') this.#observeHead(args[1])
  }

  #observeHead([contextId, incarnation, version, revision]: readonly unknown[]): void {
    this.told(contextId as string)?.head({ incarnation, version, revision } as Head)
  }

  #open(contextId: string): Room {
    const room: Room = { name: roomOf(contextId), told: new ToldHead(), sockets: new Set(), release: () => {} }
    this.#rooms.set(contextId, room)
    room.release = this.#engine.watch(contextId, {
      frame: (text) => this.#frame(room, text),
      head: (head) => this.#beacon(contextId, room, head),
    })
    return room
  }

  /** A frame as the engine wrote it: `["d",[…]]` or `["h",[…]]`. It is sent as it is; only its start is read. */
  #frame(room: Room, text: string): void {
    const name = text[2] as 'd' | 'h'
    if (name === 'd') room.told.delta(startOf(text))
    else this.#observeHead((JSON.parse(text) as [string, unknown[]])[1])
    this.#broadcast(room, name, text.slice(5, -1))
  }

  #beacon(contextId: string, room: Room, head: Head): void {
    if (!room.told.shouldTell(head)) return
    room.told.head(head)
    this.toldByBeacon += 1
    this.#broadcast(room, 'h', JSON.stringify([contextId, head.incarnation, head.version, head.revision]))
  }

  /** To this node's sockets only: every node has its own beacon, and its own commits where the store does not publish. */
  #broadcast(room: Room, name: 'd' | 'h', text: string): void {
    const packet = { type: eventPacket, data: [name, new JsonText(text)] }
    this.#namespace.adapter.broadcast(packet, { rooms: new Set([room.name]), except: new Set(), flags: { local: true } })
  }
}

/** The first five fields of a `d` frame. They are ids and numbers: a comma only ever separates them. */
function startOf(text: string): FrameStart {
  let end = 5
  for (let fields = 0; fields < 5; fields += 1) end = text.indexOf(',', end + 1)
  return JSON.parse(`${text.slice(5, end)}]`) as FrameStart
}

/** Sees what a store publishes, on its way through the adapter to the sockets of this node. */
export function observed(adapter: Adapter, see: (args: unknown) => void): Adapter {
  const cluster = adapter as unknown as { onMessage?(message: unknown, offset?: string): void }
  const deliver = cluster.onMessage?.bind(adapter)
  if (!deliver) return adapter
  cluster.onMessage = (message, offset) => {
    const { type, data } = message as { type?: unknown; data?: { packet?: { data?: unknown } } }
    if (type === broadcastMessage) see(data?.packet?.data)
    deliver(message, offset)
  }
  return adapter
}
