import { ContextdError, checkContextId } from '@contextd/protocol'
import type { EngineNode } from '../engine-node.ts'
import { RefreshRequests } from './refresh-requests.ts'
import { Source } from './source.ts'
import { checkSource } from './source-options.ts'
import type { ContextSource, SourceStatus } from './source-types.ts'

/** How long who asks the leader waits, beyond the time in which there is a new leader, ms. */
const refreshPatienceMs = 70_000

/** The sources of this node: the leader of all nodes fetches. */
export class Sources {
  readonly #node: EngineNode
  readonly #sources = new Map<string, AddedSource>()

  constructor(node: EngineNode) {
    this.#node = node
  }

  /** @throws {TypeError} an option is malformed, or the context has a source on this node already */
  add(options: unknown): ContextSource {
    if (this.#node.closing) throw new ContextdError('closed', 'The engine is closed.')
    const settings = checkSource(options, this.#node.backend.materialized)
    checkContextId(settings.contextId, this.#node.limits.idBytes)
    const { contextId } = settings
    if (this.#sources.has(contextId)) throw new TypeError(`addSource: ${contextId} has a source already; remove that one first`)
    const source = new AddedSource(this.#node, settings, () => this.#sources.delete(contextId))
    this.#sources.set(contextId, source)
    return source
  }

  /** Ends all; another node may go on at once. */
  async close(): Promise<void> {
    await Promise.all([...this.#sources.values()].map((source) => source.remove()))
  }
}

class AddedSource implements ContextSource {
  readonly #source: Source
  readonly #requests: RefreshRequests
  readonly #listeners = new Set<(status: SourceStatus) => void>()
  readonly #ends: (() => void)[]
  readonly #removed: () => void
  readonly #node: EngineNode
  #answering = false
  #removing: Promise<void> | null = null

  constructor(node: EngineNode, settings: Source['settings'], removed: () => void) {
    this.#node = node
    this.#removed = removed
    const { contextId } = settings
    this.#source = new Source(node, settings, () => this.#tell())
    this.#requests = new RefreshRequests(node, contextId, () => void this.#answerAll())
    const { leader } = node
    this.#ends = [
      node.subscribe(contextId, { step: (_, { head }) => this.#source.seen(head.version), gone: () => this.#source.seen(0) }),
      leader.onChange((leads) => this.#lead(leads)),
      leader.need(),
    ]
    if (leader.isLeader) this.#lead(true)
  }

  get status(): SourceStatus {
    return this.#source.status
  }

  async refresh(): Promise<void> {
    if (this.#removing !== null) throw new ContextdError('closed', 'The source was removed.')
    await this.#node.open()
    if (this.#node.leader.isLeader) await this.#source.run()
    else await this.#requests.ask(refreshPatienceMs + this.#node.leaseMs)
  }

  remove(): Promise<void> {
    this.#removing ??= this.#remove()
    return this.#removing
  }

  subscribe(listener: (status: SourceStatus) => void): () => void {
    if (typeof listener !== 'function') throw new TypeError('subscribe takes a function (status) => …')
    const own = (status: SourceStatus): void => listener(status)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }

  async #remove(): Promise<void> {
    this.#removed()
    await this.#source.rest()
    for (const end of this.#ends) end()
    this.#requests.end()
  }

  #lead(leads: boolean): void {
    if (!leads) return void this.#source.rest()
    this.#source.lead()
    // What was asked of the leader before.
    this.#requests.read().then(
      () => this.#answerAll(),
      () => {},
    )
  }

  /** Carries out what other nodes asked for; one fetch answers all who asked before it. */
  async #answerAll(): Promise<void> {
    const { contextId } = this.#source.settings
    if (this.#answering || !this.status.leader) return
    this.#answering = true
    try {
      while (this.status.leader && this.#requests.open) {
        const upTo = this.#requests.asked
        const failure = await this.#source.run().then(
          () => '',
          (error: unknown) => `fetch failed: ${error instanceof Error ? error.message : String(error)}`,
        )
        await this.#requests.answer(upTo, failure)
      }
    } catch (error) {
      this.#node.logger.warn({ contextId, error }, 'who asked for a source could not be answered')
    } finally {
      this.#answering = false
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
