import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../logger.ts'
import { browserBuild } from './browser-build.ts'
import type { MetricsEndpoint } from './metrics-endpoint.ts'

/** What the routes ask the server. */
export interface RouteOptions {
  /** Whether requests of clients would be served now. */
  readonly isReady: () => Promise<boolean>
  /** Null: there are none here. */
  readonly metrics: MetricsEndpoint | null
  readonly logger: Logger
}

type Route = (request: IncomingMessage, response: ServerResponse, options: RouteOptions) => void | Promise<void>

const routes: { readonly [path: string]: Route } = { '/healthz': health, '/readyz': ready, '/metrics': metrics, '/contextd.js': script }

/** Answers a request of one of the server's own paths. @returns false: it is another's */
export function route(request: IncomingMessage, response: ServerResponse, options: RouteOptions): boolean {
  const path = (request.url ?? '').split('?', 1)[0]!
  if (!Object.hasOwn(routes, path) || (path === '/metrics' && options.metrics === null)) return false
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    send(request, response, 405, { allow: 'GET, HEAD' }, 'Only GET and HEAD.\n')
    return true
  }
  Promise.resolve(routes[path]!(request, response, options)).catch((error: unknown) => {
    options.logger.error({ path, error }, 'request failed')
    if (!response.headersSent) send(request, response, 500, {}, 'Internal error.\n')
  })
  return true
}

/** Answers a path that nobody serves. */
export function notFound(request: IncomingMessage, response: ServerResponse): void {
  send(request, response, 404, {}, 'Not found.\n')
}

/** The process is alive. */
function health(request: IncomingMessage, response: ServerResponse): void {
  send(request, response, 200, {}, 'ok\n')
}

/** Clients would be served: the store answers, and the server is not closing. */
async function ready(request: IncomingMessage, response: ServerResponse, { isReady }: RouteOptions): Promise<void> {
  const is = await isReady()
  send(request, response, is ? 200 : 503, {}, is ? 'ready\n' : 'not ready\n')
}

/** What is counted and measured, for Prometheus. */
async function metrics(request: IncomingMessage, response: ServerResponse, options: RouteOptions): Promise<void> {
  const { status, headers, body } = await options.metrics!.answer(request)
  send(request, response, status, headers, body)
}

/** The browser build of the client: a public module that pages of any origin may import. */
async function script(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const build = await browserBuild()
  if (build === null) return send(request, response, 404, {}, 'The browser build of the client is missing; run the build.\n')
  const headers = { 'content-type': 'text/javascript; charset=utf-8', 'access-control-allow-origin': '*', etag: build.etag }
  const known = (request.headers['if-none-match'] ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  if (known.includes(build.etag)) {
    response.writeHead(304, { etag: build.etag, 'cache-control': 'no-cache', 'access-control-allow-origin': '*' }).end()
    return
  }
  send(request, response, 200, headers, build.body)
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: { readonly [name: string]: string },
  body: string | Buffer,
): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
