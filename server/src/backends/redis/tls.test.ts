import { readFile } from 'node:fs/promises'
import { expect, onTestFinished, test } from 'vitest'
import { certificateFor } from '../../../support/certificates.ts'
import { opened, refusalOf } from '../../../support/redis-store.ts'
import { until } from '../../../support/until.ts'
import { contextId, store } from '../../testing/contract/kit.ts'
import { startRedisCluster } from '../../testing/redis-cluster.ts'
import { startRedisServer } from '../../testing/redis-server.ts'
import type { RedisServer, RedisServerOptions } from '../../testing/redis-server.ts'
import type { StorePublishing } from '../publishing.ts'

async function started(options: RedisServerOptions): Promise<RedisServer> {
  const server = await startRedisServer(options)
  onTestFinished(() => server.stop())
  return server
}

test('TLS: a Redis whose certificate is of an authority of one’s own is used like any other, by commands and subscriptions', async () => {
  const certificate = await certificateFor('127.0.0.1')
  const server = await started({ tls: certificate, password: 'sesame-1234' })
  expect(server.url).toMatch(/^rediss:/)
  const options = { url: server.url, redisOptions: { tls: { ca: await readFile(certificate.ca) } } }
  const [writer, reader] = [await opened(options), await opened(options)]
  const heard: string[] = []
  const publishing = reader.publishing as StorePublishing
  publishing.subscribe(contextId, (message) => heard.push(message))
  await publishing.sockets.confirm(contextId)
  const { head, entries } = await store(writer, { message: '["d",1]' })
  expect(await reader.heads([contextId])).toEqual([head])
  expect(await reader.log(contextId, 0)).toEqual(entries)
  await until(() => heard.length > 0)
  expect(heard).toEqual(['["d",1]'])
})

test('TLS: the nodes of a Cluster are found and listened to over TLS, each of them', async () => {
  const certificate = await certificateFor('127.0.0.1')
  const cluster = await startRedisCluster({ tls: certificate })
  onTestFinished(() => cluster.stop())
  const options = { url: cluster.url, redisOptions: { tls: { ca: await readFile(certificate.ca) } } }
  const [writer, reader] = [await opened(options), await opened(options)]
  const publishing = reader.publishing as StorePublishing
  const ids = Array.from({ length: 12 }, (_, index) => `c${index}`)
  const heard = new Set<string>()
  for (const id of ids) publishing.subscribe(id, () => heard.add(id))
  for (const id of ids) await publishing.sockets.confirm(id)
  for (const id of ids) await store(writer, { contextId: id, message: '["d",1]' })
  await until(() => heard.size === ids.length)
  expect((await reader.heads(ids)).map(({ version }) => version)).toEqual(ids.map(() => 1))
  const lines = await Promise.all(cluster.admins.map((admin) => admin.info('keyspace')))
  expect(lines.every((line) => line.includes('db0:'))).toBe(true)
})

test('F43: a certificate that is not trusted, or of another host, is told as that', async () => {
  const certificate = await certificateFor('127.0.0.1')
  const { url } = await started({ tls: certificate, password: 'sesame-1234' })
  const { ca } = await certificateFor('127.0.0.1')
  for (const redisOptions of [{}, { tls: { ca: await readFile(ca) } }]) {
    expect(await refusalOf({ url, redisOptions })).toMatch(
      /certificate that is not trusted \(\w+\)\. Give its authority: redisOptions\.tls\.ca/,
    )
  }
  const elsewhere = await certificateFor('redis.example.org')
  const { url: named } = await started({ tls: elsewhere, password: 'sesame-1234' })
  const redisOptions = { tls: { ca: await readFile(elsewhere.ca) } }
  expect(await refusalOf({ url: named, redisOptions })).toMatch(/has a certificate for another host\. Name the host/)
})

test('F43: TLS where none is spoken, and none where it is, is told with a hint', async () => {
  const encrypted = await started({ tls: await certificateFor('127.0.0.1'), password: 'sesame-1234' })
  expect(await refusalOf(encrypted.url.replace('rediss:', 'redis:'))).toMatch(/cannot be reached.*whether it wants TLS \(rediss:\/\/\)\.$/)
  const plain = await started({ password: 'sesame-1234' })
  const redisOptions = { connectTimeout: 300 }
  expect(await refusalOf({ url: plain.url.replace('redis:', 'rediss:'), redisOptions })).toMatch(
    /cannot be reached.*that it speaks TLS there/,
  )
})
