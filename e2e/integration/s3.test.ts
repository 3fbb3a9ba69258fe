import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createContexts, memoryBackend } from 'contextd'
import type { Backend } from 'contextd'
import { s3Backend } from 'contextd/backends/s3'
import { startS3Server } from 'contextd/testing'
import type { S3Server } from 'contextd/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'

let s3: S3Server
beforeAll(async () => {
  s3 = await startS3Server()
  await s3.createBucket('contexts')
})
afterAll(() => s3.stop())

const backendAt = (prefix: string): Backend => s3Backend({ bucket: 'contexts', prefix, endpoint: s3.endpoint, ...s3.keys })

const script = fileURLToPath(new URL('children/write-on-s3.mjs', import.meta.url))
const [processes, writers, writes] = [2, 16, 24]

interface Made {
  readonly contextId: string
  readonly id: string
  readonly version: number
  readonly result: number
}

/** What a process sends next; it must not end before. */
async function messageOf<Message>(child: ChildProcess): Promise<Message> {
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`The process ended with ${code} and sent nothing.`)
  })
  const [message] = (await Promise.race([once(child, 'message'), ended])) as [Message]
  ended.catch(() => {})
  return message
}

test('G1, G3: of two processes with sixteen writers each on three contexts of a bucket nothing is lost, and no version is there twice', async () => {
  const { accessKeyId, secretAccessKey } = s3.keys
  const bucket = `s3://contexts/mixed?endpoint=${s3.endpoint}`
  const env = { ...process.env, BUCKET: bucket, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
  const children = Array.from({ length: processes }, (_, index) =>
    fork(script, [index, writers, writes].map(String), { execArgv: [], env }),
  )
  await Promise.all(children.map(messageOf<'ready'>))
  for (const child of children) child.send('go')
  const made = (await Promise.all(children.map(messageOf<Made[]>))).flat()
  expect(made).toHaveLength(processes * writers * writes)

  const contexts = createContexts({ backend: backendAt('mixed') })
  for (const contextId of ['mixed:0', 'mixed:1', 'mixed:2']) {
    const own = made.filter((one) => one.contextId === contextId).toSorted((a, b) => a.version - b.version)
    const upTo = own.map((_, index) => index + 1)
    expect(own.map(({ version }) => version)).toEqual(upTo)
    expect(own.map(({ result }) => result)).toEqual(upTo)
    // Else they have not met, and nothing is shown.
    const turns = own.filter(({ id }, index) => index > 0 && id[0] !== own[index - 1]!.id[0]).length
    expect(turns).toBeGreaterThan(1)
    expect(await contexts.get(contextId)).toMatchObject({ version: own.length, state: { count: own.length, ids: own.map(({ id }) => id) } })
  }
  await contexts.close()
})

test('a bucket is an archive of contexts that live elsewhere, state and identity', async () => {
  const before = createContexts({ backend: memoryBackend(), archive: backendAt('archive') })
  await before.set('note:1', { text: 'é😀' })
  const { context: kept } = await before.update('note:1', { done: true })
  await before.export('note:1')
  await before.close()
  const after = createContexts({ backend: memoryBackend(), archive: backendAt('archive') })
  await after.restore('note:1')
  expect(await after.get('note:1')).toMatchObject({
    version: kept.version,
    incarnation: kept.incarnation,
    state: { text: 'é😀', done: true },
  })
  await after.close()
})
