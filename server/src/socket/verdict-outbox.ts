import type { Outcome, VerdictFrame } from '@contextd/protocol'

/** Gathers what the sessions of one socket are told of their commits, and sends it as few frames: one for each stream and turn. */
export class VerdictOutbox {
  readonly #send: (frame: VerdictFrame) => void
  readonly #frames = new Map<string, VerdictFrame>()

  constructor(send: (frame: VerdictFrame) => void) {
    this.#send = send
  }

  tell(contextId: string, actor: string, epoch: number, seq: number, outcome: Outcome): void {
    if (this.#frames.size === 0) queueMicrotask(() => this.flush())
    const stream = `${contextId} ${actor} ${epoch}`
    const frame = this.#frames.get(stream)
    if (frame) frame[3].push([seq, outcome])
    else this.#frames.set(stream, [contextId, actor, epoch, [[seq, outcome]]])
  }

  /** Sends what was gathered. */
  flush(): void {
    for (const frame of this.#frames.values()) this.#send(frame)
    this.#frames.clear()
  }
}
