import type { IncomingMessage, ServerResponse } from 'node:http'
import { ContextdError, checkContextId, formats } from '@contextd/protocol'
import type { Change, Limits } from '@contextd/protocol'
import type { Access, User } from '../authorize.ts'
import type { Contexts } from '../contexts/contexts-types.ts'
import { EngineNode } from '../engine/engine-node.ts'
import type { Engine } from '../engine/engine.ts'
import { NodeContexts } from '../contexts/node-contexts.ts'
import { Admission, hostnameOf, isLoopback } from '../socket/admission.ts'
import type { Authenticate } from '../socket/authenticate.ts'
import { recognised } from '../socket/authenticate.ts'
import type { Counts } from '../socket/counters.ts'
import { exportOne, restoreOne } from './archive.ts'
import { sendProblem, whenOver } from './call.ts'
import type { Call, HttpNode } from './call.ts'
import { allowOrigin, sendOptions } from './cors.ts'
import { EventStreams } from './event-streams.ts'
import type { StreamTiming } from './event-streams.ts'
import { IdempotentWrites } from './idempotent-writes.ts'
import { find } from './paths.ts'
import type { Found, Resources } from './paths.ts'
import { HttpProblem } from './problem.ts'
import { Query, bad } from './query.ts'
import { cleanup, events, history, list, read, version } from './reads.ts'
import { patch, put, remove } from './writes.ts'

/** What the HTTP API of a server works with. */
export interface HttpApiOptions {
  readonly limits: Limits
  readonly access: Access
  readonly authenticate: Authenticate | undefined
  /** Origins of browsers that may ask, besides the server's own. */
  readonly origins: readonly string[]
  readonly anonymous: boolean
  readonly counts: Counts
  /** What tests set. */
  readonly streamTiming?: StreamTiming
}

const resources: Resources<Call> = {
  contexts: { methods: { GET: list } },
  'contexts/{id}': { methods: { GET: read, PUT: put, PATCH: patch, DELETE: remove } },
  'contexts/{id}/events': { methods: { GET: events } },
  'contexts/{id}/history': { methods: { GET: history } },
  'contexts/{id}/versions/{n}': { methods: { GET: version } },
  'contexts/{id}/export': { methods: { GET: exportOne } },
  'contexts/{id}/restore': { methods: { POST: restoreOne } },
  cleanup: { methods: { POST: cleanup } },
}

const counted: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE', 'OPTIONS'])

/** The HTTP API of one server, below `/v1`. */
export class HttpApi {
  readonly #node: HttpNode
  readonly #options: HttpApiOptions
  readonly #door: Admission
  readonly #streams: EventStreams
  #closing = false
  #underWay = 0
  #whenIdle: (() => void)[] = []

  constructor(engine: Engine, options: HttpApiOptions) {
    if (!(engine instanceof EngineNode)) throw new TypeError('the HTTP API needs the engine of this package')
    const { limits, access, authenticate, origins, anonymous, counts } = options
    this.#options = options
    const door = { origins, authenticated: authenticate !== undefined, anonymous, counts }
    // Of one address, streams are counted; requests come and go.
    this.#door = new Admission({ ...door, socketsPerAddress: 0 })
    this.#streams = new EventStreams(new Admission({ ...door, socketsPerAddress: limits.socketsPerAddress }), options.streamTiming)
    const idempotent = new IdempotentWrites()
    this.#node = {
      engine,
      // Types by id are for the compiler alone: at run time every state is JSON.
      contexts: new NodeContexts(engine, formats.changes) as unknown as Contexts<{}, Change[]>,
      limits,
      access,
      openStream: (call, from) => this.#streams.open(call, from),
      writeOnce: (call, key, handed) => idempotent.write(call, key, handed),
    }
  }

  /** Answers a request below `/v1`. @returns false: it is another's */
  handle(request: IncomingMessage, response: ServerResponse): boolean {
    const url = request.url ?? ''
    if (!/^\/v1(?:[/?]|$)/.test(url)) return false
    this.#underWay += 1
    const began = performance.now()
    whenOver(request, response, () => {
      this.#count(request, response, performance.now() - began)
      this.#underWay -= 1
      if (this.#underWay === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
    })
    this.#answer(request, response, url).catch((error: unknown) => this.#failed(request, response, error))
    return true
  }

  /** How many streams of events are open. */
  get streams(): number {
    return this.#streams.size
  }

  /** Ends what a user has open, of one context or all. */
  revoke(userId: string, contextId: string | null): void {
    this.#streams.revoke(userId, contextId)
  }

  /** Takes nothing new, and ends the streams; resolves when what was under way is answered. */
  async drain(): Promise<void> {
    this.#closing = true
    this.#streams.close()
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve))
  }

  #count({ method = '', url = '' }: IncomingMessage, { statusCode }: ServerResponse, tookMs: number): void {
    const { counts } = this.#options
    counts.requests.add(`${counted.has(method) ? method : 'other'} ${statusCode}`)
    // Streams of events last as long as somebody follows them.
    if (!/\/events(?:\?|$)/.test(url)) counts.requestSeconds.observe(tookMs / 1_000)
  }

  async #answer(request: IncomingMessage, response: ServerResponse, url: string): Promise<void> {
    allowOrigin(request, response, this.#options.origins)
    this.#admit(request)
    const [path = '', ...search] = url.split('?')
    const found = find(resources, path)
    if (found === null) throw new ContextdError('not_found', 'There is nothing at this path.')
    const handler = this.#handlerOf(request, response, found)
    if (handler === null) return
    const query = new Query(new URLSearchParams(search.join('?')))
    const user = await this.#userOf(request, query)
    const { contextId, steps } = found
    if (contextId !== '') checkContextId(contextId, this.#node.limits.idBytes)
    await handler({ node: this.#node, request, response, user, contextId, steps, query })
  }

  #handlerOf(request: IncomingMessage, response: ServerResponse, { resource }: Found<Call>): ((call: Call) => Promise<void>) | null {
    const { methods } = resource
    const named = Object.keys(methods)
    const allow = [...named, ...(named.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ')
    const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '')
    if (method === 'OPTIONS') {
      sendOptions(request, response, allow)
      return null
    }
    if (Object.hasOwn(methods, method)) return methods[method]!
    throw new HttpProblem(405, bad(`This takes ${allow}.`), { allow })
  }

  /** @throws {ContextdError} `closed` · `forbidden` – of another origin, or by a name that is not this machine's */
  #admit(request: IncomingMessage): void {
    if (this.#closing) throw new ContextdError('closed', 'The server is closing. Ask again.')
    const refusal = this.#door.refusal(request)
    if (refusal !== null) throw new ContextdError('forbidden', `Refused: ${refusal}.`)
    // Pages ask their own origin without saying so; a name of somebody else that points here must not make this server "their own".
    const { authenticate, anonymous } = this.#options
    const host = hostnameOf(request.headers.host ?? 'localhost')
    if (authenticate === undefined && !anonymous && !isLoopback(host)) {
      throw new ContextdError(
        'forbidden',
        'Refused: without authentication only names of the loopback are served; set authenticate, or anonymous.',
      )
    }
  }

  async #userOf(request: IncomingMessage, query: Query): Promise<User | null> {
    const { authenticate } = this.#options
    if (authenticate === undefined) return null
    const { headers, socket } = request
    const token = /^bearer +(\S+)\s*$/i.exec(headers.authorization ?? '')?.[1]
    const { clock, logger } = this.#node.engine
    return recognised(
      authenticate,
      { auth: token === undefined ? {} : { token }, headers, query: query.all(), address: socket.remoteAddress ?? '', transport: 'http' },
      { now: () => clock.now(), failed: (error) => logger.warn({ error }, 'authenticate failed') },
    )
  }

  #failed(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const expected = error instanceof HttpProblem || (error instanceof ContextdError && error.code !== 'internal')
    if (!expected) this.#node.engine.logger.error({ path: (request.url ?? '').split('?', 1)[0], error }, 'request failed')
    if (response.headersSent) response.destroy()
    else sendProblem(request, response, error)
  }
}
