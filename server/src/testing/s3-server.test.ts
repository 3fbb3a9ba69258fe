import { AwsV4Signer } from 'aws4fetch'
import { expect, test } from 'vitest'
import { startS3Server } from './s3-server.ts'
import type { S3Keys, S3Server } from './s3-server.ts'

async function ask(server: S3Server, keys: S3Keys, method: string, path: string, given: Record<string, string> = {}): Promise<number> {
  const url = `${server.endpoint}/${path}`
  const { headers } = await new AwsV4Signer({ method, url, headers: given, service: 's3', region: 'us-east-1', ...keys }).sign()
  const answer = await fetch(url, { method, headers, ...(method === 'PUT' && { body: 'text' }) })
  await answer.arrayBuffer()
  return answer.status
}

test('an S3 server takes conditional writes of one user, reads of another, and none of a stranger', { timeout: 120_000 }, async () => {
  const server = await startS3Server()
  const { keys, readOnlyKeys } = server
  try {
    await server.createBucket('bucket')
    expect(await ask(server, keys, 'PUT', 'bucket/a', { 'if-none-match': '*' })).toBe(200)
    expect(await ask(server, keys, 'PUT', 'bucket/a', { 'if-none-match': '*' })).toBe(412)
    expect(await ask(server, readOnlyKeys, 'GET', 'bucket/a')).toBe(200)
    expect(await ask(server, readOnlyKeys, 'PUT', 'bucket/b')).toBe(403)
    expect(await ask(server, { ...keys, secretAccessKey: 'other' }, 'GET', 'bucket/a')).toBe(403)
    expect(await ask(server, keys, 'GET', 'other/a')).toBe(404)
  } finally {
    await server.stop()
  }
  await expect(ask(server, keys, 'GET', 'bucket/a')).rejects.toThrow('fetch failed')
})
