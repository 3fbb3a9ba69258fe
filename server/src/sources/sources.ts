import { ContextdError, checkContextId } from '@contextd/protocol'
import { setTimeout as pause } from 'node:timers/promises'
import type { EngineNode } from '../engine/engine-node.ts'
import { RefreshRequests } from './refresh-requests.ts'
import { Source } from './source.ts'
import { checkSource } from './source-options.ts'
import type { SourceSettings } from './source-options.ts'
import type { ContextSource, SourceStatus } from './source-types.ts'

/** How long who asks the leader waits, beyond the time of a fetch and that in which there is a new leader, ms. */
const refreshPatienceMs = 10_000
/** Pause until those who asked are told again what the store did not take, ms. */
const answerPauseMs = 1_000

/** The sources of this node: the leader of all nodes fetches. */
export class Sources {
  readonly #node: EngineNode
  readonly #sources = new Map<string, AddedSource>()

  constructor(node: EngineNode) {
    this.#node = node
  }

  /** @throws {TypeError} an option is malformed, or the context or a key has a source on this node already */
  add(options: unknown): ContextSource {
    if (this.#node.closing) throw new ContextdError('closed', 'The engine is closed.')
    const settings = checkSource(options, this.#node.backend.materialized)
    checkContextId(settings.contextId, this.#node.limits.idBytes)
    const { contextId } = settings
    if (this.#sources.has(contextId)) throw new TypeError(`addSource: ${contextId} has a source already; remove that one first`)
    this.#checkKeys(settings)
    const { sources: measures } = this.#node.measures
    const source = new AddedSource(this.#node, settings, () => {
      this.#sources.delete(contextId)
      measures.added -= 1
    })
    this.#sources.set(contextId, source)
    measures.added += 1
    return source
  }

  /** Ends all; another node may go on at once. */
  async close(): Promise<void> {
    const sources = [...this.#sources.values()]
    await Promise.all(sources.map((source) => source.remove()))
    const { leader } = this.#node
    if (!leader.isLeader) return
    // It leads for something else; the sources need not wait until that ends.
    await leader.close()
    for (const source of sources) source.leave()
  }

  #checkKeys({ materialize }: SourceSettings): void {
    for (const { key } of materialize) {
      for (const { settings } of this.#sources.values()) {
        if (settings.materialize.every((other) => other.key !== key)) continue
        throw new TypeError(`addSource: the key ${JSON.stringify(key)} belongs to the source of ${settings.contextId}; name another key`)
      }
    }
  }
}

class AddedSource implements ContextSource {
  readonly #source: Source
  readonly #requests: RefreshRequests
  readonly #listeners = new Set<(status: SourceStatus) => void>()
  readonly #ends: (() => void)[]
  readonly #resign: () => Promise<void>
  readonly #removed: () => void
  readonly #node: EngineNode
  #answering = false
  #removing: Promise<void> | null = null

  constructor(node: EngineNode, settings: SourceSettings, removed: () => void) {
    this.#node = node
    this.#removed = removed
    const { contextId } = settings
    this.#source = new Source(node, settings, () => this.#tell())
    this.#requests = new RefreshRequests(node, contextId, () => this.#told())
    const { leader } = node
    this.#ends = [
      // Not the state, which may be large: only its head.
      node.watch(contextId, { frame: () => {}, head: ({ version }) => this.#source.seen(version) }),
      leader.onChange((leads) => this.#lead(leads)),
    ]
    this.#resign = leader.need()
    if (leader.isLeader) this.#lead(true)
  }

  get settings(): SourceSettings {
    return this.#source.settings
  }
  get status(): SourceStatus {
    return this.#source.status
  }

  async refresh(): Promise<void> {
    for (;;) {
      if (this.#removing !== null) throw new ContextdError('closed', 'The source was removed.')
      await this.#node.open()
      const { term } = this.#source
      if (term === null) return this.#requests.ask(this.settings.timeoutMs + this.#node.leaseMs + refreshPatienceMs)
      try {
        return await term.run()
      } catch (error) {
        // Should another node lead now, it is asked.
        if (!term.over) throw error
      }
    }
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove()
    return this.#removing
  }

  /** Tells the other nodes that this one leads no more. */
  leave(): void {
    this.#requests.leave()
  }

  subscribe(listener: (status: SourceStatus) => void): () => void {
    if (typeof listener !== 'function') throw new TypeError('subscribe takes a function (status) => …')
    const own = (status: SourceStatus): void => listener(status)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  async #remove(): Promise<void> {
    this.#removed()
    for (const end of this.#ends) end()
    this.#requests.end()
    const { leader } = this.#node
    const led = leader.isLeader
    await this.#source.rest()
    await this.#resign()
    if (led && !leader.isLeader) this.leave()
  }

  #lead(leads: boolean): void {
    if (!leads) return void this.#source.rest()
    this.#source.lead()
    // What was asked of the leader before.
    void this.#requests.read().then(() => this.#answerAll())
  }

  #told(): void {
    this.#node.leader.hurry()
    void this.#answerAll()
  }

  /** Carries out what other nodes asked for; one fetch answers all who asked before it. */
  async #answerAll(): Promise<void> {
    if (this.#answering) return
    this.#answering = true
    try {
      for (let { term } = this.#source; term !== null && this.#requests.open.length > 0; { term } = this.#source) {
        const ids = this.#requests.open
        const failure = await term.run().then(
          () => '',
          (error: unknown) => `fetch failed: ${error instanceof Error ? error.message : String(error)}`,
        )
        // Whoever leads now does it.
        if (!term.over) await this.#answer(ids, failure)
      }
    } finally {
      this.#answering = false
    }
  }

  async #answer(ids: readonly string[], failure: string): Promise<void> {
    try {
      await this.#requests.answer(ids, failure)
    } catch (error) {
      this.#node.logger.warn({ contextId: this.settings.contextId, error }, 'who asked for a source could not be answered yet')
      await pause(answerPauseMs, undefined, { ref: false })
    }
  }

  #tell(): void {
    for (const listener of new Set(this.#listeners)) {
      try {
        listener(this.status)
      } catch (error) {
        this.#node.logger.error({ contextId: this.#source.settings.contextId, error }, 'a listener to a source failed')
      }
    }
  }
}
