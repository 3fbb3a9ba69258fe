import { isContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import { Connection } from './connection.ts'
import { SimHandle } from './sim-handle.ts'
import type { NewBooking } from './sim-handle.ts'
import type { DownMessage, UpMessage } from './sim-messages.ts'
import type { SimNode } from './sim-node.ts'
import { planWrite } from './workload.ts'
import type { Kind, PlannedWrite } from './workload.ts'
import type { SimSession, World } from './world.ts'

/** How old a session may become before a live client takes a new one, as part of what the server allows. */
const renewAt = 0.8
/** A client looks after its session, and after what was held, this often, ms. */
const tickMs = 1_000

/** A tab, worker or script: one session, one connection, a replica for each context. */
export class SimClient {
  readonly name: string
  readonly handles: readonly SimHandle[]
  readonly #world: World
  #alive = true
  #connection: Connection | null = null
  #node: SimNode | null = null
  #session: SimSession | null = null
  /** The session is on the connection. */
  #attached = false
  /** Time at which the session is too old. */
  #renewAt = 0
  #attaching = 0
  #requests = 0
  readonly #syncs = new Map<number, { handle: SimHandle; ticket: number }>()

  constructor(name: string, world: World, inFlight: number) {
    this.name = name
    this.#world = world
    this.handles = world.options.contextIds.map((contextId) => new SimHandle(name, contextId, world, inFlight))
    this.#tick()
  }

  get alive(): boolean {
    return this.#alive
  }
  get connection(): Connection | null {
    return this.#connection
  }
  get node(): SimNode | null {
    return this.#node
  }
  get session(): SimSession | null {
    return this.#session
  }
  get attached(): boolean {
    return this.#attached
  }

  handle(contextId: string): SimHandle {
    return this.handles.find((handle) => handle.contextId === contextId)!
  }

  /** Opens a connection; an open one is given up. */
  connect(node: SimNode): Connection | null {
    if (!this.#alive) return null
    this.disconnect()
    const connection = new Connection(`${this.name}-${node.id}`, this.#world, {
      up: (message, from) => node.receive(message, from),
      upClosed: (from) => node.upClosed(from),
      down: (message, from) => from === this.#connection && this.#receive(message),
      downClosed: (from) => from === this.#connection && this.disconnect(),
    })
    node.accept(connection)
    this.#connection = connection
    this.#node = node
    this.#attach(this.#session?.session ?? null)
    return connection
  }

  /** Gives the connection up. */
  disconnect(): void {
    const connection = this.#connection
    if (!connection) return
    this.#connection = null
    this.#node = null
    this.#attached = false
    this.#attaching = 0
    this.#syncs.clear()
    connection.cut()
    for (const handle of this.handles) this.#input(handle, ({ replica }) => replica.detached())
  }

  /** The tab is closed or crashes: nothing of it is left, and nobody waits for its writes. */
  crash(): void {
    this.#world.note(this.name, 'crash')
    this.#alive = false
    const connection = this.#connection
    this.#connection = null
    connection?.cut()
    for (const write of this.#world.book.writes.values()) if (write.who === this.name) write.orphaned = true
  }

  /** Writes something of this kind, if there is a state to write on. Returns the token, or null. */
  write(contextId: string, kind: Kind): string | null {
    return this.writePlanned(contextId, (token, shown) => planWrite(kind, token, shown, this.#world.random))
  }

  /** Writes what is planned on the shown state. Returns the token, or null. */
  writePlanned(contextId: string, plan: (token: string, shown: JsonObject) => PlannedWrite): string | null {
    const handle = this.handle(contextId)
    const { replica } = handle
    const { shown } = replica
    if (!this.#alive || shown === undefined || replica.phase === 'loading') return null
    const token = this.#world.nextToken()
    const { operations, marked, plain } = plan(token, shown)
    return this.#write(handle, { token, marked, plain, remove: false }, () => replica.write({ id: token, operations }))
  }

  /** Deletes the context, if it is there. */
  remove(contextId: string): string | null {
    const handle = this.handle(contextId)
    if (!this.#alive || (handle.replica.head?.version ?? 0) === 0) return null
    const token = this.#world.nextToken()
    const write = { token, marked: false, plain: false, remove: true }
    return this.#write(handle, write, () => handle.replica.write({ id: token, operations: [], remove: true }))
  }

  /** Takes a write back, if it was never sent. */
  abort(contextId: string, token: string): boolean {
    const handle = this.handle(contextId)
    let done = false
    this.#input(handle, ({ replica }) => {
      done = replica.abort(token)
      if (done) this.#world.book.refused(token, 'aborted')
    })
    return done
  }

  /** Gives messages of the replicas to the connection. */
  pump(handle: SimHandle): void {
    if (!this.#attached) return
    const { replica, contextId } = handle
    const { session } = this.#session!
    const sync = replica.takeSync()
    if (sync) {
      const { ticket, ...rest } = sync
      const request = this.#request({ handle, ticket })
      handle.syncSent()
      this.#send({ type: 'sync', request, sync: { session, contextId, ...rest } })
    }
    if (handle.paused) return
    const message = replica.takeCommits()
    if (!message) return
    for (const commit of message.commits) this.#world.book.sent(contextId, this.#session!.key, commit, tokenOf(commit.operations))
    this.#send({ type: 'commit', commit: { session, contextId, ...message } })
  }

  /** Leaves a context and opens it again at once. */
  leaveAndReturn(contextId: string): void {
    if (!this.#attached) return
    const handle = this.handle(contextId)
    this.#send({ type: 'leave', session: this.#session!.session, contextId })
    this.#input(handle, ({ replica }) => {
      replica.detached()
      replica.attached(this.#session!.actor)
    })
  }

  #write(handle: SimHandle, booking: NewBooking, make: () => void): string | null {
    this.#world.note(this.name, 'write', handle.contextId, booking.token)
    try {
      make()
    } catch (error) {
      if (isContextdError(error)) return null
      throw error
    }
    handle.book(booking)
    this.#input(handle, () => undefined)
    return booking.token
  }

  #attach(session: string | null): void {
    this.#attaching = this.#request(null)
    this.#send({ type: 'attach', request: this.#attaching, session })
  }

  #request(sync: { handle: SimHandle; ticket: number } | null): number {
    this.#requests += 1
    if (sync) this.#syncs.set(this.#requests, sync)
    return this.#requests
  }

  #send(message: UpMessage): void {
    this.#connection?.up(message)
  }

  #receive(message: DownMessage): void {
    if (message.type === 'attached') return this.#onAttached(message)
    if (message.type === 'synced' || message.type === 'syncFailed') {
      const asked = this.#syncs.get(message.request)
      this.#syncs.delete(message.request)
      if (!asked) return
      return this.#input(asked.handle, ({ replica }) => {
        if (message.type === 'synced') replica.synced(asked.ticket, message.reply)
        else replica.syncFailed(asked.ticket, message.error)
      })
    }
    const { frame } = message
    const handle = this.handle(frame[0])
    this.#input(handle, ({ replica }) => {
      if (message.type === 'd') replica.delta(message.frame)
      else if (message.type === 'h') replica.toldHead(message.frame)
      else if (message.frame[1] === this.#session?.actor) replica.outcomes(message.frame[2], message.frame[3])
    })
  }

  #onAttached({ request, reply }: DownMessage & { type: 'attached' }): void {
    if (request !== this.#attaching) return
    this.#attaching = 0
    const renewed = this.#session !== null && this.#session.session !== reply.session
    if (renewed) this.#send({ type: 'detach', session: this.#session!.session })
    this.#session = this.#world.session(reply.session)
    this.#renewAt = this.#world.now - reply.ageMs + renewAt * reply.sessionTtlMs
    this.#attached = true
    for (const handle of this.handles) {
      this.#input(handle, ({ replica }) => {
        if (renewed) handle.renewed()
        replica.attached(reply.actor)
      })
    }
  }

  /** One input of a replica, what it brings, and the checks after it. */
  #input(handle: SimHandle, give: (handle: SimHandle) => void): void {
    give(handle)
    const events = handle.takeEvents()
    if (events.some(({ type }) => type === 'held')) handle.pause(() => this.#alive && this.pump(handle))
    if (events.some(({ type }) => type === 'session_expired')) this.#renew()
    this.pump(handle)
  }

  #renew(): void {
    if (!this.#attached) return
    this.#attached = false
    this.#attach(null)
  }

  #tick(): void {
    this.#world.scheduler.after(tickMs, () => {
      if (!this.#alive) return
      const idle = this.handles.every(({ replica }) => replica.idle)
      if (this.#attached && idle && this.#world.now > this.#renewAt) this.#renew()
      for (const handle of this.handles) this.#input(handle, () => handle.lookAfter())
      this.#tick()
    })
  }
}

/** The token of a commit on its way; null: an empty one, or one without a token. */
function tokenOf(operations: readonly unknown[]): string | null {
  for (const operation of operations as readonly { type: string; path?: readonly unknown[]; values?: readonly unknown[] }[]) {
    if (operation.type === 'insert' && operation.path?.[0] === 'l') return String(operation.values?.[0])
  }
  return null
}
