import type { Faults } from './faults.ts'
import { Ledger } from './ledger.ts'
import type { Random } from './random.ts'
import { Scheduler } from './scheduler.ts'
import type { Trace } from './trace.ts'
import { WriteBook } from './write-book.ts'

/** How a world is set up. */
export interface WorldOptions {
  readonly nodes: number
  readonly contextIds: readonly string[]
  readonly sessionTtlMs: number
  /** Most versions in log and delta answers; 0: any. */
  readonly deltaThreshold: number
  readonly beaconMs: number
  /** Every message goes through JSON text and its decoder, as on the wire; slow. */
  readonly decodes: boolean
}

/** A session as the server minted it. */
export interface SimSession {
  readonly session: string
  readonly actor: string
  readonly key: string
  readonly mintedAt: number
}

const epochMs = 1_700_000_000_000

/** What all parts of a simulated world share: time, chance, faults, the truth, and what the checkers write down. */
export class World {
  readonly scheduler = new Scheduler()
  readonly ledgers: ReadonlyMap<string, Ledger>
  readonly book: WriteBook
  readonly options: WorldOptions
  readonly random: Random
  readonly trace: Trace
  faults: Faults
  /** How far clocks have jumped ahead, ms: a night, a week. */
  leapt = 0
  readonly #sessions = new Map<string, SimSession>()
  #tokens = 0
  #minted = 0

  constructor(options: WorldOptions, random: Random, faults: Faults, trace: Trace) {
    this.options = options
    this.random = random
    this.faults = faults
    this.trace = trace
    const book: WriteBook = new WriteBook((id) => this.ledger(id))
    this.book = book
    this.ledgers = new Map(options.contextIds.map((id) => [id, new Ledger(id, book)]))
  }

  /** The server's clock, ms. */
  get now(): number {
    return epochMs + this.scheduler.now + this.leapt
  }

  ledger(contextId: string): Ledger {
    return this.ledgers.get(contextId)!
  }

  /** Token of the next write. */
  nextToken(): string {
    this.#tokens += 1
    return `t${this.#tokens}`
  }

  /** A token that no one else has, of fixed length: incarnations and revisions. */
  mint(): string {
    this.#minted += 1
    return `r${this.#minted.toString(36).padStart(6, '0')}`
  }

  mintSession(): SimSession {
    const number = this.#sessions.size + 1
    const session = { session: `s${number}`, actor: `a${number}`, key: `k${number}`, mintedAt: this.now }
    this.#sessions.set(session.session, session)
    return session
  }

  session(session: string): SimSession {
    return this.#sessions.get(session)!
  }

  /** A delay from 1 ms to this many. */
  delay(longest: number): number {
    return longest <= 1 ? 1 : this.random.between(1, longest)
  }

  note(who: string, what: string, ...values: readonly unknown[]): void {
    this.trace.add(this.scheduler.now, who, what, ...values)
  }
}
