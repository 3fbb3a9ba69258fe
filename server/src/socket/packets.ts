import { Decoder, Encoder, PacketType } from 'socket.io-parser'
import type { Packet } from 'socket.io-parser'

/** Deepest nesting of a whole message; what walks it recursively stays far from the end of the stack. */
const deepestMessage = 600
const bytesOf = Symbol('bytes of the message')
interface Measured {
  [bytesOf]?: number
}

/**
 * Reads packets, and lets none through that could harm what comes after: nesting is limited on the text itself, before anything that
 * recurses, and there is nothing binary. What it throws at closes the connection.
 */
export class GuardedDecoder extends Decoder {
  #bytes = 0

  constructor() {
    super()
    this.on('decoded', (packet) => {
      if (Array.isArray(packet.data)) (packet.data as Measured)[bytesOf] = this.#bytes
    })
  }

  override add(packet: unknown): void {
    if (typeof packet !== 'string' || packet[0] === '5' || packet[0] === '6') throw new Error('binary packets are not accepted')
    if (isDeeperThan(packet, deepestMessage)) throw new Error('the packet is nested too deep')
    this.#bytes = Buffer.byteLength(packet)
    super.add(packet)
  }
}

/** Length of the message that an event's arguments came in, bytes. */
export const messageBytesOf = (args: readonly unknown[]): number => (args as Measured)[bytesOf] ?? 0

/** Whether brackets outside of strings are nested deeper than this. */
export function isDeeperThan(text: string, most: number): boolean {
  if (text.length <= most) return false
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 0x22) at = endOfString(text, at)
    else if (code === 0x5b || code === 0x7b) {
      depth += 1
      if (depth > most) return true
    } else if (code === 0x5d || code === 0x7d) depth -= 1
  }
  return false
}

/** Position of the quote that ends the string which begins at `start`, or the end of the text. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end > 0) {
    let before = end - 1
    while (text.charCodeAt(before) === 0x5c) before -= 1
    if ((end - before) % 2 === 1) return end
    end = text.indexOf('"', end + 1)
  }
  return text.length
}

/** JSON that is text already: the last argument of an event or acknowledgement, written as it is. */
export class JsonText {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
  /** For whoever else writes it. */
  toJSON(): unknown {
    return JSON.parse(this.text)
  }
}

/** Writes packets; an argument that is text already is neither walked nor written again. */
export class ReadyEncoder extends Encoder {
  override encode(packet: Packet): unknown[] {
    const data: unknown = packet.data
    const last: unknown = Array.isArray(data) ? data.at(-1) : undefined
    if (!(last instanceof JsonText) || packet.nsp !== '/') return super.encode(packet)
    const name = packet.type === PacketType.EVENT ? `${JSON.stringify((data as unknown[])[0])},` : ''
    return [`${packet.type}${packet.id ?? ''}[${name}${last.text}]`]
  }
}

/** The `parser` of the Socket.IO server. */
export const parser = { Encoder: ReadyEncoder, Decoder: GuardedDecoder }
