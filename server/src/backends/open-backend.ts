import type { ContextBackend } from './backend.ts'
import { memoryBackend } from './memory.ts'
import { redisBackend } from './redis/redis.ts'
import { s3Backend } from './s3.ts'
import { sqliteBackend } from './sqlite.ts'

/**
 * Opens the backend that a URL names: `memory:`, `sqlite:contextd.db`, `sqlite:///var/lib/contextd.db`, `redis://localhost:6379`,
 * `rediss://user:password@host`, `s3://bucket/prefix?endpoint=https://host&region=eu-central-1`.
 * @throws {TypeError} the scheme is unknown, or what follows it names nothing
 */
export function openBackend(url: string): ContextBackend {
  const scheme = typeof url === 'string' ? /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase() : undefined
  const rest = scheme === undefined ? '' : url.slice(scheme.length + 1)
  if (scheme === 'memory') {
    if (rest !== '' && rest !== '//') throw new TypeError('memory: takes nothing after it.')
    return memoryBackend()
  }
  if (scheme === 'redis' || scheme === 'rediss') return redisBackend(url)
  if (scheme === 's3') return s3Backend(url)
  if (scheme === 'sqlite') return sqliteBackend(rest.replace(/^\/\//, ''))
  // Without the URL itself: it may hold a password.
  throw new TypeError(
    `A store is named by a URL: memory:, sqlite:FILE, redis://HOST:PORT, rediss://HOST:PORT or s3://BUCKET${scheme ? `; ${scheme}: is not known` : ''}.`,
  )
}
