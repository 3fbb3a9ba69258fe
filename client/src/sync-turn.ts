/** Whether a sync is wanted or in flight, and what has to wait for its answer (P9). */
export class SyncTurn {
  #attached = false
  #synced = false
  #wanted = false
  #ticket = 0
  /** Ticket of the sync in flight. */
  #asked: number | null = null
  /** Another one was asked for meanwhile. */
  #again = false
  #waiting: (() => void)[] = []

  /** The session is on a connection. */
  get attached(): boolean {
    return this.#attached
  }
  /** A sync was answered on this connection. */
  get synced(): boolean {
    return this.#synced
  }
  /** … and no other is wanted. */
  get upToDate(): boolean {
    return this.#synced && this.#asked === null && !this.#wanted
  }

  /** The session is on a connection now, or on none; what was in flight is lost. */
  restart(attached: boolean): void {
    this.#attached = attached
    this.stop()
    this.#wanted = attached
  }
  /** Nothing is asked until somebody wants it. */
  stop(): void {
    this.#synced = false
    this.#wanted = false
    this.#asked = null
    this.#again = false
    this.#waiting = []
  }

  /** The state is not known to be the server's. */
  want(): void {
    this.#wanted = true
  }
  /** As `want`; an answer that is on its way is not enough. */
  wantFresh(): void {
    if (this.#asked === null) this.#wanted = true
    else this.#again = true
  }

  /** While a sync is in flight messages wait: keeps one, and tells that it did. */
  keep(message: () => void): boolean {
    if (this.#asked === null) return false
    this.#waiting.push(message)
    return true
  }

  /** Ticket of the sync to send now; null: none. */
  take(): number | null {
    if (!this.#attached || !this.#wanted || this.#asked !== null) return null
    this.#wanted = false
    this.#ticket += 1
    this.#asked = this.#ticket
    return this.#ticket
  }

  /** An answer has come; false: it is one to another sync than the last, and is dropped. */
  answered(ticket: number): boolean {
    if (ticket !== this.#asked) return false
    this.#asked = null
    return true
  }
  /** The answer was taken: what has waited is next. */
  done(): void {
    this.#synced = true
    this.#wanted = this.#again
    this.#again = false
    for (const message of this.#waiting.splice(0)) message()
  }
  /** There was no answer: another sync is wanted, and will tell what has waited. */
  failed(): void {
    this.#waiting = []
    this.#wanted = true
  }
}
