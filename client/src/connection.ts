import { ContextdError, wireVersion } from '@contextd/protocol'
import { transitions } from './connection-states.ts'
import type { ConnectionSignal, ConnectionState } from './connection-states.ts'
import type { Lane, LaneListener, Link } from './link.ts'
import { hasNoNetwork, watchNetwork } from './network.ts'
import { SocketLane } from './socket-lane.ts'
import { createCell } from './source.ts'
import { backOff } from './timers.ts'
import type { Timer } from './timers.ts'
import { Wire } from './wire.ts'

/** What a connection needs to know. */
export interface ConnectionOptions {
  /** Origin of the server. */
  readonly origin: string
  /** Path of its Socket.IO endpoint. */
  readonly path: string
  readonly auth: string | (() => string | Promise<string>) | undefined
  /** Told what goes wrong in the background. */
  readonly onError: (error: ContextdError) => void
}

/** A connection that held for this long starts its back-off anew, ms. */
const steadyMs = 5_000
/** How often it is tried where the browser says that there is no network, ms. */
const offlineRetryMs = 30_000

/** One socket to the server, opened again when it is lost, and the sessions that it carries. */
export class Connection implements Link {
  readonly state = createCell<ConnectionState>({ name: 'idle' })
  readonly #options: ConnectionOptions
  readonly #lanes = new Set<SocketLane>()
  readonly #stopWatching: () => void
  #wire: Wire | null = null
  /** Names the attempt, so that what an earlier one brings late is not taken. */
  #attempt = 0
  /** Attempts in a row that did not hold. */
  #failures = 0
  /** Until the next attempt; it keeps a process alive, as a connection does. */
  #timer: Timer | null = null
  #openedAt = 0
  #byeAfterMs: number | null = null
  /** The application has disconnected: what is needed does not connect. */
  #paused = false
  /** The token was refused, and is found anew before it counts as wrong. */
  #refused: ContextdError | null = null

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.#stopWatching = watchNetwork(
      () => this.#signal('online'),
      () => this.#signal('offline'),
    )
  }

  open(listener: LaneListener): Lane {
    const lane = new SocketLane(
      listener,
      () => (this.state.get().name === 'connected' ? this.#wire : null),
      () => this.#lanes.delete(lane),
    )
    this.#lanes.add(lane)
    lane.attach()
    return lane
  }
  need(): void {
    if (!this.#paused) this.#signal('needed')
  }
  connect(): void {
    this.#paused = false
    this.#refused = null
    this.#failures = 0
    this.#signal('connect')
  }
  disconnect(): void {
    this.#paused = true
    this.#signal('disconnect')
  }
  refuse(error: ContextdError): void {
    if (this.state.get().name !== 'connected') return
    if (error.code === 'update_required') this.#signal('outdated', error)
    else this.#unauthenticated(error)
  }
  destroy(): void {
    this.#stopWatching()
    this.#signal('destroy')
  }

  #signal(signal: ConnectionSignal, error?: ContextdError): void {
    const from = this.state.get().name
    const to = transitions[from][signal]
    if (to === from) return
    // Only an attempt that succeeds keeps its wire.
    if (to !== 'connected') this.#leave(false)
    const tell = this.state.put(this.#enter(to, error))
    if (to === 'connecting') void this.#try()
    tell()
  }

  /** The state to be in, with its timer. */
  #enter(name: ConnectionState['name'], error?: ContextdError): ConnectionState {
    switch (name) {
      case 'connecting':
        return { name, attempt: this.#failures + 1 }
      case 'connected':
        return { name, role: 'solo' }
      case 'reconnecting': {
        const waitMs = this.#byeAfterMs === null ? backOff(this.#failures) : this.#byeAfterMs * (1 + Math.random())
        this.#byeAfterMs = null
        this.#failures += 1
        this.#timer = setTimeout(() => this.#signal('due'), waitMs)
        return { name, attempt: this.#failures, nextAttemptAt: Date.now() + waitMs }
      }
      case 'offline':
        this.#timer = setTimeout(() => this.#signal('due'), offlineRetryMs)
        return { name }
      case 'needs-auth':
      case 'update-required':
        return { name, error: error ?? new ContextdError('unauthenticated', 'The server does not know who this is.') }
      default:
        return { name }
    }
  }

  /** Ends what belongs to the state that is left. */
  #leave(undecodable: boolean): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#attempt += 1
    const wire = this.#wire
    this.#wire = null
    wire?.close()
    for (const lane of this.#lanes) lane.lost(undecodable)
  }

  async #try(): Promise<void> {
    const attempt = this.#attempt
    let token: string | undefined
    try {
      const { auth } = this.#options
      token = typeof auth === 'function' ? await auth() : auth
    } catch (cause) {
      if (attempt !== this.#attempt) return
      this.#options.onError(new ContextdError('unauthenticated', 'The function given as auth failed. It is called again.', { cause }))
      return this.#lost()
    }
    if (attempt !== this.#attempt) return
    this.#wire = this.#newWire(attempt, token)
  }

  #newWire(attempt: number, token: string | undefined): Wire {
    const { origin, path, onError } = this.#options
    const current = (): boolean => attempt === this.#attempt
    const each = (tell: (listener: LaneListener) => void): void => {
      if (current()) for (const lane of this.#lanes) if (lane.actor !== null) tell(lane.listener)
    }
    return new Wire(
      origin,
      path,
      { wire: wireVersion, ...(token !== undefined && token !== '' && { token }) },
      {
        opened: () => {
          if (current()) this.#opened()
        },
        closed: ({ error, undecodable }) => {
          if (current()) this.#closed(error, undecodable)
        },
        delta: (frame) => each((listener) => listener.delta(frame)),
        head: (frame) => each((listener) => listener.head(frame)),
        verdicts: (frame) => {
          for (const lane of this.#lanes) if (current() && lane.actor === frame[1]) lane.listener.verdicts(frame)
        },
        denied: (contextId, error) => each((listener) => listener.denied(contextId, error)),
        bye: (retryAfterMs) => (this.#byeAfterMs = retryAfterMs),
        silent: () => {
          for (const lane of this.#lanes) if (current()) return lane.probe()
        },
        unreadable: onError,
      },
    )
  }

  #opened(): void {
    this.#openedAt = performance.now()
    this.#refused = null
    this.#signal('opened')
    for (const lane of this.#lanes) lane.attach()
  }

  #closed(error: ContextdError | null, undecodable: boolean): void {
    if (this.state.get().name === 'connected' && performance.now() - this.#openedAt >= steadyMs) this.#failures = 0
    if (error?.code === 'update_required') return this.#signal('outdated', error)
    if (error?.code === 'unauthenticated') return this.#unauthenticated(error)
    if (undecodable) this.#leave(true)
    this.#lost()
  }

  #lost(): void {
    this.#signal(hasNoNetwork() ? 'lost_offline' : 'lost')
  }

  /** A token may have run out: a function is asked for another one, once. */
  #unauthenticated(error: ContextdError): void {
    const again = typeof this.#options.auth === 'function' && this.#refused === null
    this.#refused = error
    if (!again) return this.#signal('unauthenticated', error)
    this.#byeAfterMs ??= 0
    this.#lost()
  }
}
