import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

/** A TCP proxy on the loopback that counts what passes, and can cut everybody off. */
export class TcpProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Bytes that went to the target. */
  sent = 0
  /** Bytes that came back. */
  received = 0
  readonly #pairs = new Set<readonly [near: Socket, far: Socket]>()
  /** While false, new connections are closed at once. */
  open = true
  /** Ports that new connections go to, in turn; none: they are closed. */
  targets: readonly number[]
  /** Ports that connections went to. */
  readonly dealt = new Set<number>()
  #turn = 0

  private constructor(targetPort: number) {
    this.targets = [targetPort]
    this.#server = createServer((near) => {
      const target = this.targets[(this.#turn += 1) % this.targets.length]
      if (!this.open || target === undefined) {
        near.destroy()
        return
      }
      this.dealt.add(target)
      const far = connect(target, '127.0.0.1')
      near.on('data', (chunk) => (this.sent += chunk.length))
      far.on('data', (chunk) => (this.received += chunk.length))
      near.pipe(far).pipe(near)
      const pair = [near, far] as const
      this.#pairs.add(pair)
      near.on('close', () => this.#pairs.delete(pair))
      for (const socket of [near, far]) {
        this.#sockets.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#sockets.delete(socket)
          near.destroy()
          far.destroy()
        })
      }
    })
  }

  static async to(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  /** Port that all new connections go to. */
  set target(port: number) {
    this.targets = [port]
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Breaks every connection; new ones are accepted only while `open`. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Passes on what is sent, and none of the answers. */
  loseAnswers(): void {
    for (const [near, far] of this.#pairs) far.unpipe(near).resume()
  }

  /** Passes nothing on any more, though the connections stay. */
  freeze(): void {
    for (const [near, far] of this.#pairs) {
      near.unpipe(far).pause()
      far.unpipe(near).pause()
    }
  }
  thaw(): void {
    for (const [near, far] of this.#pairs) near.pipe(far).pipe(near)
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
