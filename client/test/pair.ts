import type { JsonObject, Operation, SyncReply, VerdictFrame } from '@contextd/protocol'
import { Replica } from '../src/replica.ts'
import type { ReplicaOptions } from '../src/replica.ts'
import type { ReplicaEvent } from '../src/replica-event.ts'
import { ModelServer } from './model-server.ts'

export const set = (key: string, value: number | string): Operation => ({ type: 'set', path: [key], value })
export const add = (key: string, by = 1): Operation => ({ type: 'increment', path: [key], by })

/** A replica on a model of a server; what it sends goes where the test says. */
export class Pair {
  readonly server: ModelServer
  readonly replica: Replica
  readonly actor: string
  readonly events: ReplicaEvent[] = []
  #writes = 0

  constructor(server: ModelServer = new ModelServer(), options: ReplicaOptions = {}, actor = 'me') {
    this.server = server
    this.actor = actor
    this.replica = new Replica('c', options)
  }
  attach(): this {
    this.replica.attached(this.actor)
    return this
  }
  write(...operations: Operation[]): string {
    this.#writes += 1
    const id = `w${this.#writes}`
    this.replica.write({ id, operations })
    return id
  }
  remove(): string {
    this.#writes += 1
    this.replica.write({ id: `w${this.#writes}`, operations: [], remove: true })
    return `w${this.#writes}`
  }
  /** Answers the sync that is wanted. */
  sync(change: (reply: SyncReply) => SyncReply = (reply) => reply): SyncReply | null {
    const query = this.replica.takeSync()
    if (!query) return null
    const reply = this.server.sync(this.actor, query)
    this.replica.synced(query.ticket, change(reply))
    return reply
  }
  /** Numbers, incarnations and sizes of what would be sent, and is lost. */
  lose(): [seq: number, incarnation: string, operations: number][] | null {
    const message = this.replica.takeCommits()
    return message && message.commits.map(({ seq, incarnation, operations }) => [seq, incarnation, operations.length])
  }
  /** Sends what there is; what the server tells is given back untold. */
  send(): ReturnType<ModelServer['commit']> {
    const message = this.replica.takeCommits()
    return message ? this.server.commit(this.actor, message) : { frames: [], outcomes: [] }
  }
  tell({ frames, outcomes }: ReturnType<ModelServer['commit']>): void {
    for (const frame of frames) this.replica.delta(frame)
    this.outcomes(...outcomes)
  }
  outcomes(...outcomes: VerdictFrame[3]): void {
    if (outcomes.length > 0) this.replica.outcomes(this.server.record(this.actor).epoch, outcomes)
  }
  /** Everything that is to be said is said, until nobody has anything more. */
  settle(): void {
    for (let round = 0; round < 20; round += 1) {
      const synced = this.sync()
      const told = this.send()
      this.tell(told)
      this.take()
      if (!synced && told.frames.length + told.outcomes.length === 0) return
    }
    throw new Error('it goes on for ever')
  }
  take(): string[] {
    const events = this.replica.takeEvents()
    this.events.push(...events)
    return events.map(brief)
  }
}

export function brief(event: ReplicaEvent): string {
  if (event.type === 'settled') return `${event.id} ${event.verdict}${event.rebased ? ' rebased' : ''}`
  if (event.type === 'refused') return `${event.id} refused ${event.error.code}`
  if (event.type === 'held') return `held ${event.error.code}`
  return event.type === 'reset' ? `reset ${event.reason}` : event.type
}

/** A pair that is at the head of a context with a few keys. */
export function live(state: JsonObject = { a: 0, b: 0 }, options: ReplicaOptions = {}): Pair {
  const server = new ModelServer()
  server.write([{ type: 'set', path: [], value: state }])
  const pair = new Pair(server, options).attach()
  pair.settle()
  return pair
}
