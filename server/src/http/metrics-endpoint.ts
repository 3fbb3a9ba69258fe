import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Measured } from '../metrics/catalog.ts'
import type { Prometheus } from '../metrics/prometheus.ts'
import { hostnameOf, isLoopback } from '../socket/admission.ts'

/** Who may read the metrics: everybody who can connect, nobody, whoever has the token. Undefined: whoever asks from this very machine. */
export type MetricsAccess = boolean | { readonly token: string } | undefined

/** An answer. */
export interface MetricsAnswer {
  readonly status: number
  readonly headers: { readonly [name: string]: string }
  readonly body: string
}

/** Answers `/metrics`, to those who may know. */
export class MetricsEndpoint {
  readonly #access: MetricsAccess
  readonly #read: () => Omit<Measured, 'info'>
  #prometheus: Promise<Prometheus> | null = null

  /** @param read gives what there is now */
  constructor(access: MetricsAccess, read: () => Omit<Measured, 'info'>) {
    this.#access = access
    this.#read = read
  }

  async answer(request: IncomingMessage): Promise<MetricsAnswer> {
    const refusal = refusalOf(request, this.#access)
    if (refusal !== null) return refusal
    // What writes them down is not loaded before somebody asks.
    this.#prometheus ??= this.#load()
    const body = await (await this.#prometheus).text()
    return { status: 200, headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8', 'cache-control': 'no-store' }, body }
  }

  async #load(): Promise<Prometheus> {
    const { Prometheus, packageVersion } = await import('../metrics/prometheus.ts')
    return new Prometheus(() => {
      const read = this.#read()
      return { ...read, info: { version: packageVersion, store: read.engine.parts.store.name } }
    })
  }
}

function refusalOf(request: IncomingMessage, access: MetricsAccess): MetricsAnswer | null {
  if (access === undefined) return isFromHere(request) ? null : notHere
  if (typeof access === 'boolean') return null
  const token = /^bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
  return timingSafeEqual(hashOf(token), hashOf(access.token)) ? null : unknown
}

const notHere: MetricsAnswer = {
  status: 403,
  headers: {},
  body: 'Metrics are for this machine only. For others, set the option metrics: { token } or true (--metrics-token, --metrics all).\n',
}
const unknown: MetricsAnswer = {
  status: 401,
  headers: { 'www-authenticate': 'Bearer' },
  body: 'The metrics need their token as bearer token.\n',
}

const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Whether it was sent on this machine, and not by a proxy, or by a page under a name of somebody else that points here. */
function isFromHere({ socket, headers }: IncomingMessage): boolean {
  if (headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined) return false
  return isLoopback(socket.remoteAddress ?? '') && isLoopback(hostnameOf(headers.host ?? 'localhost'))
}
