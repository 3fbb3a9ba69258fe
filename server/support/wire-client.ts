import { wireVersion } from '@contextd/protocol'
import type {
  AttachReply,
  DeltaFrame,
  Head,
  HeadFrame,
  JsonObject,
  JsonValue,
  Operation,
  Outcome,
  SyncReply,
  VerdictFrame,
} from '@contextd/protocol'
import { io } from 'socket.io-client'
import type { ManagerOptions, Socket, SocketOptions } from 'socket.io-client'

/** What a server emits, by event. */
interface Frames {
  d: DeltaFrame
  h: HeadFrame
  v: VerdictFrame
  denied: [string, { code: string; message: string }]
  bye: { retryAfterMs: number }
}
type Options = Partial<ManagerOptions & SocketOptions>

/** A client that speaks the wire and nothing else: what it is told it keeps, and whoever waits for a frame gets each one once. */
export class WireClient {
  readonly socket: Socket
  /** Every frame so far. */
  readonly frames: { readonly [E in keyof Frames]: Frames[E][] } = { d: [], h: [], v: [], denied: [], bye: [] }
  readonly #taken: { [E in keyof Frames]?: number } = {}
  readonly #watchers = new Set<() => void>()

  constructor(socket: Socket) {
    this.socket = socket
    for (const event of Object.keys(this.frames) as (keyof Frames)[]) {
      socket.on(event, (payload: unknown) => {
        ;(this.frames[event] as unknown[]).push(payload)
        for (const watcher of this.#watchers) watcher()
      })
    }
  }

  /** Connects; rejects with the `connect_error`. */
  static async connect(url: string, auth: object = {}, options: Options = {}): Promise<WireClient> {
    const socket = io(url, {
      path: '/contextd',
      transports: ['websocket'],
      reconnection: false,
      forceNew: true,
      auth: { wire: wireVersion, ...auth },
      ...options,
    })
    const client = new WireClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('connect_error', reject)
    }).catch((error: unknown) => {
      socket.disconnect()
      throw error
    })
    return client
  }

  /** Sends a request and gives its acknowledgement. */
  call<T = unknown>(event: string, payload: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      this.socket.once('disconnect', () => reject(new Error(`disconnected before ${event} was acknowledged`)))
      this.socket.emit(event, payload, resolve)
    })
  }

  /** The next frame of an event that nobody has taken yet. */
  async next<E extends keyof Frames>(event: E): Promise<Frames[E]> {
    const index = this.#taken[event] ?? 0
    this.#taken[event] = index + 1
    const frames: readonly Frames[E][] = this.frames[event]
    await this.until(() => frames.length > index)
    return frames.at(index) as Frames[E]
  }

  /** Waits until a condition on the frames holds. */
  until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds()) return
        this.#watchers.delete(look)
        resolve()
      }
      this.#watchers.add(look)
      look()
    })
  }

  /** Waits until the connection has ended; its reason. */
  ended(): Promise<string> {
    return new Promise((resolve) => (this.socket.connected ? this.socket.once('disconnect', resolve) : resolve('not connected')))
  }

  async attach(session: string | null = null): Promise<WireSession> {
    return new WireSession(this, await this.call<AttachReply>('attach', { session }))
  }

  close(): void {
    this.socket.disconnect()
  }
}

/** A session on a wire client; it numbers its own commits. */
export class WireSession {
  readonly client: WireClient
  readonly attached: AttachReply
  /** The last number of each context. */
  readonly #last = new Map<string, number>()

  constructor(client: WireClient, attached: AttachReply) {
    this.client = client
    this.attached = attached
  }

  get id(): string {
    return this.attached.session
  }

  sync(contextId: string, head: Head | null = null, more: object = {}): Promise<SyncReply> {
    return this.client.call('sync', { session: this.id, contextId, head, epoch: 0, told: 0, settled: 0, ...more })
  }

  leave(contextId: string): void {
    this.client.socket.emit('leave', { session: this.id, contextId })
  }

  /** Sends one frame with a commit for each list of operations; gives the numbers they took. Settles as late as may be. */
  write(contextId: string, incarnation: string, commits: readonly (readonly Operation[])[], initial?: JsonObject): number[] {
    const first = (this.#last.get(contextId) ?? 0) + 1
    const seqs = commits.map((_, index) => first + index)
    const last = first + commits.length - 1
    this.#last.set(contextId, last)
    this.send(
      contextId,
      commits.map((operations, index) => ({ seq: first + index, incarnation, operations, ...(initial && { initial }) })),
      { settled: Math.max(0, last - 64) },
    )
    return seqs
  }

  /** Sends a frame as it is given. */
  send(contextId: string, commits: readonly unknown[], more: object = {}): void {
    this.client.socket.emit('commit', { session: this.id, contextId, epoch: 0, settled: 0, commits, ...more })
  }

  /** What was told of a number in a `v` frame; waits for it. */
  async outcome(contextId: string, seq: number): Promise<Outcome> {
    const find = (): Outcome | undefined => this.#outcomes(contextId).findLast(([number]) => number === seq)?.[1]
    await this.client.until(() => find() !== undefined)
    return find()!
  }

  /** Every outcome told so far, by number, in order. */
  told(contextId: string): [number, Outcome][] {
    return this.#outcomes(contextId)
  }

  /** Numbers of this session that came by in deltas. */
  seen(contextId: string): number[] {
    return this.client.frames.d
      .filter(([id]) => id === contextId)
      .flatMap(([, , , , , , authors, commits]) =>
        commits.filter(([author]) => authors[author]?.[1] === this.attached.actor).map(([, seq]) => seq),
      )
  }

  #outcomes(contextId: string): [number, Outcome][] {
    return this.client.frames.v
      .filter(([id, actor]) => id === contextId && actor === this.attached.actor)
      .flatMap(([, , , outcomes]) => outcomes)
  }
}

/** The one operation that most tests need. */
export const setTo = (key: string, value: JsonValue): Operation => ({ type: 'set', path: [key], value })
