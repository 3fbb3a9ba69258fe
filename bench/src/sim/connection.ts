import type { DownMessage, UpMessage } from './sim-messages.ts'
import { receivedDown, receivedUp } from './wire-check.ts'
import type { World } from './world.ts'

/** The two ends of a connection. */
export interface Ends {
  /** A message arrived at the node; perhaps late, when the connection is long gone. */
  up(message: UpMessage, connection: Connection): void
  /** The node learns that the connection is gone. */
  upClosed(connection: Connection): void
  down(message: DownMessage, connection: Connection): void
  downClosed(connection: Connection): void
}

/** Longest time after which a message of a lost connection still arrives, ms. */
const latestZombie = 12_000

/** A socket: in order both ways; when it is cut, what was under way to the client is lost, and what was under way to the node perhaps. */
export class Connection {
  readonly name: string
  /** A schedule's hand: true keeps a message back. */
  interceptUp: ((message: UpMessage) => boolean) | null = null
  #open = true
  readonly #world: World
  readonly #ends: Ends
  readonly #underWay: UpMessage[] = []
  #lastUp = 0
  #lastDown = 0

  constructor(name: string, world: World, ends: Ends) {
    this.name = name
    this.#world = world
    this.#ends = ends
  }

  get open(): boolean {
    return this.#open
  }

  /** Sends to the node. */
  up(sent: UpMessage): void {
    if (!this.#open) return
    const message = this.#world.options.decodes ? receivedUp(sent) : sent
    if (this.#world.trace.on) this.#world.note(this.name, '↑', message)
    if (this.interceptUp?.(message)) return
    const { scheduler, faults } = this.#world
    this.#lastUp = Math.max(this.#lastUp, scheduler.now + this.#world.delay(faults.clientLatency))
    this.#underWay.push(message)
    scheduler.after(this.#lastUp - scheduler.now, () => this.#arrive(message))
  }

  /** Sends to the client. */
  down(sent: DownMessage): void {
    if (!this.#open) return
    const message = this.#world.options.decodes ? receivedDown(sent) : sent
    if (this.#world.trace.on) this.#world.note(this.name, '↓', message)
    const { scheduler, faults } = this.#world
    this.#lastDown = Math.max(this.#lastDown, scheduler.now + this.#world.delay(faults.clientLatency))
    scheduler.after(this.#lastDown - scheduler.now, () => {
      if (this.#open) this.#ends.down(message, this)
    })
  }

  /** Gives a message to the node now, whatever became of the connection. */
  deliverUp(message: UpMessage): void {
    this.#ends.up(message, this)
  }

  /** The connection is lost; each end learns it in its own time. */
  cut(): void {
    if (!this.#open) return
    this.#open = false
    const { scheduler, faults, random } = this.#world
    this.#world.note(this.name, 'cut')
    const latency = faults.clientLatency
    scheduler.after(random.below(latency), () => this.#ends.downClosed(this))
    scheduler.after(random.below(4 * latency), () => this.#ends.upClosed(this))
    if (this.#underWay.length === 0 || !random.chance(faults.zombie)) return
    const survivors = this.#underWay.splice(0, random.between(1, this.#underWay.length))
    scheduler.after(random.below(random.pick([50, 1_000, latestZombie])), () => {
      this.#world.note(this.name, 'late', survivors.length)
      for (const message of survivors) this.#ends.up(message, this)
    })
  }

  #arrive(message: UpMessage): void {
    if (!this.#open) return
    this.#underWay.shift()
    this.#ends.up(message, this)
  }
}
