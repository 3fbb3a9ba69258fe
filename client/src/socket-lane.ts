import { ContextdError, attachReplySchema } from '@contextd/protocol'
import type { Decoder } from '@contextd/protocol'
import type { Lane, LaneListener } from './link.ts'
import { backOff, later } from './timers.ts'
import type { Timer } from './timers.ts'
import type { Wire } from './wire.ts'

/** A session on this program's own connection. */
export class SocketLane implements Lane {
  readonly listener: LaneListener
  readonly #wire: () => Wire | null
  readonly #closed: () => void
  /** Secret id; null: none yet, or to be replaced. */
  #session: string | null = null
  #hadSession = false
  #actor: string | null = null
  #attaching = false
  #failures = 0
  #timer: Timer | null = null

  /**
   * @param wire the wire that is open; null: none is
   * @param closed told when the lane is closed
   */
  constructor(listener: LaneListener, wire: () => Wire | null, closed: () => void) {
    this.listener = listener
    this.#wire = wire
    this.#closed = closed
  }

  /** Public tag of the session while it is attached. */
  get actor(): string | null {
    return this.#actor
  }

  /** Attaches the session to the wire that is open. */
  attach(): void {
    const wire = this.#wire()
    if (wire === null || this.#attaching || this.#actor !== null) return
    this.#attaching = true
    wire.request('attach', { session: this.#session }, attachReplySchema, (error, reply) => {
      if (wire !== this.#wire()) return
      this.#attaching = false
      if (reply === null) return this.#refused(error!)
      const renewed = this.#hadSession && reply.session !== this.#session
      this.#failures = 0
      this.#session = reply.session
      this.#hadSession = true
      this.#actor = reply.actor
      this.listener.attached(reply, renewed)
    })
  }

  /** The wire is lost. */
  lost(undecodable: boolean): void {
    this.#attaching = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#actor === null) return
    this.#actor = null
    this.listener.detached(undecodable)
  }

  /** Asks for something, so that it shows whether anybody answers. */
  probe(): void {
    this.#wire()?.request('attach', { session: this.#session }, attachReplySchema, () => {})
  }

  send(event: 'commit' | 'leave', message: object): void {
    if (this.#actor !== null) this.#wire()?.send(event, { session: this.#session, ...message })
  }

  request<T>(
    event: 'sync' | 'list',
    message: object,
    decoder: Decoder<T>,
    done: (error: ContextdError | null, reply: T | null) => void,
  ): void {
    const wire = this.#wire()
    const attached = this.#actor !== null || event === 'list'
    if (wire === null || !attached) return done(new ContextdError('offline', 'There is no connection to the server.'), null)
    wire.request(event, event === 'list' ? message : { session: this.#session, ...message }, decoder, done)
  }

  renew(): void {
    this.#wire()?.send('detach', { session: this.#session })
    this.#session = null
    this.reattach()
  }

  reattach(): void {
    if (this.#attaching) return
    this.lost(false)
    this.attach()
  }

  close(): void {
    if (this.#actor !== null) this.#wire()?.send('detach', { session: this.#session })
    this.#actor = null
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#closed()
  }

  #refused(error: ContextdError): void {
    // The session is of another user now, or forgotten: there is a new one for this one.
    const takesNew = this.#session !== null && !error.retryable
    if (takesNew) this.#session = null
    this.#timer = later(() => this.attach(), takesNew ? 0 : backOff(this.#failures))
    this.#failures += 1
  }
}
