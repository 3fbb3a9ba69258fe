import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'

const types = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.map': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
}

/**
 * A request listener that serves files. `places`: from path on the server, `/` at its end for folders, to where it is on the disk;
 * the longest that fits counts. Only files of the types above are given, none whose name starts with a dot.
 */
export function serveFiles(places) {
  const prefixes = Object.keys(places).toSorted((a, b) => b.length - a.length)
  return async (request, response) => {
    const { status, headers, body = '' } = await answer(request, places, prefixes).catch(() => text(500, 'Internal error.\n'))
    response.writeHead(status, { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', ...headers })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

async function answer(request, places, prefixes) {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'Only GET and HEAD.\n', { allow: 'GET, HEAD' })
  const asked = pathOf(request.url)
  if (asked === null) return text(400, 'Malformed address.\n')
  // The relative addresses in a page need the slash.
  if (Object.hasOwn(places, `${asked}/`))
    return { status: 308, headers: { location: `${asked}/${new URL(request.url, 'http://x').search}` } }
  const prefix = prefixes.find((each) => (each.endsWith('/') ? asked.startsWith(each) : asked === each))
  const file = prefix && fileOf(places[prefix], asked.slice(prefix.length))
  const found = file && (await stat(file).catch(() => null))
  if (!found?.isFile()) return text(404, prefix === '/board/' ? 'Not found. The board is built by: npm run build\n' : 'Not found.\n')
  const etag = `"${found.size}-${Math.round(found.mtimeMs)}"`
  // Files of a build are named by what is in them.
  const headers = { etag, 'cache-control': asked.includes('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache' }
  if (request.headers['if-none-match'] === etag) return { status: 304, headers }
  const body = await readFile(file)
  const type = types[path.extname(file)]
  const policy = path.extname(file) === '.html' ? { 'content-security-policy': policyOf(body.toString('utf8')) } : {}
  return { status: 200, headers: { ...headers, ...policy, 'content-type': type, 'content-length': body.length }, body }
}

/** The path of an address, decoded; null when it is not one. */
function pathOf(url) {
  try {
    const asked = decodeURIComponent(new URL(url, 'http://x').pathname)
    return asked.includes('\0') || asked.includes('\\') ? null : asked
  } catch {
    return null
  }
}

/** A file below a place; null for what lies outside of it, is hidden, or is of no known type. */
function fileOf(place, rest) {
  const file = path.join(place, rest === '' || rest.endsWith('/') ? `${rest}${path.extname(place) ? '' : 'index.html'}` : rest)
  // A part that starts with a dot is hidden, or leads out of the place.
  const open = path
    .relative(place, file)
    .split(path.sep)
    .every((part) => !part.startsWith('.'))
  return open && Object.hasOwn(types, path.extname(file)) ? file : null
}

/** What a page may do: nothing but its own files, its own connection, and the inline scripts and styles it was sent with. */
function policyOf(html) {
  const hashes = (tag) =>
    [...html.matchAll(new RegExp(`<${tag}(?:\\s[^>]*)?>([\\s\\S]*?)</${tag}>`, 'g'))]
      .filter(([, inside]) => inside.trim())
      .map(([, inside]) => ` 'sha256-${createHash('sha256').update(inside).digest('base64')}'`)
      .join('')
  return [
    `default-src 'none'`,
    `script-src 'self'${hashes('script')}`,
    `style-src 'self'${hashes('style')}`,
    `connect-src 'self'`,
    `font-src 'self'`,
    `img-src 'self' data:`,
    `frame-src 'self'`,
    `frame-ancestors 'self'`,
    `base-uri 'none'`,
    `form-action 'none'`,
  ].join('; ')
}

function text(status, body, headers = {}) {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body }
}
