import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createContexts, createServer, openBackend } from 'contextd'
import { Server } from 'socket.io'
import { WebSocketServer } from 'ws'
import { nodeOptions } from './task.ts'

/** What a server process serves: contextd on a store, or plain Socket.IO as the floor. */
export type Role = { readonly type: 'contextd'; readonly store: string } | { readonly type: 'floor' }

/** A server in a process of its own, so that its CPU time can be told from the load's. */
export class ChildServer {
  readonly url: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
  }

  static async start(role: Role): Promise<ChildServer> {
    const child = fork(process.argv[1]!, ['--serve', JSON.stringify(role)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: [...process.execArgv, ...nodeOptions],
    })
    const [message] = (await once(child, 'message')) as [{ url: string }]
    return new ChildServer(child, message.url)
  }

  /** CPU time used so far, ms. */
  async cpuMs(): Promise<number> {
    this.#child.send('cpu')
    const [message] = (await once(this.#child, 'message')) as [{ cpuMs: number }]
    return message.cpuMs
  }

  async stop(): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await exit
  }
}

/** Runs in the server process. */
export async function serve(role: Role): Promise<void> {
  const url = role.type === 'floor' ? await serveFloor() : await serveContextd(role.store)
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send?.({ cpuMs: (user + system) / 1_000 })
  })
  process.send?.({ url })
}

async function serveContextd(store: string): Promise<string> {
  const contexts = createContexts({
    backend: openBackend(store),
    limits: { commitsPerSecond: 0, messagesPerSecond: 0, socketsPerAddress: 0 },
  })
  const server = createServer({ contexts, limits: { commitsPerSecond: 0, messagesPerSecond: 0, socketsPerAddress: 0 } })
  await server.listen({ port: 0 })
  process.on('SIGTERM', () => process.exit(0))
  return server.url!
}

/** Plain Socket.IO with the same engine and options: `echo` is acknowledged with what it brought, `say` is broadcast to those who joined. */
async function serveFloor(): Promise<string> {
  const http = createHttpServer()
  const io = new Server(http, { path: '/contextd', wsEngine: WebSocketServer, transports: ['websocket'], perMessageDeflate: false })
  io.on('connection', (socket) => {
    socket.on('echo', (payload: unknown, acknowledge: (payload: unknown) => void) => acknowledge(payload))
    socket.on('join', (_payload: unknown, acknowledge: () => void) => {
      void socket.join('all')
      acknowledge()
    })
    socket.on('say', (ready: string) => io.to('all').emit('d', ready))
  })
  process.on('SIGTERM', () => process.exit(0))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}
