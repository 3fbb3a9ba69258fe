import { wireVersion } from '@contextd/protocol'
import type { AttachReply, DeltaFrame, Head, JsonObject, Operation, SyncReply, VerdictFrame } from '@contextd/protocol'
import { RawSocket } from './raw-socket.ts'

/** A session that speaks the wire and keeps no replica: the load costs as little as it can. */
export class RawClient {
  readonly socket: RawSocket
  readonly #attached: AttachReply
  readonly #streams = new Map<string, RawStream>()

  private constructor(socket: RawSocket, attached: AttachReply) {
    this.socket = socket
    this.#attached = attached
    socket.on('d', ([frame]) => this.#delta(frame as DeltaFrame))
    socket.on('v', ([frame]) => this.#verdicts(frame as VerdictFrame))
  }

  static async connect(url: string): Promise<RawClient> {
    const socket = await RawSocket.connect(url, '/contextd', { wire: wireVersion })
    return new RawClient(socket, (await socket.call('attach', { session: null })) as AttachReply)
  }

  /** Joins a context, and gives what is needed to write to it. */
  async open(contextId: string, head: Head | null = null): Promise<{ stream: RawStream; reply: SyncReply }> {
    const request = { session: this.#attached.session, contextId, head, epoch: 0, told: 0, settled: 0 }
    const reply = (await this.socket.call('sync', request)) as SyncReply
    const stream = new RawStream(this.socket, this.#attached, contextId, incarnationOf(reply, head))
    this.#streams.set(contextId, stream)
    return { stream, reply }
  }

  close(): void {
    this.socket.close()
  }

  #delta(frame: DeltaFrame): void {
    const stream = this.#streams.get(frame[0])
    if (!stream) return
    const [, , , , , , authors, commits] = frame
    for (const [author, seq] of commits) if (authors[author]![1] === this.#attached.actor) stream.acknowledged(seq)
  }

  #verdicts([contextId, , , outcomes]: VerdictFrame): void {
    for (const [seq, outcome] of outcomes) {
      if (outcome.type !== 'applied' && outcome.type !== 'nothing')
        throw new Error(`commit ${seq} of ${contextId}: ${JSON.stringify(outcome)}`)
      this.#streams.get(contextId)?.acknowledged(seq)
    }
  }
}

/** Life of the context that a sync answer is of; a delta stays in the life of the head that was asked with. */
function incarnationOf({ answer }: SyncReply, asked: Head | null): string {
  if (answer.type === 'full' || answer.type === 'same' || answer.type === 'absent') return answer.head.incarnation
  if (answer.type === 'delta' && asked) return asked.incarnation
  throw new Error(`unexpected sync answer of type ${answer.type}`)
}

/** Writes to one context, in frames of what one microtask wrote. */
export class RawStream {
  readonly #socket: RawSocket
  readonly #attached: AttachReply
  readonly #contextId: string
  readonly #incarnation: string
  #seq = 0
  #settled = 0
  #frame: object[] = []
  onAck: () => void = () => {}
  acked = 0

  constructor(socket: RawSocket, attached: AttachReply, contextId: string, incarnation: string) {
    this.#socket = socket
    this.#attached = attached
    this.#contextId = contextId
    this.#incarnation = incarnation
  }

  write(operations: readonly Operation[], initial?: JsonObject): void {
    this.#seq += 1
    this.#frame.push({ seq: this.#seq, incarnation: this.#incarnation, operations, ...(initial && { initial }) })
    if (this.#frame.length === 1) queueMicrotask(() => this.#send())
  }

  acknowledged(seq: number): void {
    this.#settled = seq
    this.acked += 1
    this.onAck()
  }

  #send(): void {
    const commits = this.#frame
    this.#frame = []
    this.#socket.emit('commit', { session: this.#attached.session, contextId: this.#contextId, epoch: 0, settled: this.#settled, commits })
  }
}
