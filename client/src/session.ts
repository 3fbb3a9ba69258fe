import { ContextdError, listReplySchema } from '@contextd/protocol'
import type { AttachReply, ContextInfo, JsonObject } from '@contextd/protocol'
import type { ConnectionState } from './connection-states.ts'
import type { Lane, Link } from './link.ts'
import { OpenContext } from './open-context.ts'
import type { ContextHost } from './open-context.ts'
import { createCell } from './source.ts'
import { later } from './timers.ts'
import type { Timer } from './timers.ts'
import type { Refusal } from './writer.ts'

/** What a session needs of its client. */
export interface SessionHost {
  refused(contextId: string, refusal: Refusal): void
  failed(error: ContextdError): void
  itemKeyOf(contextId: string): string
}

/** Part of its lifetime after which a session is replaced, as soon as nothing is pending (P14). */
const renewAfter = 0.75

/** This program's identity towards the server, and the contexts that are open in it. */
export class Session implements ContextHost {
  readonly lane: Lane
  readonly pending = createCell(0)
  attachment: AttachReply | null = null
  readonly #link: Link
  readonly #host: SessionHost
  readonly #contexts = new Map<string, OpenContext>()
  readonly #initials = new Map<string, JsonObject>()
  /** Whose session it was last; undefined: nobody's yet. */
  #userId: string | null | undefined
  #renewal: Timer | null = null
  #isDue = false
  #closed: ContextdError | null = null

  constructor(link: Link, host: SessionHost) {
    this.#link = link
    this.#host = host
    this.lane = link.open({
      attached: (reply, renewed) => this.#attached(reply, renewed),
      detached: (undecodable) => this.#detached(undecodable),
      delta: (frame) => this.#contexts.get(frame[0])?.delta(frame),
      head: (frame) => this.#contexts.get(frame[0])?.toldHead(frame),
      verdicts: (frame) => this.#contexts.get(frame[0])?.verdicts(frame),
      denied: (contextId, error) => this.#contexts.get(contextId)?.denied(error),
    })
    link.state.subscribe(() => {
      for (const context of this.#contexts.values()) context.reachabilityChanged()
    })
  }

  /** The open context with this id; undefined: nobody has opened it. */
  find(contextId: string): OpenContext | undefined {
    return this.#contexts.get(contextId)
  }
  /** Opens a context. @throws {ContextdError} `closed` – the client was destroyed */
  open(contextId: string): OpenContext {
    if (this.#closed) throw this.#closed
    const known = this.#contexts.get(contextId)
    if (known) return known
    const context = new OpenContext(contextId, this.itemKeyOf(contextId), this)
    this.#contexts.set(contextId, context)
    const initial = this.#initials.get(contextId)
    this.#initials.delete(contextId)
    if (initial) context.offerInitial(initial)
    return context
  }
  /** Says what a context reads as while it is absent; it need not be open. The first one that is said counts. */
  offerInitial(contextId: string, initial: JsonObject): void {
    const context = this.#contexts.get(contextId)
    if (context) context.offerInitial(initial)
    else if (!this.#initials.has(contextId)) this.#initials.set(contextId, initial)
  }

  /** Key that identifies the list items of a context. */
  itemKeyOf(contextId: string): string {
    return this.#host.itemKeyOf(contextId)
  }

  /** Asks the server which contexts there are. */
  list(query: { readonly prefix?: string; readonly limit?: number }): Promise<ContextInfo[]> {
    return new Promise((resolve, reject) => {
      this.lane.request('list', query, listReplySchema, (error, reply) => {
        if (error !== null) reject(error)
        else resolve(reply!.contexts)
      })
    })
  }

  close(error: ContextdError): void {
    this.#closed = error
    if (this.#renewal !== null) clearTimeout(this.#renewal)
    for (const context of this.#contexts.values()) context.destroy(error)
    this.#contexts.clear()
    this.lane.close()
    this.pending.set(0)
  }

  // ---- for contexts -------------------------------------------------------------------------------------------

  get connection(): ConnectionState {
    return this.#link.state.get()
  }
  need(): void {
    this.#link.need()
  }
  refuse(error: ContextdError): void {
    this.#link.refuse(error)
  }
  refused(contextId: string, refusal: Refusal): void {
    this.#host.refused(contextId, refusal)
  }
  failed(error: ContextdError): void {
    this.#host.failed(error)
  }
  pendingChanged(by: number): void {
    this.pending.set(this.pending.get() + by)
  }
  drained(): void {
    if (this.#isDue) this.#renewIfIdle()
  }
  sessionExpired(): void {
    this.attachment = null
    this.lane.renew()
  }
  forget(context: OpenContext): void {
    if (this.#contexts.get(context.contextId) === context) this.#contexts.delete(context.contextId)
  }

  // ---- the session itself -------------------------------------------------------------------------------------

  #attached(reply: AttachReply, renewed: boolean): void {
    this.attachment = reply
    const before = this.#userId
    this.#userId = reply.userId
    const other = before !== undefined && before !== reply.userId
    for (const context of this.#contexts.values()) {
      if (other) context.abandon(otherUser(context.contextId))
      context.attached(renewed)
    }
    if (this.#renewal !== null) clearTimeout(this.#renewal)
    this.#isDue = false
    this.#renewal = later(
      () => {
        this.#isDue = true
        this.#renewIfIdle()
      },
      Math.max(0, reply.sessionTtlMs * renewAfter - reply.ageMs),
    )
  }

  #detached(undecodable: boolean): void {
    this.attachment = null
    for (const context of this.#contexts.values()) context.detached(undecodable)
  }

  /** P14: with nothing pending, a session is replaced before it can expire. */
  #renewIfIdle(): void {
    if (this.attachment === null) return
    for (const context of this.#contexts.values()) if (!context.idle) return
    this.#isDue = false
    this.lane.renew()
  }
}

function otherUser(contextId: string): ContextdError {
  return new ContextdError('forbidden', `A write to "${contextId}" was made before another user signed in; it was not sent.`, { contextId })
}
