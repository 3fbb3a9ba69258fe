import type { IncomingMessage, ServerResponse } from 'node:http'

const methods = 'GET, HEAD, PUT, PATCH, DELETE, POST'
const asked = 'authorization, content-type, if-match, if-none-match, idempotency-key, last-event-id, cache-control'
const exposed = 'etag, location, retry-after, idempotent-replayed, accept-patch, www-authenticate'
/** How long a browser remembers what it may ask, seconds. */
const rememberedFor = 600

/** Says to the browser of an origin that was let in that its page may read the answer. */
export function allowOrigin({ headers }: IncomingMessage, response: ServerResponse, origins: readonly string[]): void {
  response.setHeader('vary', 'Origin, Authorization')
  const { origin } = headers
  if (origin === undefined || !origins.includes(origin)) return
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('access-control-expose-headers', exposed)
}

/** Answers `OPTIONS`: what may be asked of a resource, and what the pages of an origin may ask. */
export function sendOptions({ headers }: IncomingMessage, response: ServerResponse, allow: string): void {
  const preflight = headers['access-control-request-method'] !== undefined && response.hasHeader('access-control-allow-origin')
  response.setHeader('allow', allow)
  if (preflight) {
    response.setHeader('access-control-allow-methods', methods)
    response.setHeader('access-control-allow-headers', asked)
    response.setHeader('access-control-max-age', rememberedFor)
  }
  response.writeHead(204).end()
}
