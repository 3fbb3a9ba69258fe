import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AwsV4Signer } from 'aws4fetch'
import type { S3Keys, S3Server } from '../src/testing/s3-server.ts'

/** What goes wrong with one request: it is answered so, and the store never sees it · nobody sees it or answers · it is done, and the answer is lost · it is done and answered later. */
export type S3Fault =
  | { readonly type: 'answer'; readonly status: number; readonly code: string }
  | { readonly type: 'cut' }
  | { readonly type: 'lost' }
  | { readonly type: 'late'; readonly until: () => Promise<unknown> }

/** A request that passes. */
export interface PassingRequest {
  readonly method: string
  /** Name of the object, without the bucket; '' for the bucket itself. */
  readonly name: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** An HTTP proxy before an S3 server, on the loopback, that counts requests and makes some of them go wrong. */
export class S3Proxy {
  readonly endpoint: string
  /** Requests that came, by method. */
  readonly counts: Record<string, number> = {}
  /** Answers of the store, by method and status: `PUT 412`. */
  readonly answers: Record<string, number> = {}
  /** Decides what goes wrong with a request; null: nothing. */
  fault: (passing: PassingRequest) => S3Fault | null = () => null
  /** What the store does of conditions: as it is · it does not look at any · it wants etags in quotes · it looks at those of DELETE as well. */
  conditions: 'as they are' | 'ignored' | 'in quotes' | 'of DELETE too' = 'as they are'
  readonly #server: Server
  readonly #target: S3Server

  private constructor(server: Server, target: S3Server, port: number) {
    this.#server = server
    this.#target = target
    this.endpoint = `http://127.0.0.1:${port}`
  }

  static async to(target: S3Server): Promise<S3Proxy> {
    const server = createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const proxy = new S3Proxy(server, target, (server.address() as AddressInfo).port)
    server.on('request', (incoming, outgoing) => {
      void proxy.#pass(incoming, outgoing).catch(() => outgoing.destroy())
    })
    return proxy
  }

  /** Lets the next `times` requests of this method go wrong. */
  failNext(method: string, fault: S3Fault, times = 1): void {
    let left = times
    this.fault = (passing) => {
      if (passing.method !== method || left === 0) return null
      left -= 1
      return fault
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const body = await textOf(incoming)
    const { method = '', url = '', headers } = incoming
    this.counts[method] = (this.counts[method] ?? 0) + 1
    const name = decodeURIComponent(url.split('?')[0]!.split('/').slice(2).join('/'))
    const fault = this.fault({ method, name, headers, body })
    if (fault?.type === 'cut') outgoing.destroy()
    else if (fault?.type === 'answer') answer(outgoing, fault.status, fault.code)
    else {
      if (fault?.type === 'late') await fault.until()
      const status = await this.#forward(method, url, headers, body, fault?.type === 'lost' ? null : outgoing)
      const kind = `${method} ${status}`
      this.answers[kind] = (this.answers[kind] ?? 0) + 1
      if (fault?.type === 'lost') outgoing.destroy()
    }
  }

  /** Sends a request on; the status of its answer. */
  async #forward(
    method: string,
    url: string,
    given: IncomingHttpHeaders,
    body: string,
    outgoing: ServerResponse | null,
  ): Promise<number | undefined> {
    let headers: Record<string, string> = Object.fromEntries(Object.entries(given).map(([key, value]) => [key, String(value)]))
    const condition = headers['if-match']
    if (this.conditions === 'ignored') headers = await this.#signed(method, url, without(headers, 'if-match', 'if-none-match'))
    if (this.conditions === 'in quotes' && condition !== undefined) {
      const bare = condition.startsWith('"') ? condition.replaceAll('"', '') : 'never'
      headers = await this.#signed(method, url, { ...headers, 'if-match': bare })
    }
    if (this.conditions === 'of DELETE too' && method === 'DELETE' && condition !== undefined) {
      const etag = await this.#etagOf(url)
      if (etag !== condition.replaceAll('"', '')) {
        if (outgoing) answer(outgoing, 412, 'PreconditionFailed')
        return 412
      }
    }
    const sent = request(`${this.#target.endpoint}${url}`, { method, headers, setHost: false })
    sent.end(body)
    const [received] = (await once(sent, 'response')) as [IncomingMessage]
    const text = await textOf(received)
    if (outgoing) {
      const { 'transfer-encoding': _, connection: __, ...kept } = received.headers
      outgoing.writeHead(received.statusCode ?? 502, kept)
      outgoing.end(text)
    }
    return received.statusCode
  }

  async #etagOf(url: string): Promise<string> {
    const headers = await this.#signed('GET', url, {})
    const response = await fetch(`${this.#target.endpoint}${url}`, { headers: without(headers, 'host') })
    await response.arrayBuffer()
    return (response.headers.get('etag') ?? '').replaceAll('"', '')
  }

  /** Headers signed anew, as what was signed is no longer there. */
  async #signed(method: string, url: string, given: Record<string, string>): Promise<Record<string, string>> {
    const target = `${this.#target.endpoint}${url}`
    const unsigned = without(given, 'authorization', 'x-amz-date', 'host')
    const keys: S3Keys = this.#target.keys
    const { headers } = await new AwsV4Signer({
      method,
      url: target,
      headers: unsigned,
      service: 's3',
      region: 'us-east-1',
      ...keys,
    }).sign()
    return { ...Object.fromEntries(headers), host: new URL(target).host }
  }
}

const without = (headers: Record<string, string>, ...names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !names.includes(name)))

function answer(outgoing: ServerResponse, status: number, code: string): void {
  outgoing.writeHead(status, { 'content-type': 'application/xml' })
  outgoing.end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>at 10.0.0.7</Message></Error>`)
}

async function textOf(stream: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
