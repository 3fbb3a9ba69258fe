import { ContextdError, checkOperations } from '@contextd/protocol'
import type { CommitMessage, JsonObject, Operation, Outcome, SyncRequest, WireCommit } from '@contextd/protocol'
import { noHead, syncReply } from 'contextd/cores'
import type { Answered, Submission, SyncResult } from 'contextd/cores'
import type { Connection } from './connection.ts'
import { SimCommitter } from './sim-committer.ts'
import type { Asker } from './sim-committer.ts'
import type { UpMessage } from './sim-messages.ts'
import { SimRoom } from './sim-room.ts'
import type { CallEnd, SimStore, Subscriber } from './sim-store.ts'
import type { World } from './world.ts'

/** A context on a node. */
interface NodeContext {
  readonly room: SimRoom
  readonly committer: SimCommitter
}

/** Pause before a head is read once more, ms. */
const retryMs = 50

/** A server process: everything in it is gone when it crashes. */
export class SimNode implements Subscriber {
  readonly id: string
  /** Publications do not reach it: its subscriber connection is down. */
  deaf = false
  readonly #world: World
  readonly #store: SimStore
  #life = 0
  #up = true
  #contexts = new Map<string, NodeContext>()
  /** In which of its lives a connection was made: another one knows nothing of it. */
  readonly #connections = new Map<Connection, number>()

  constructor(id: string, world: World, store: SimStore) {
    this.id = id
    this.#world = world
    this.#store = store
    store.subscribe(this)
    this.#beaconLater(world.random.below(world.options.beaconMs))
  }

  get up(): boolean {
    return this.#up
  }

  accept(connection: Connection): void {
    this.#connections.set(connection, this.#life)
  }

  /** The process ends without a word. */
  crash(): void {
    this.#world.note(this.id, 'crash')
    this.#up = false
    this.#life += 1
    for (const { committer } of this.#contexts.values()) committer.stop()
    this.#contexts = new Map()
    for (const [connection, life] of this.#connections) if (life === this.#life - 1) connection.cut()
  }

  restart(): void {
    this.#world.note(this.id, 'restart')
    this.#up = true
    this.deaf = false
  }

  /** The subscriber connection is back: heads are read at once. */
  hear(): void {
    this.deaf = false
    this.#beacon()
  }

  /** Connections that have a context open. */
  membersOf(contextId: string): readonly Connection[] {
    return this.#contexts.get(contextId)?.room.members ?? []
  }

  /** A connection reads too slowly: it is sent nothing of the context until it has drained. */
  slowDown(contextId: string, connection: Connection): void {
    this.#contexts.get(contextId)?.room.slowDown(connection)
  }

  /** It has drained: it is sent everything again, and is told the head. */
  drained(contextId: string, connection: Connection): void {
    const room = this.#contexts.get(contextId)?.room
    if (!room?.speedUp(connection)) return
    this.#store.heads(this.id, [contextId], (end) => {
      const head = end.type === 'done' ? end.value[0] : undefined
      if (head) return room.tellHeadTo(connection, head)
      // Nobody knows what it missed: it stays out until it can be told.
      room.slowDown(connection)
      this.#world.scheduler.after(retryMs, () => this.drained(contextId, connection))
    })
  }

  upClosed(connection: Connection): void {
    for (const { room } of this.#contexts.values()) room.remove(connection)
  }

  /** A message of a client; perhaps late, but not of another life. */
  receive(message: UpMessage, connection: Connection): void {
    if (!this.#up || this.#connections.get(connection) !== this.#life) return
    if (message.type === 'attach') this.#attach(message.request, message.session, connection)
    else if (message.type === 'sync') this.#sync(message.request, message.sync, connection)
    else if (message.type === 'commit') this.#commit(message.commit, connection)
    else if (message.type === 'leave') this.#contexts.get(message.contextId)?.room.leave(connection, message.session)
    else for (const { room } of this.#contexts.values()) room.leave(connection, message.session)
  }

  publication(contextId: string, message: string): void {
    if (this.#up && !this.deaf) this.#contexts.get(contextId)?.room.publication(message)
  }

  /** A commit of the server's own code (P7). */
  submit(contextId: string, submission: Omit<Submission<Asker>, 'target'>, tell: (answered: Answered<Asker>) => void): void {
    this.#context(contextId).committer.submit({ ...submission, target: { type: 'server', tell } })
  }

  #beaconLater(delay: number): void {
    this.#world.scheduler.after(delay, () => {
      this.#beacon()
      this.#beaconLater(this.#world.options.beaconMs)
    })
  }

  /** Reads the heads of the contexts that are open here, and tells the rooms. */
  #beacon(): void {
    const open = [...this.#contexts.values()].map(({ room }) => room).filter(({ members }) => members.length > 0)
    if (!this.#up || open.length === 0) return
    const life = this.#life
    const contextIds = open.map(({ contextId }) => contextId)
    this.#store.heads(this.id, contextIds, (end) => {
      if (life === this.#life && end.type === 'done') open.forEach((room, index) => room.tellHead(end.value[index]!))
    })
  }

  #attach(request: number, session: string | null, connection: Connection): void {
    const { mintedAt, actor, session: id } = session === null ? this.#world.mintSession() : this.#world.session(session)
    const { sessionTtlMs } = this.#world.options
    const ageMs = this.#world.now - mintedAt
    connection.down({ type: 'attached', request, reply: { session: id, actor, userId: null, sessionTtlMs, ageMs, messageBytes: 0 } })
  }

  /** Joins first, reads then. */
  #sync(request: number, { contextId, session, head, epoch, told, settled }: SyncRequest, connection: Connection): void {
    const { room, committer } = this.#context(contextId)
    if (connection.open) room.join(connection, session)
    const { key, mintedAt } = this.#world.session(session)
    const { known } = committer.queue
    const { sessionTtlMs, deltaThreshold: maxVersions } = this.#world.options
    const stream = { key, mintedAt, epoch, told, settled }
    const query = { contextId, head, stream, known: known?.head ?? null, now: this.#world.now, sessionTtlMs, maxVersions }
    const life = this.#life
    this.#store.sync(this.id, query, (end: CallEnd<SyncResult>) => {
      if (life !== this.#life) return
      if (end.type !== 'done') {
        const error = new ContextdError('backend_unavailable', 'The store does not answer.')
        return connection.down({ type: 'syncFailed', request, error })
      }
      const { reply, known: after } = syncReply(end.value, known, head)
      if (end.value.type === 'found') room.synced(end.value.row?.head ?? noHead)
      if (after) committer.adopt(after, known)
      connection.down({ type: 'synced', request, reply: { ...reply, access: 'write' } })
    })
  }

  #commit({ session, contextId, epoch, settled, commits }: CommitMessage, connection: Connection): void {
    const { key, mintedAt, actor } = this.#world.session(session)
    const { committer } = this.#context(contextId)
    const held: [number, Outcome][] = []
    for (const commit of commits) {
      // A held commit takes no number, so that those behind it in the message cannot have theirs.
      if (held.length > 0 || this.#world.random.chance(this.#world.faults.held)) {
        held.push([commit.seq, { type: 'held', code: 'rate_limited', message: 'Too many commits.', details: { retryAfterMs: 100 } }])
        continue
      }
      committer.submit({
        target: { type: 'session', connection, session, epoch },
        source: key,
        stream: { key, mintedAt, epoch, seq: commit.seq, settled },
        author: { userId: null, actor },
        incarnation: commit.incarnation,
        operations: admitted(commit),
        remove: commit.delete === 1,
        initial: (commit.initial as JsonObject | undefined) ?? null,
        size: 100,
      })
    }
    if (held.length > 0) connection.down({ type: 'v', frame: [contextId, actor, epoch, held] })
  }

  #context(contextId: string): NodeContext {
    const known = this.#contexts.get(contextId)
    if (known) return known
    const room = new SimRoom(contextId, this.#world)
    const committer = new SimCommitter(contextId, this.id, this.#world, this.#store, (answered) => room.answer(answered))
    const context = { room, committer }
    this.#contexts.set(contextId, context)
    return context
  }
}

/** What the edge makes of a commit: its operations, or, where they are not allowed, a refusal that takes the number. */
function admitted({ operations }: WireCommit): Submission<Asker>['operations'] {
  try {
    const checked: Operation[] = checkOperations(operations, { depth: 64, operations: 1_000 })
    if (checked.some((operation) => 'path' in operation && operation.path[0] === 'forbidden')) {
      throw new ContextdError('forbidden', 'Writing here is not allowed.')
    }
    return checked
  } catch (error) {
    return () => {
      throw error
    }
  }
}
