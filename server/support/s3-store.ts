import { onTestFinished } from 'vitest'
import { S3Backend } from '../src/backends/s3.ts'
import type { S3Timing } from '../src/backends/s3/context-objects.ts'
import { checkOptions } from '../src/backends/s3/options.ts'
import type { S3Server } from '../src/testing/s3-server.ts'
import { S3Proxy } from './s3-proxy.ts'

/** The bucket of a test file's server. */
export const bucket = 'contexts'
let stores = 0

/** Start of the names of a store of its own within the bucket. */
export const freshPrefix = (): string => `store-${(stores += 1)}/`

/** So that what is never answered is given up soon. */
export const impatient: Partial<S3Timing> = { requestMs: 2_000, patienceMs: 1_000, pauseMs: 50 }

/** Makes a backend that gives up soon, not opened yet. */
export function backendAt(
  server: S3Server,
  prefix: string,
  {
    endpoint = server.endpoint,
    keys = server.keys,
    timing = {},
  }: Partial<{ endpoint: string; keys: S3Server['keys']; timing: Partial<S3Timing> }> = {},
): S3Backend {
  return new S3Backend(checkOptions({ bucket, prefix, endpoint, ...keys }, {}), { ...impatient, ...timing })
}

/** Opens a backend for the rest of the test. */
export async function opened(...args: Parameters<typeof backendAt>): Promise<S3Backend> {
  const backend = backendAt(...args)
  onTestFinished(() => backend.close())
  await backend.open()
  return backend
}

/** A proxy before the server, for the rest of the test. */
export async function proxied(server: S3Server): Promise<S3Proxy> {
  const proxy = await S3Proxy.to(server)
  onTestFinished(() => proxy.close())
  return proxy
}
