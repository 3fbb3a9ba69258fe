import type { ServerResponse } from 'node:http'
import { ContextdError, isContextdError } from '@contextd/protocol'
import type { Delta, SyncAnswer } from '@contextd/protocol'
import { whenOver } from './call.ts'
import type { Call, Tag } from './call.ts'
import { problemOf } from './problem.ts'

/** What tests set. */
export interface StreamTiming {
  /** Time between two signs of life, ms. */
  readonly heartbeatMs: number
  /** How long a caller may not read, ms. */
  readonly patienceMs: number
}
export const defaultStreamTiming: StreamTiming = { heartbeatMs: 15_000, patienceMs: 60_000 }

/** Longest that a timer of Node counts, ms. */
const longestTimer = 2_147_483_647
/** The callers of a closing server come back within this time, each at its own moment, ms. */
const spreadMs = 2_000

/** The streams of server-sent events of one server. */
export class EventStreams {
  readonly #timing: StreamTiming
  readonly #open = new Set<EventStream>()
  readonly #enter: (address: string) => boolean
  readonly #exit: (address: string) => void
  #closing = false

  /** @param addresses counts the streams of each address; `enter` says no when they are too many */
  constructor(addresses: { enter(address: string): boolean; exit(address: string): void }, timing: StreamTiming = defaultStreamTiming) {
    this.#timing = timing
    this.#enter = (address) => addresses.enter(address)
    this.#exit = (address) => addresses.exit(address)
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * Answers with a stream: what is new since `from` (null: everything), then every commit; until the context is deleted or the caller goes.
   * @throws {ContextdError} `not_found` · `rate_limited` – too many of this address
   */
  async open(call: Call, from: Tag | null): Promise<void> {
    const address = call.request.socket.remoteAddress ?? ''
    if (!this.#enter(address)) {
      const message = 'There are too many streams of this address (socketsPerAddress). Close one.'
      throw new ContextdError('rate_limited', message, { details: { retryAfterMs: 5_000 } })
    }
    const stream = new EventStream(call, from, this.#timing)
    this.#open.add(stream)
    whenOver(call.request, call.response, () => {
      stream.stop()
      this.#open.delete(stream)
      this.#exit(address)
    })
    await stream.begin()
    if (this.#closing) stream.sendAway()
  }

  /** Ends the streams of a user, of one context or all: who comes back is authorized again. */
  revoke(userId: string, contextId: string | null): void {
    for (const stream of this.#open) {
      if (stream.userId === userId && (contextId === null || contextId === stream.contextId)) stream.sendAway()
    }
  }

  /** Ends all streams; callers come back, elsewhere. */
  close(): void {
    this.#closing = true
    for (const stream of this.#open) stream.sendAway()
  }
}

/** One stream. What is sent follows on what was sent last; whatever does not is read anew from there. */
class EventStream {
  readonly contextId: string
  readonly userId: string | null
  readonly #call: Call
  readonly #response: ServerResponse
  readonly #timing: StreamTiming
  /** What the caller has; null: nothing yet. */
  #last: Tag | null
  #over = false
  /** Whether what is stored is being read, and whether it is to be read again after that. */
  #reading: 'no' | 'reading' | 'again' = 'no'
  /** The caller does not keep up: nothing is sent until what waits has left. */
  #behind: NodeJS.Timeout | null = null
  readonly #ends: (() => void)[] = []

  constructor(call: Call, from: Tag | null, timing: StreamTiming) {
    this.#call = call
    this.#response = call.response
    this.#timing = timing
    this.#last = from
    this.contextId = call.contextId
    this.userId = call.user?.id ?? null
  }

  /** Subscribes, reads, and sends what is new. @throws what keeps it from that; nothing is sent then */
  async begin(): Promise<void> {
    const { node, user, contextId } = this.#call
    this.#ends.push(
      node.contexts.subscribe(contextId, (delta) => this.#told(delta), { onDelete: () => this.#catchUp() }),
      // Where a commit was not told, its head is seen.
      node.engine.watch(contextId, { frame: () => {}, head: ({ version, revision }) => this.#seen({ version, revision }) }),
    )
    this.#reading = 'reading'
    let answer: SyncAnswer
    try {
      answer = await node.contexts.sync(contextId, this.#last)
    } catch (error) {
      this.stop()
      throw error
    }
    if (this.#over) throw new ContextdError('closed', 'The stream was ended before it began. Ask again.')
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      // Proxies that gather answers would keep events back.
      'x-accel-buffering': 'no',
    })
    if (this.#call.request.method === 'HEAD') return void this.#response.end()
    this.#response.socket?.setNoDelay(true)
    this.#response.on('drain', () => this.#drained())
    const beat = setInterval(() => this.#beat(), this.#timing.heartbeatMs)
    this.#ends.push(() => clearInterval(beat))
    if (user?.expiresAt !== undefined) this.#expireAt(user.expiresAt)
    this.#send(answer)
    this.#read()
  }

  /** Ends it so that the caller comes back: somewhere else, or as somebody else. */
  sendAway(): void {
    this.#end(`retry: ${Math.round(Math.random() * spreadMs)}\n\n`)
  }

  #told(delta: Delta): void {
    if (this.#over || this.#behind !== null || this.#reading !== 'no') return this.#catchUp()
    const { version, revision } = this.#last!
    if (delta.version === version && delta.revision === revision) return
    if (delta.baseVersion === version && delta.version > version) this.#send({ type: 'delta', delta })
    else this.#catchUp()
  }

  #seen(head: Tag): void {
    if (this.#last?.version !== head.version || this.#last.revision !== head.revision) this.#catchUp()
  }

  /** Reads what is new, when nothing is being read. */
  #catchUp(): void {
    if (this.#reading !== 'no') this.#reading = 'again'
    else if (!this.#over && this.#behind === null) {
      this.#reading = 'again'
      this.#read()
    }
  }

  #read(): void {
    if (this.#reading !== 'again' || this.#over || this.#behind !== null) {
      this.#reading = 'no'
      return
    }
    this.#reading = 'reading'
    this.#readOnce().then(
      () => this.#read(),
      (error: unknown) => this.#failed(error),
    )
  }

  async #readOnce(): Promise<void> {
    const answer = await this.#call.node.contexts.sync(this.contextId, this.#last)
    if (!this.#over && answer.type !== 'no_change') this.#send(answer)
  }

  #failed(error: unknown): void {
    this.#reading = 'no'
    if (isContextdError(error) && error.retryable) return
    if (!isContextdError(error)) this.#call.node.engine.logger.error({ contextId: this.contextId, error }, 'a stream of events failed')
    // It is gone, and with it the stream; a client that comes back is told the same by the status.
    const { code, detail } = JSON.parse(problemOf(error).body) as { code: string; detail: string }
    this.#end(`event: error\ndata: ${JSON.stringify({ code, message: detail })}\n\n`)
  }

  #send(answer: SyncAnswer): void {
    const head = answer.type === 'full_context' ? answer.context : answer.type === 'delta' ? answer.delta : answer
    this.#last = { version: head.version, revision: head.revision }
    this.#write(`id: ${head.version}-${head.revision}\ndata: ${JSON.stringify(answer)}\n\n`)
  }

  #write(text: string): void {
    this.#response.write(text)
    const most = this.#call.node.limits.socketBufferBytes
    if (most === 0 || this.#behind !== null || this.#response.writableLength <= most) return
    this.#behind = setTimeout(() => this.#call.request.socket.destroy(), this.#timing.patienceMs).unref()
  }

  #drained(): void {
    if (this.#behind === null) return
    clearTimeout(this.#behind)
    this.#behind = null
    this.#catchUp()
  }

  #beat(): void {
    if (this.#behind === null) this.#write(': here\n\n')
  }

  #expireAt(expiresAt: number): void {
    const left = expiresAt - this.#call.node.engine.clock.now()
    const timer = setTimeout(
      () => (left > longestTimer ? this.#expireAt(expiresAt) : this.sendAway()),
      Math.min(Math.max(left, 0), longestTimer),
    ).unref()
    this.#ends.push(() => clearTimeout(timer))
  }

  #end(text: string): void {
    if (this.#over) return
    this.stop()
    if (this.#response.headersSent) this.#response.end(text)
  }

  /** Forgets the caller. */
  stop(): void {
    this.#over = true
    if (this.#behind !== null) clearTimeout(this.#behind)
    for (const end of this.#ends.splice(0)) end()
  }
}
