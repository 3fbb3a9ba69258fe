import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backendContract } from '../../testing/backend-contract.ts'
import type { StoreUnderTest } from '../../testing/backend-contract.ts'
import { randomCalls } from '../../testing/random-calls.ts'
import { startS3Server } from '../../testing/s3-server.ts'
import type { S3Server } from '../../testing/s3-server.ts'
import { s3Backend } from '../s3.ts'

let server: S3Server
let prefixes = 0
beforeAll(async () => {
  server = await startS3Server()
  await server.createBucket('contexts')
})
afterAll(() => server.stop())

/** A store of its own, within the one bucket. */
function freshStore(): StoreUnderTest {
  const prefix = `store-${(prefixes += 1)}`
  return { handle: () => s3Backend({ bucket: 'contexts', prefix, endpoint: server.endpoint, ...server.keys }) }
}

describe('the S3 backend keeps the contract', () => {
  test.each(backendContract({ create: freshStore }).map(({ name, run }) => [name, run] as const))('%s', async (_name, run) => {
    await expect(run()).resolves.toBeUndefined()
  })
})

test(
  'the S3 backend answers 4,000 random calls as the store model does, with two handles on one bucket',
  { timeout: 120_000 },
  async () => {
    const { handle } = freshStore()
    const backends = [handle(), handle()]
    for (const backend of backends) await backend.open()
    const { calls } = await randomCalls({ seed: 11, calls: 4_000, backends })
    expect(calls).toBeGreaterThanOrEqual(4_000)
    for (const backend of backends) await backend.close()
  },
)
