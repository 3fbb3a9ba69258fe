import { once } from 'node:events'
import { wireVersion } from '@contextd/protocol'
import { WebSocket } from 'ws'

/** A WebSocket that sends what it is given: Engine.IO and Socket.IO are written by hand. */
export class RawSocket {
  readonly socket: WebSocket
  /** Messages so far, as text. */
  readonly messages: string[] = []
  readonly closed: Promise<void>

  private constructor(socket: WebSocket) {
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.on('message', (data: Buffer) => {
      const text = data.toString()
      this.messages.push(text)
      if (text === '2') socket.send('3')
    })
    socket.on('error', () => {})
  }

  /** Opens the transport, and, unless told otherwise, the namespace. */
  static async open(
    url: string,
    { join = true, headers = {} }: { join?: boolean; headers?: { [name: string]: string } } = {},
  ): Promise<RawSocket> {
    const raw = new RawSocket(
      new WebSocket(`${url.replace(/^http/, 'ws')}/contextd/?EIO=4&transport=websocket`, { headers, perMessageDeflate: false }),
    )
    await once(raw.socket, 'open')
    if (!join) return raw
    raw.socket.send(`40${JSON.stringify({ wire: wireVersion })}`)
    await raw.message((text) => text.startsWith('40'))
    return raw
  }

  send(text: string | Buffer): void {
    this.socket.send(text)
  }

  /** Waits for a message. */
  message(fits: (text: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const found = this.messages.find(fits)
        if (found !== undefined) resolve(found)
      }
      this.socket.on('message', () => setImmediate(look))
      this.socket.once('close', () => reject(new Error('closed before the message came')))
      look()
    })
  }

  /** Sends an event with an acknowledgement, and gives what was acknowledged. */
  async call<T>(id: number, event: string, payload: unknown): Promise<T> {
    this.send(`42${id}${JSON.stringify([event, payload])}`)
    const answer = await this.message((text) => text.startsWith(`43${id}[`))
    return (JSON.parse(answer.slice(`43${id}`.length)) as [T])[0]
  }

  close(): void {
    this.socket.terminate()
  }
}
