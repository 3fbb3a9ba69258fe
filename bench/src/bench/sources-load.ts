import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createContexts, createServer, openBackend } from 'contextd'
import { Server } from 'socket.io'
import { WebSocketServer } from 'ws'
import { nodeOptions } from './task.ts'

/** What a process serves: a source on a store, or the same rows whole, by a plain broadcast to a room of Socket.IO. */
export interface SourcesTask {
  /** Null: whole. */
  readonly store: string | null
  readonly rows: number
  /** One row in so many changes with each refresh. */
  readonly every: number
}

export const contextId = 'bench:dashboard'

interface Row {
  readonly id: string
  readonly name: string
  readonly region: string
  readonly amount: number
  readonly updated: number
}

/** A dashboard, as a query gives it: new rows each time, of which few differ from before. */
function dashboard({ rows, every }: SourcesTask): () => Row[] {
  let round = 0
  const changes = (index: number): number => Math.floor((round + every - 1 - (index % every)) / every)
  return () => {
    round += 1
    return Array.from({ length: rows }, (_, index) => ({
      id: `product-${index}`,
      name: `Product number ${index}`,
      region: index % 2 === 0 ? 'north' : 'south',
      amount: 1_000 + changes(index),
      updated: 1_750_000_000_000 + changes(index),
    }))
  }
}

/** Runs in the process that is measured. */
export async function serveSources(task: SourcesTask): Promise<void> {
  const fetch = dashboard(task)
  const { url, refresh } = task.store === null ? await serveWhole(fetch) : await serveSource(task.store, fetch)
  let cpu = process.cpuUsage()
  process.on('message', (message) => {
    if (message === 'cpu') {
      const { user, system } = process.cpuUsage(cpu)
      cpu = process.cpuUsage()
      process.send!({ cpuMs: (user + system) / 1_000 })
    } else void refresh()
  })
  process.on('SIGTERM', () => process.exit(0))
  process.send!({ url })
}

async function serveSource(store: string, fetch: () => Row[]): Promise<{ url: string; refresh: () => Promise<void> }> {
  const contexts = createContexts({ backend: openBackend(store) })
  const source = contexts.addSource({ contextId, fetch, refreshIntervalMs: 3_600_000 })
  const server = createServer({ contexts, limits: { socketsPerAddress: 0 } })
  await server.listen({ port: 0 })
  await source.refresh()
  return { url: server.url!, refresh: () => source.refresh() }
}

async function serveWhole(fetch: () => Row[]): Promise<{ url: string; refresh: () => Promise<void> }> {
  const http = createHttpServer()
  const io = new Server(http, { path: '/contextd', wsEngine: WebSocketServer, transports: ['websocket'], perMessageDeflate: false })
  io.on('connection', (socket) => {
    socket.on('join', (_payload: unknown, acknowledge: () => void) => {
      void socket.join('all')
      acknowledge()
    })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const refresh = async (): Promise<void> => void io.to('all').emit('d', { items: fetch() })
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, refresh }
}

/** The process that is measured, as the load sees it. */
export class SourcesServer {
  readonly url: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string) {
    this.#child = child
    this.url = url
  }

  static async start(task: SourcesTask): Promise<SourcesServer> {
    const child = fork(process.argv[1]!, ['--task', JSON.stringify({ suite: 'sources', task })], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: [...process.execArgv, ...nodeOptions],
    })
    const [message] = (await once(child, 'message')) as [{ url: string }]
    return new SourcesServer(child, message.url)
  }

  refresh(): void {
    this.#child.send('refresh')
  }

  /** CPU time since it was asked last, ms. */
  async cpuMs(): Promise<number> {
    this.#child.send('cpu')
    const [{ cpuMs }] = (await once(this.#child, 'message')) as [{ cpuMs: number }]
    return cpuMs
  }

  async stop(): Promise<void> {
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await exit
  }
}
