import type { DeltaFrame, Head, HeadFrame, VerdictFrame } from '@contextd/protocol'
import { ToldHead, isToldByDelta, outcomeOf } from 'contextd/cores'
import type { Answered } from 'contextd/cores'
import type { Connection } from './connection.ts'
import type { Asker } from './sim-committer.ts'
import type { World } from './world.ts'

/** Those on one node who have a context open, and what they were told; the decisions are the server's own code. */
export class SimRoom {
  readonly contextId: string
  readonly #world: World
  readonly #members = new Map<Connection, Set<string>>()
  /** Connections that read too slowly to be sent anything. */
  readonly #slow = new Set<Connection>()
  #told = new ToldHead()

  constructor(contextId: string, world: World) {
    this.contextId = contextId
    this.#world = world
  }

  get members(): readonly Connection[] {
    return [...this.#members.keys()]
  }

  join(connection: Connection, session: string): void {
    const sessions = this.#members.get(connection)
    if (sessions) sessions.add(session)
    else this.#members.set(connection, new Set([session]))
  }

  leave(connection: Connection, session: string): void {
    const sessions = this.#members.get(connection)
    sessions?.delete(session)
    if (sessions?.size === 0) this.remove(connection)
  }

  /** Takes a connection out; of an empty room it is forgotten what was told there. */
  remove(connection: Connection): void {
    this.#slow.delete(connection)
    if (this.#members.delete(connection) && this.#members.size === 0) this.#told = new ToldHead()
  }

  slowDown(connection: Connection): void {
    if (this.#members.has(connection)) this.#slow.add(connection)
  }

  /** Whether it was slow, and is sent everything again. */
  speedUp(connection: Connection): boolean {
    return this.#slow.delete(connection)
  }

  /** A sync was answered with this head. */
  synced(head: Head): void {
    this.#told.synced(head)
  }

  /** What the store has published. */
  publication(message: string): void {
    const [event, frame] = JSON.parse(message) as ['d', DeltaFrame] | ['h', HeadFrame]
    if (event === 'd') this.#told.delta(frame)
    else this.#told.head({ incarnation: frame[1], version: frame[2], revision: frame[3] })
    for (const connection of this.#listening()) connection.down(event === 'd' ? { type: 'd', frame } : { type: 'h', frame })
  }

  /** A beacon has read the head. */
  tellHead(head: Head): void {
    if (!this.#told.shouldTell(head)) return
    this.#told.head(head)
    for (const connection of this.#listening()) this.tellHeadTo(connection, head)
  }

  tellHeadTo(connection: Connection, { incarnation, version, revision }: Head): void {
    connection.down({ type: 'h', frame: [this.contextId, incarnation, version, revision] })
  }

  /** Tells each asker what its commit came to; a session in the room sees it in the delta (P4). */
  answer(answered: readonly Answered<Asker>[]): void {
    const frames = new Map<Connection, Map<string, VerdictFrame>>()
    for (const one of answered) {
      const { target, remove, stream } = one.submission
      if (target.type === 'server') {
        target.tell(one)
        continue
      }
      const { connection, session, epoch } = target
      const joined = this.#members.get(connection)?.has(session) === true && !this.#slow.has(connection)
      if (isToldByDelta(one.answer, { remove }, joined)) continue
      const ofConnection = frames.get(connection) ?? new Map<string, VerdictFrame>()
      frames.set(connection, ofConnection)
      const name = `${session} ${epoch}`
      const frame = ofConnection.get(name) ?? [this.contextId, this.#world.session(session).actor, epoch, []]
      ofConnection.set(name, frame)
      frame[3].push([stream!.seq, outcomeOf(one.answer)])
    }
    for (const [connection, ofConnection] of frames) for (const frame of ofConnection.values()) connection.down({ type: 'v', frame })
  }

  #listening(): Connection[] {
    return this.members.filter((connection) => !this.#slow.has(connection))
  }
}
