import { drawFaults, drawWeights, healthy } from './faults.ts'
import type { Weights } from './faults.ts'
import { Random } from './random.ts'
import { SimClient } from './sim-client.ts'
import { SimNode } from './sim-node.ts'
import { SimStore } from './sim-store.ts'
import type { SimDump } from './sim-store.ts'
import { ServerWriter } from './server-writer.ts'
import { Trace } from './trace.ts'
import { Violation } from './violation.ts'
import { World } from './world.ts'
import { kinds } from './workload.ts'

const dayMs = 86_400_000
/** How long all stays healthy and quiet at the end, ms: late requests come in, and several beacons go out. */
const quietMs = 40_000
/** A run that takes more steps than this goes round in circles. */
const mostSteps = 400_000

/** A world that is driven by chance: every draw comes from one seed. */
export class Simulation {
  readonly world: World
  readonly store: SimStore
  readonly nodes: readonly SimNode[]
  readonly clients: SimClient[] = []
  readonly #random: Random
  readonly #server: ServerWriter
  readonly #weights: Weights
  /** Longest time between two actions, ms. */
  readonly #pace: number
  readonly #dumps: SimDump[] = []
  readonly #inFlight: number
  #named = 0

  constructor(seed: number, trace: Trace) {
    const random = new Random(seed)
    this.#random = random
    const options = {
      nodes: random.between(1, 3),
      contextIds: random.chance(0.8) ? ['x'] : ['x', 'y'],
      sessionTtlMs: 7 * dayMs,
      deltaThreshold: random.pick([0, 0, 3, 8, 20]),
      beaconMs: 5_000,
      decodes: seed % 20 === 0,
    }
    this.world = new World(options, random, drawFaults(random), trace)
    this.#weights = drawWeights(random)
    this.#pace = random.pick([10, 60, 300, 1_000])
    this.#inFlight = random.pick([2, 8, 64])
    this.store = new SimStore(this.world)
    this.nodes = Array.from({ length: options.nodes }, (_, index) => new SimNode(`n${index + 1}`, this.world, this.store))
    this.#server = new ServerWriter(this.world)
    for (let count = random.between(2, 4); count > 0; count -= 1) this.#newClient()
  }

  /** Makes so many writes, lets everything heal, and checks the end. */
  run(operations: number): void {
    const { scheduler } = this.world
    for (let made = 0; made < operations; made += 1) {
      this.#advance(scheduler.now + this.#random.between(0, this.#pace))
      this.#disturb()
      this.#write()
    }
    this.#heal()
    this.#advance(scheduler.now + quietMs)
    this.#finish()
  }

  #advance(until: number): void {
    this.world.scheduler.runUntil(until)
    if (this.world.scheduler.steps > mostSteps) throw new Violation('livelock', `${mostSteps} steps and no end`)
  }

  #write(): void {
    const contextId = this.#random.pick(this.world.options.contextIds)
    const client = this.#random.pick(this.clients)
    const way = this.#random.weighted({ one: 70, burst: 12, server: 8, remove: 0.6, abort: 3 })
    if (way === 'server') {
      const node = this.#random.pick(this.nodes)
      if (node.up) this.#server.write(node, contextId)
    } else if (way === 'remove') client.remove(contextId)
    else {
      const count = way === 'burst' ? this.#random.between(2, 6) : 1
      for (let index = 0; index < count; index += 1) {
        const token = client.write(contextId, this.#random.weighted(kinds))
        if (way === 'abort' && token !== null) client.abort(contextId, token)
      }
    }
  }

  #disturb(): void {
    for (const [name, chance] of Object.entries(this.#weights) as [keyof Weights, number][]) {
      if (this.#random.chance(chance)) this.#disturbances[name]()
    }
  }

  readonly #disturbances: Readonly<Record<keyof Weights, () => void>> = {
    cut: () => this.#random.pick(this.clients).connection?.cut(),
    crashNode: () => {
      const node = this.#random.pick(this.nodes)
      if (!node.up) return
      node.crash()
      this.#later(5_000, () => node.restart())
    },
    crashClient: () => {
      const client = this.#random.pick(this.clients)
      client.crash()
      this.clients.splice(this.clients.indexOf(client), 1)
      this.#newClient()
    },
    disconnect: () => this.#random.pick(this.clients).disconnect(),
    slowConsumer: () => {
      const node = this.#random.pick(this.nodes)
      const contextId = this.#random.pick(this.world.options.contextIds)
      const members = node.membersOf(contextId)
      if (members.length === 0) return
      const connection = this.#random.pick(members)
      node.slowDown(contextId, connection)
      this.#later(3_000, () => node.drained(contextId, connection))
    },
    deafNode: () => {
      const node = this.#random.pick(this.nodes)
      node.deaf = true
      this.#later(4_000, () => node.hear())
    },
    dump: () => {
      this.#dumps.push(this.store.dump(this.#random.pick(this.world.options.contextIds)))
      if (this.#dumps.length > 4) this.#dumps.shift()
    },
    rollback: () => {
      if (this.#dumps.length > 0) this.store.restore(this.#random.pick(this.#dumps))
    },
    serverDelete: () => {
      const node = this.#random.pick(this.nodes)
      if (node.up) this.#server.remove(node, this.#random.pick(this.world.options.contextIds))
    },
    leap: () => {
      const leap = this.#random.pick([0.3, 2, 6, 7.5, 9]) * dayMs
      this.world.note('world', 'leap', leap)
      this.world.leapt += leap
    },
    sweep: () => this.store.sweep(),
    leaveAndReturn: () => this.#random.pick(this.clients).leaveAndReturn(this.#random.pick(this.world.options.contextIds)),
  }

  /** Something that ends by itself within this time, ms. */
  #later(longest: number, run: () => void): void {
    this.world.scheduler.after(this.#random.between(1, longest), run)
  }

  #newClient(): void {
    this.#named += 1
    const client = new SimClient(`c${this.#named}`, this.world, this.#inFlight)
    this.clients.push(client)
    this.#keepConnected(client)
  }

  /** A client that is not connected connects again, to any node that is up. */
  #keepConnected(client: SimClient): void {
    this.world.scheduler.after(this.#random.pick([5, 100, 100, 1_500]), () => {
      if (!client.alive) return
      const up = this.nodes.filter((node) => node.up)
      if (client.connection === null && up.length > 0) client.connect(this.#random.pick(up))
      this.#keepConnected(client)
    })
  }

  #heal(): void {
    this.world.note('world', 'heal')
    this.world.faults = { ...healthy }
    for (const node of this.nodes) {
      if (!node.up) node.restart()
      node.hear()
    }
  }

  #finish(): void {
    for (const client of this.clients) {
      if (!client.attached) throw new Violation('convergence', `${client.name} is not connected`)
      for (const handle of client.handles) handle.finish()
    }
    this.world.book.check()
  }
}

/** What became of a run. */
export interface SeedResult {
  readonly seed: number
  readonly operations: number
  readonly steps: number
  /** Null: every check held. */
  readonly violation: string | null
}

/** Runs one seed. A core that throws counts as a violation too. */
export function runSeed(seed: number, operations: number, trace: Trace = new Trace(false)): SeedResult {
  let simulation: Simulation | null = null
  let violation: string | null = null
  try {
    simulation = new Simulation(seed, trace)
    simulation.run(operations)
  } catch (error) {
    violation = error instanceof Violation ? error.message : `crashed: ${error instanceof Error ? error.stack : String(error)}`
    trace.add(simulation?.world.scheduler.now ?? 0, 'check', 'VIOLATION', violation)
  }
  return { seed, operations, steps: simulation?.world.scheduler.steps ?? 0, violation }
}
