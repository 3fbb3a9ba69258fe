import { ContextdError, checkOperations } from '@contextd/protocol'
import type {
  CommitMessage,
  DeltaFrame,
  Head,
  HeadFrame,
  JsonObject,
  Operation,
  Outcome,
  SyncRequest,
  VerdictFrame,
  WireCommit,
} from '@contextd/protocol'
import { CommitQueue, ToldHead, isToldByDelta, noHead, outcomeOf, syncReply } from 'contextd/cores'
import type { Answered, CommitBatch, CommitResult, KnownContext, Submission, SyncResult } from 'contextd/cores'
import type { Connection, UpMessage } from './connection.ts'
import type { CallEnd, SimStore, Subscriber } from './sim-store.ts'
import type { World } from './world.ts'

/** Who gets the answer to a commit: a session on a connection, or the server's own code. */
export type Asker =
  | { readonly type: 'session'; readonly connection: Connection; readonly session: string; readonly epoch: number }
  | { readonly type: 'server'; readonly tell: (answered: Answered<Asker>) => void }

/** A context on a node: its committer, and the room of those who have it open here. */
interface Room {
  readonly queue: CommitQueue<Asker>
  readonly members: Map<Connection, Set<string>>
  told: ToldHead
  /** The store is being asked for the context. */
  loading: boolean
  /** Connections that read too slowly to be sent anything. */
  readonly slow: Set<Connection>
}

/** Sent by the node before it has reached the store, ms. */
const retryMs = 50

/** A server process: everything in it is gone when it crashes. The committer's queue and the fan-out's decisions are the server's own code. */
export class SimNode implements Subscriber {
  readonly id: string
  readonly #world: World
  readonly #store: SimStore
  #life = 0
  #up = true
  /** Publications do not reach it: its subscriber connection is down. */
  deaf = false
  #rooms = new Map<string, Room>()
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
    this.#rooms = new Map()
    for (const connection of this.#connections.keys()) connection.cut()
    this.#connections.clear()
  }

  restart(): void {
    this.#world.note(this.id, 'restart')
    this.#up = true
    this.deaf = false
  }

  /** The subscriber connection is back: heads are read at once. */
  hear(): void {
    this.deaf = false
    this.beacon()
  }

  /** Connections that are in a room. */
  membersOf(contextId: string): readonly Connection[] {
    return [...(this.#rooms.get(contextId)?.members.keys() ?? [])]
  }

  /** A connection reads too slowly: it leaves its rooms until it has drained. */
  slowDown(contextId: string, connection: Connection): void {
    this.#rooms.get(contextId)?.slow.add(connection)
  }

  /** It has drained: it is in its rooms again, and is told their heads. */
  drained(contextId: string, connection: Connection): void {
    const room = this.#rooms.get(contextId)
    if (!room?.slow.delete(connection)) return
    this.#store.heads(this.id, [contextId], (end) => {
      const head = end.type === 'done' ? end.value[0] : undefined
      if (head) return connection.down({ type: 'h', frame: headFrame(contextId, head) })
      // Nobody knows what it missed: it stays out until it can be told.
      room.slow.add(connection)
      this.#world.scheduler.after(retryMs, () => this.drained(contextId, connection))
    })
  }

  upClosed(connection: Connection): void {
    this.#connections.delete(connection)
    for (const room of this.#rooms.values()) this.#out(room, connection)
  }

  receive(message: UpMessage, connection: Connection): void {
    if (!this.#up || (this.#connections.get(connection) ?? this.#life) !== this.#life) return
    if (message.type === 'attach') this.#attach(message.request, message.session, connection)
    else if (message.type === 'sync') this.#sync(message.request, message.sync, connection)
    else if (message.type === 'commit') this.#commit(message.commit, connection)
    else if (message.type === 'leave') this.#leave(message.contextId, message.session, connection)
    else for (const contextId of this.#rooms.keys()) this.#leave(contextId, message.session, connection)
  }

  publication(contextId: string, message: string): void {
    const room = this.#rooms.get(contextId)
    if (!this.#up || this.deaf || !room) return
    const [event, frame] = JSON.parse(message) as ['d', DeltaFrame] | ['h', HeadFrame]
    if (event === 'd') room.told.delta(frame)
    else room.told.head(headOf(frame))
    for (const connection of room.members.keys()) {
      if (room.slow.has(connection)) continue
      connection.down(event === 'd' ? { type: 'd', frame } : { type: 'h', frame })
    }
  }

  /** A commit of the server's own code (P7). */
  submit(contextId: string, submission: Omit<Submission<Asker>, 'target'>, tell: (answered: Answered<Asker>) => void): void {
    this.#enqueue(contextId, { ...submission, target: { type: 'server', tell } })
  }

  /** Reads the heads of the contexts that are open here, and tells the rooms. */
  beacon(): void {
    const open = [...this.#rooms].filter(([, room]) => room.members.size > 0).map(([contextId]) => contextId)
    if (!this.#up || open.length === 0) return
    const life = this.#life
    this.#store.heads(this.id, open, (end) => {
      if (life !== this.#life || end.type !== 'done') return
      open.forEach((contextId, index) => this.#tellHead(contextId, end.value[index]!))
    })
  }

  #beaconLater(delay: number): void {
    this.#world.scheduler.after(delay, () => {
      this.beacon()
      this.#beaconLater(this.#world.options.beaconMs)
    })
  }

  #tellHead(contextId: string, head: Head): void {
    const room = this.#rooms.get(contextId)
    if (!room?.told.shouldTell(head)) return
    room.told.head(head)
    for (const connection of room.members.keys()) {
      if (!room.slow.has(connection)) connection.down({ type: 'h', frame: headFrame(contextId, head) })
    }
  }

  #attach(request: number, session: string | null, connection: Connection): void {
    const { mintedAt, actor, session: id } = session === null ? this.#world.mintSession() : this.#world.session(session)
    const { sessionTtlMs } = this.#world.options
    const ageMs = this.#world.now - mintedAt
    connection.down({ type: 'attached', request, reply: { session: id, actor, userId: null, sessionTtlMs, ageMs, messageBytes: 0 } })
  }

  #sync(request: number, sync: SyncRequest, connection: Connection): void {
    const { contextId } = sync
    const room = this.#room(contextId)
    if (connection.open) {
      const sessions = room.members.get(connection)
      if (sessions) sessions.add(sync.session)
      else room.members.set(connection, new Set([sync.session]))
    }
    const { key, mintedAt } = this.#world.session(sync.session)
    const { known } = room.queue
    const life = this.#life
    const query = {
      contextId,
      head: sync.head,
      stream: { key, mintedAt, epoch: sync.epoch, told: sync.told, settled: sync.settled },
      known: known?.head ?? null,
      now: this.#world.now,
      sessionTtlMs: this.#world.options.sessionTtlMs,
      maxVersions: this.#world.options.deltaThreshold,
    }
    this.#store.sync(this.id, query, (end: CallEnd<SyncResult>) => {
      if (life !== this.#life) return
      if (end.type !== 'done') {
        const error = new ContextdError('backend_unavailable', 'The store does not answer.')
        return connection.down({ type: 'syncFailed', request, error })
      }
      const { reply, known: after } = syncReply(end.value, known)
      if (end.value.type === 'found') room.told.synced(end.value.row?.head ?? noHead)
      if (after) adopt(room.queue, after, known)
      connection.down({ type: 'synced', request, reply: { ...reply, access: 'write' } })
    })
  }

  #leave(contextId: string, session: string, connection: Connection): void {
    const sessions = this.#rooms.get(contextId)?.members.get(connection)
    sessions?.delete(session)
    if (sessions?.size === 0) this.#out(this.#rooms.get(contextId)!, connection)
  }

  /** Takes a connection out of a room; of an empty one it is forgotten what was told there. */
  #out(room: Room, connection: Connection): void {
    room.slow.delete(connection)
    if (room.members.delete(connection) && room.members.size === 0) room.told = new ToldHead()
  }

  #commit(message: CommitMessage, connection: Connection): void {
    const { session, contextId, epoch, settled } = message
    const { key, mintedAt, actor } = this.#world.session(session)
    const held: [number, Outcome][] = []
    for (const commit of message.commits) {
      // A held commit takes no number, so that those behind it in the message cannot have theirs.
      if (held.length > 0 || this.#world.random.chance(this.#world.faults.held)) {
        held.push([commit.seq, { type: 'held', code: 'rate_limited', message: 'Too many commits.', details: { retryAfterMs: 100 } }])
        continue
      }
      this.#enqueue(contextId, {
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

  #enqueue(contextId: string, submission: Submission<Asker>): void {
    const { queue } = this.#room(contextId)
    queue.enqueue(submission)
    const life = this.#life
    this.#world.scheduler.after(0, () => this.#pump(contextId, life))
  }

  /** Carries the next batch to the store, when none is under way. */
  #pump(contextId: string, life: number): void {
    if (life !== this.#life) return
    const room = this.#room(contextId)
    if (room.loading) return
    const next = room.queue.begin(this.#world.now)
    if (next === 'load') this.#load(contextId, life)
    else if (next) this.#send(contextId, next, life)
  }

  /** Reads the context, and, where it is open what became of a commit of the server, its log too. */
  #load(contextId: string, life: number): void {
    const room = this.#room(contextId)
    const { queue } = room
    room.loading = true
    const goOn = (answered: readonly Answered<Asker>[], pause: number): void => {
      room.loading = false
      this.#answer(contextId, answered)
      this.#world.scheduler.after(pause, () => this.#pump(contextId, life))
    }
    this.#store.load(this.id, contextId, (end) => {
      if (life !== this.#life) return
      if (end.type !== 'done') return goOn(queue.drop(unavailable()), retryMs)
      if (!queue.doubtful) return goOn(queue.loaded(end.value), 0)
      this.#store.log(this.id, contextId, (log) => {
        if (life !== this.#life) return
        if (log.type !== 'done') goOn(queue.drop(unavailable()), retryMs)
        else goOn(queue.loaded(end.value, log.value), 0)
      })
    })
  }

  #send(contextId: string, batch: CommitBatch, life: number): void {
    const { queue } = this.#room(contextId)
    this.#store.commit(this.id, batch, (end: CallEnd<CommitResult>) => {
      if (life !== this.#life) return
      const again = (): void => this.#world.scheduler.after(retryMs, () => life === this.#life && this.#send(contextId, batch, life))
      if (end.type === 'unknown') {
        queue.unknownOutcome()
        return again()
      }
      const answered = end.type === 'done' ? queue.finish(end.value) : queue.failed(unavailable())
      if (answered === null) return again()
      this.#answer(contextId, answered)
      this.#world.scheduler.after(end.type === 'done' ? 0 : retryMs, () => this.#pump(contextId, life))
    })
  }

  /** Tells each asker what its commit came to; a session in the room sees it in the delta (P4). */
  #answer(contextId: string, answered: readonly Answered<Asker>[]): void {
    const { members, slow } = this.#room(contextId)
    const frames = new Map<Connection, Map<string, VerdictFrame>>()
    for (const one of answered) {
      const { target, remove } = one.submission
      if (target.type === 'server') {
        target.tell(one)
        continue
      }
      const { connection, session, epoch } = target
      const joined = members.get(connection)?.has(session) === true && !slow.has(connection)
      if (isToldByDelta(one.answer, { remove }, joined)) continue
      const ofConnection = frames.get(connection) ?? new Map<string, VerdictFrame>()
      frames.set(connection, ofConnection)
      const name = `${session} ${epoch}`
      const frame = ofConnection.get(name) ?? [contextId, this.#world.session(session).actor, epoch, []]
      ofConnection.set(name, frame)
      frame[3].push([one.submission.stream!.seq, outcomeOf(one.answer)])
    }
    for (const [connection, ofConnection] of frames) for (const frame of ofConnection.values()) connection.down({ type: 'v', frame })
  }

  #room(contextId: string): Room {
    let room = this.#rooms.get(contextId)
    if (!room) {
      const queue = new CommitQueue<Asker>(contextId, {
        mint: () => this.#world.mint(),
        sessionTtlMs: this.#world.options.sessionTtlMs,
        stateBytes: 0,
        itemKey: 'id',
        deltaTtlMs: 86_400_000,
        deltaThreshold: this.#world.options.deltaThreshold,
        byteLength: (text) => text.length,
      })
      room = { queue, members: new Map(), told: new ToldHead(), loading: false, slow: new Set() }
      this.#rooms.set(contextId, room)
    }
    return room
  }
}

const unavailable = (): ContextdError => new ContextdError('backend_unavailable', 'The store does not answer.')
const headFrame = (contextId: string, head: Head): HeadFrame => [contextId, head.incarnation, head.version, head.revision]
const headOf = ([, incarnation, version, revision]: HeadFrame): Head => ({ incarnation, version, revision })

/** Takes over what a sync found; a history that went back is not the one that is known. */
function adopt(queue: CommitQueue<Asker>, now: KnownContext, before: KnownContext | null): void {
  const later = now.head.incarnation === before?.head.incarnation && now.head.version > before.head.version
  if (before !== null && !later && queue.known === before && !queue.doubtful) queue.forget()
  queue.advance(now)
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
