import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

/**
 * What becomes of what arrives: `pass` · `drop replies`: requests go on, answers do not · `swallow`: nothing goes on either way, connections stay open ·
 * `refuse`: new connections are closed at once, those there are pass.
 */
export type ProxyMode = 'pass' | 'drop replies' | 'swallow' | 'refuse'

/** How much of what a client says is kept, to tell connections apart. */
const beginning = 10_000

type Pair = readonly [near: Socket, far: Socket]

/** A TCP proxy on 127.0.0.1 between a client and a server, that can go wrong in the ways of a network. */
export class FaultyProxy {
  mode: ProxyMode = 'pass'
  readonly #server: Server
  /** Both ends of each connection, and how it began. */
  readonly #pairs = new Map<Pair, string>()
  readonly #swallowed = new WeakSet<Pair>()

  private constructor(targetPort: number) {
    this.#server = createServer((near) => {
      if (this.mode === 'refuse') {
        near.destroy()
        return
      }
      this.#join(near, connect(targetPort, '127.0.0.1'))
    })
  }

  static async to(targetPort: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(targetPort)
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening')
    return proxy
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#pairs.size
  }

  /** From now on nothing passes on the connections on which a client has said this, without their being closed. */
  swallow(said: string): void {
    for (const [pair, text] of this.#pairs) if (text.includes(said)) this.#swallowed.add(pair)
  }

  /** Breaks every connection. */
  cut(): void {
    for (const pair of this.#pairs.keys()) for (const socket of pair) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(near: Socket, far: Socket): void {
    const pair = [near, far] as const
    this.#pairs.set(pair, '')
    const passes = (): boolean => this.mode !== 'swallow' && !this.#swallowed.has(pair)
    near.on('data', (chunk: Buffer) => {
      const began = this.#pairs.get(pair) ?? ''
      if (began.length < beginning) this.#pairs.set(pair, began + chunk.toString())
      if (passes()) far.write(chunk)
    })
    far.on('data', (chunk) => {
      if (passes() && this.mode !== 'drop replies') near.write(chunk)
    })
    for (const socket of pair) {
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#pairs.delete(pair)
        near.destroy()
        far.destroy()
      })
    }
  }
}
