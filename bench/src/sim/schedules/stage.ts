import type { UpMessage } from '../sim-messages.ts'
import { healthy } from '../faults.ts'
import { Random } from '../random.ts'
import { ServerWriter } from '../server-writer.ts'
import { SimClient } from '../sim-client.ts'
import { SimNode } from '../sim-node.ts'
import { SimStore } from '../sim-store.ts'
import type { StoreCall } from '../sim-store.ts'
import { Trace } from '../trace.ts'
import { Violation } from '../violation.ts'
import { markOperation } from '../workload.ts'
import type { PlannedWrite } from '../workload.ts'
import { World } from '../world.ts'
import type { WorldOptions } from '../world.ts'

/** The context that schedules write to. */
export const contextId = 'x'

/** Commits that stay under way. */
export interface LateCommits {
  readonly messages: readonly UpMessage[]
  /** Gives them, or the oldest few, to their node, wherever their client is by now. */
  deliver(count?: number): void
}

/**
 * A healthy world in which a schedule does by hand, and in an order of its own, what chance does in a seed; the checks are the same.
 * Every message takes 1 ms, beacons go out each 5 s.
 */
export class Stage {
  readonly world: World
  readonly store: SimStore
  readonly n1: SimNode
  readonly n2: SimNode
  readonly #clients: SimClient[] = []
  readonly #server: ServerWriter

  constructor(options: Partial<WorldOptions> = {}, trace: Trace = new Trace(false)) {
    const all = {
      nodes: 2,
      contextIds: [contextId],
      sessionTtlMs: 604_800_000,
      deltaThreshold: 0,
      beaconMs: 5_000,
      decodes: true,
      ...options,
    }
    this.world = new World(all, new Random(1), { ...healthy, clientLatency: 1, storeLatency: 1 }, trace)
    this.store = new SimStore(this.world)
    this.n1 = new SimNode('n1', this.world, this.store)
    this.n2 = new SimNode('n2', this.world, this.store)
    this.#server = new ServerWriter(this.world)
  }

  /** A new client, connected and in sync. */
  client(name: string, node: SimNode): SimClient {
    const client = new SimClient(name, this.world, 64)
    this.#clients.push(client)
    client.connect(node)
    this.pass()
    return client
  }

  /** Lets time pass; 100 ms are enough for all that is under way. */
  pass(ms = 100): void {
    this.world.scheduler.runUntil(this.world.scheduler.now + ms)
  }

  /** Time enough for every beacon. */
  passBeacon(): void {
    this.pass(6_000)
  }

  /** A client's write that fits every state. */
  append(client: SimClient): string {
    return this.#write(client, (token) => ({ operations: [markOperation(token)], marked: true, plain: true }))
  }

  /** A write that sets a register, whatever it holds. */
  setRegister(client: SimClient, value: string): string {
    return this.#write(client, (token) => ({
      operations: [{ type: 'set', path: ['reg', 'a'], value }, markOperation(token)],
      marked: true,
      plain: true,
    }))
  }

  /** A write that is refused unless the register holds this value. */
  testRegister(client: SimClient, value: string): string {
    return this.#write(client, (token) => ({
      operations: [{ type: 'test', path: ['reg', 'a'], value }, markOperation(token)],
      marked: true,
      plain: false,
    }))
  }

  /** A write that deletes the context. */
  remove(client: SimClient): void {
    this.expect(`${client.name} can delete`, client.remove(contextId) !== null)
  }

  /** A write of the server's own code. */
  serverWrite(node: SimNode): string {
    return this.#server.write(node, contextId)
  }
  serverRemove(node: SimNode): void {
    this.#server.remove(node, contextId)
  }

  /** Keeps the commits that a client sends, as if the network were slow; they can be delivered late. */
  holdCommits(client: SimClient): LateCommits {
    const connection = client.connection!
    const messages: UpMessage[] = []
    connection.interceptUp = (message) => message.type === 'commit' && messages.push(message) > 0
    const deliver = (count = messages.length): void => messages.splice(0, count).forEach((message) => connection.deliverUp(message))
    return { messages, deliver }
  }

  /** Lets a client's commits through again, those kept first. */
  release(client: SimClient, late: LateCommits): void {
    client.connection!.interceptUp = null
    late.deliver()
  }

  /** What a node hears from now on, for it to come late. */
  hearing(node: SimNode): readonly string[] {
    const heard: string[] = []
    const publication = node.publication.bind(node)
    node.publication = (id, message) => {
      heard.push(message)
      publication(id, message)
    }
    return heard
  }

  /** Keeps the calls to the store that fit. */
  keepCalls(fits: (call: StoreCall) => boolean): StoreCall[] {
    const kept: StoreCall[] = []
    this.store.intercept = (call) => fits(call) && kept.push(call) > 0
    return kept
  }

  #write(client: SimClient, plan: (token: string) => PlannedWrite): string {
    const token = client.writePlanned(contextId, plan)
    this.expect(`${client.name} can write`, token !== null)
    return token!
  }

  /** Says what the schedule relies on: what a caller has been told by now. One that goes another way proves nothing. */
  expectTold(token: string, told: string | null): void {
    this.expect(`${token} is told ${told ?? 'nothing'}, not ${this.#toldOf(token) ?? 'nothing'}`, this.#toldOf(token) === told)
  }

  /** Says what is to be shown: what a caller must have been told by now. */
  mustBeTold(token: string, told: string): void {
    const is = this.#toldOf(token)
    if (is !== told) throw new Violation('told', `${token} must be told ${told} by now, and is told ${is ?? 'nothing'}`)
  }

  #toldOf(token: string): string | null {
    const told = this.world.book.writes.get(token)?.told ?? null
    return told && (told.code ?? told.type)
  }

  expect(what: string, holds: boolean): void {
    if (!holds) throw new Violation('schedule', `expected here: ${what}`)
  }

  /** Everything heals, late beacons go out, and the end is checked. */
  end(): void {
    this.store.intercept = null
    this.n1.hear()
    this.n2.hear()
    for (const client of this.#clients) if (client.alive && client.connection === null) client.connect(this.n2)
    this.pass(30_000)
    for (const client of this.#clients) if (client.alive) for (const handle of client.handles) handle.finish()
    this.world.book.check()
  }
}
