import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { ContextdError } from '@contextd/protocol'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { runCli } from '../../../support/cli.ts'
import type { S3Fault } from '../../../support/s3-proxy.ts'
import { backendAt, freshPrefix, opened, proxied } from '../../../support/s3-store.ts'
import { batchOf, refuse, store } from '../../testing/contract/kit.ts'
import { startS3Server } from '../../testing/s3-server.ts'
import type { S3Server } from '../../testing/s3-server.ts'
import { S3Backend, s3Backend } from '../s3.ts'
import { Bucket } from './bucket.ts'
import { checkOptions } from './options.ts'
import type { S3BackendOptions } from './options.ts'

let server: S3Server
beforeAll(async () => {
  server = await startS3Server()
  await server.createBucket('contexts')
})
afterAll(() => server.stop())

/** What `open()` says of a bucket that cannot be used: one line, without keys. */
async function refusalOf(backend: S3Backend): Promise<string> {
  const error: unknown = await backend.open().then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ContextdError)
  const { code, message } = error as ContextdError
  expect(code).toBe('backend_unavailable')
  expect(message).not.toContain('\n')
  for (const secret of ['testsecret', 'readersecret', 'sesame', 'AWS4-HMAC']) expect(inspect(error, { depth: 9 })).not.toContain(secret)
  return message
}

const at = (options: Partial<S3BackendOptions>): S3Backend =>
  new S3Backend(checkOptions({ bucket: 'contexts', endpoint: server.endpoint, ...server.keys, ...options }, {}), { requestMs: 2_000 })

describe('options', () => {
  const environment = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'sesame', AWS_SESSION_TOKEN: 'token', AWS_REGION: 'eu-west-1' }

  test('a bucket is named by a URL or by an object; what is not given comes from the environment', () => {
    const keys = { accessKeyId: 'id', secretAccessKey: 'sesame', sessionToken: 'token' }
    expect(checkOptions('s3://my-bucket', environment)).toEqual({
      url: 'https://my-bucket.s3.eu-west-1.amazonaws.com',
      prefix: '',
      region: 'eu-west-1',
      keys,
      address: 'The S3 bucket my-bucket',
    })
    const url = 's3://my-bucket/live/app?endpoint=http://127.0.0.1:9000/s3/&region=auto'
    const named = {
      url: 'http://127.0.0.1:9000/s3/my-bucket',
      prefix: 'live/app/',
      region: 'auto',
      address: 'The S3 bucket my-bucket at 127.0.0.1:9000',
    }
    expect(checkOptions(url, environment)).toEqual({ ...named, keys })
    const object = { bucket: 'my-bucket', prefix: 'live/app/', endpoint: 'http://127.0.0.1:9000/s3', region: 'auto' }
    expect(checkOptions(object, environment)).toEqual({ ...named, keys })
    const own = { accessKeyId: 'mine', secretAccessKey: 'sesame' }
    expect(checkOptions({ ...object, ...own }, environment).keys).toEqual(own)
    expect(checkOptions('s3://dotted.bucket', {}).url).toBe('https://s3.us-east-1.amazonaws.com/dotted.bucket')
    expect(checkOptions('s3://b-1', { AWS_ENDPOINT_URL: 'https://all', AWS_ENDPOINT_URL_S3: 'https://s3' }).url).toBe('https://s3/b-1')
    expect(checkOptions('s3://b-1', { AWS_ACCESS_KEY_ID: 'id' }).keys).toBeNull()
  })

  test.each<[string, string | object | undefined]>([
    ['needs a bucket', undefined],
    ['needs a bucket', {}],
    ['needs a bucket', { bucket: 'a/b' }],
    ['needs a bucket', 's3://'],
    ['malformed', 's3://bucket?prefix=x'],
    ['malformed', 's3://bucket?region=a&region=b'],
    ['malformed', 'https://bucket'],
    ['Keys do not belong', 's3://id:sesame@bucket'],
    ['no option secret', { bucket: 'contexts', secret: 'sesame' }],
    ['region of s3Backend is a text', { bucket: 'contexts', region: 7 }],
    ['region of a bucket', { bucket: 'contexts', region: 'eu/west' }],
    ['together', { bucket: 'contexts', secretAccessKey: 'sesame' }],
    ['endpoint', { bucket: 'contexts', endpoint: 'https://id:sesame@host' }],
    ['endpoint', { bucket: 'contexts', endpoint: 'ftp://host' }],
    ['prefix', { bucket: 'contexts', prefix: '../other' }],
    ['prefix', { bucket: 'contexts', prefix: 'a//b' }],
    ['prefix', { bucket: 'contexts', prefix: 'é' }],
  ])('a mistake is told at once: %s (%o)', (message, options) => {
    const make = (): unknown => s3Backend(options as S3BackendOptions)
    expect(make).toThrow(TypeError)
    expect(make).toThrow(message)
    expect(make).toThrow(/^(?!.*sesame)/)
  })
})

test('a bucket that does not exist is refused by open(), and opened once it is made', async () => {
  const backend = at({ bucket: 'later' })
  onTestFinished(() => backend.close())
  expect(await refusalOf(backend)).toBe(
    `The S3 bucket later at ${new URL(server.endpoint).host} does not exist. Make it, or check its name.`,
  )
  await server.createBucket('later')
  await backend.open()
  await store(backend)
})

test('keys that may read only are refused by open()', async () => {
  await opened(server, 'mine/')
  for (const prefix of ['mine/', freshPrefix()]) {
    expect(await refusalOf(at({ prefix, ...server.readOnlyKeys }))).toMatch(
      /does not allow its user what is needed: s3:ListBucket.* Extend its policy/,
    )
  }
})

test('no keys, wrong keys and a wrong address are each told as what they are', async () => {
  const none = new S3Backend(checkOptions({ bucket: 'contexts', endpoint: server.endpoint }, {}))
  expect(await refusalOf(none)).toMatch(/needs keys\. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/)
  expect(await refusalOf(at({ secretAccessKey: 'sesame' }))).toMatch(/refuses the secret key/)
  expect(await refusalOf(at({ accessKeyId: 'nobody' }))).toMatch(/refuses the access key/)
  const hole = createServer((_, response) => response.end('<html>Welcome</html>'))
  await once(hole.listen(0, '127.0.0.1'), 'listening')
  const endpoint = `http://127.0.0.1:${(hole.address() as AddressInfo).port}`
  expect(await refusalOf(at({ endpoint }))).toMatch(/does not answer as an S3 store \(200 NoListing\)\. Check its endpoint/)
  hole.closeAllConnections()
  hole.close()
  await once(hole, 'close')
  expect(await refusalOf(at({ endpoint }))).toMatch(/cannot be reached \(ECONNREFUSED\)\. Check/)
  expect(await refusalOf(at({ endpoint: 'http://nowhere.invalid' }))).toMatch(/cannot be (?:found|reached)/)
})

test('a store that does not look at the conditions of writes is refused by open()', async () => {
  const proxy = await proxied(server)
  proxy.conditions = 'ignored'
  for (const prefix of [freshPrefix(), 'mine/']) {
    const backend = backendAt(server, prefix, { endpoint: proxy.endpoint })
    expect(await refusalOf(backend)).toMatch(/lacks conditional writes \(If-Match and If-None-Match of PUT\).* Use another store/)
  }
})

test('many who open one bucket at once all do, also where the store fails over that', async () => {
  for (let round = 0; round < 3; round += 1) {
    const prefix = freshPrefix()
    await Promise.all(Array.from({ length: 8 }, () => opened(server, prefix)))
  }
  const proxy = await proxied(server)
  const faults: S3Fault[] = [500, 503].map((status) => ({ type: 'answer', status, code: status === 500 ? 'UnknownError' : 'SlowDown' }))
  proxy.fault = ({ method }) => (method === 'PUT' ? (faults.shift() ?? null) : null)
  await opened(server, freshPrefix(), { endpoint: proxy.endpoint })
  expect(faults).toEqual([])
})

test('a marker that another process writes meanwhile is no lack of conditions', async () => {
  const proxy = await proxied(server)
  const prefix = freshPrefix()
  await opened(server, prefix)
  let writes = 0
  // As a store that encrypts makes another etag of the same text each time.
  proxy.fault = ({ method }) => {
    if (method !== 'PUT' || ![3, 5].includes((writes += 1))) return null
    return { type: 'answer', status: 412, code: 'PreconditionFailed' }
  }
  await opened(server, prefix, { endpoint: proxy.endpoint })
  expect(writes).toBeGreaterThan(5)
})

test('stores that want etags in quotes and those that want them without are both written on condition', async () => {
  const proxy = await proxied(server)
  proxy.conditions = 'in quotes'
  for (const endpoint of [proxy.endpoint, server.endpoint]) {
    const backend = await opened(server, freshPrefix(), { endpoint })
    const { head } = await store(backend)
    await store(backend, { base: head })
    expect((await refuse(backend, batchOf({ base: head }))).type).toBe('conflict')
  }
})

test('F33: objects of another program are refused, and not touched', async () => {
  const prefix = freshPrefix()
  const others = new Bucket(`${server.endpoint}/contexts`, 'us-east-1', server.keys, 2_000)
  await others.write(`${prefix}contextd.json`, null, '{"app":"other"}', '')
  const before = await others.list(prefix, null, 10)
  expect(await refusalOf(backendAt(server, prefix))).toMatch(
    /belongs to another program, or to another version.* Choose another bucket or prefix/,
  )
  expect(await others.list(prefix, null, 10)).toEqual(before)
})

test.each([
  [301, 'PermanentRedirect', /is in another region\. Check AWS_REGION/],
  [400, 'AuthorizationHeaderMalformed', /is in another region/],
  [403, 'RequestTimeTooSkewed', /refuses our time\. Set the clock/],
  [400, 'ExpiredToken', /session token: it has expired/],
  [403, 'SomethingElse', /does not allow its user/],
  [503, 'SlowDown', /is overloaded\. Try again later/],
  [500, 'InternalError', /does not answer as an S3 store \(500 InternalError\)/],
])('an answer of %i %s is told as what it is', async (status, code, message) => {
  const proxy = await proxied(server)
  proxy.fault = () => ({ type: 'answer', status, code })
  expect(await refusalOf(backendAt(server, freshPrefix(), { endpoint: proxy.endpoint }))).toMatch(message)
})

test('F43: the command says in one line what is wrong with a bucket, without its keys', async () => {
  const proxy = await proxied(server)
  proxy.conditions = 'ignored'
  await opened(server, 'mine/')
  const run = async (bucket: string, keys: S3Server['keys'], endpoint = server.endpoint): Promise<string> => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', keys.accessKeyId)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', keys.secretAccessKey)
    onTestFinished(() => void vi.unstubAllEnvs())
    const { code, out, err } = await runCli(['get', 'a', '--store', `s3://${bucket}?endpoint=${endpoint}`])
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^contextd: .*\n$/)
    for (const { secretAccessKey } of [server.keys, server.readOnlyKeys]) expect(err).not.toContain(secretAccessKey)
    return err
  }
  expect(await run('nowhere', server.keys)).toMatch(/bucket nowhere at \S+ does not exist\. Make it, or check its name/)
  expect(await run('contexts/mine', server.readOnlyKeys)).toMatch(/does not allow its user what is needed/)
  expect(await run('contexts/mine', { ...server.keys, secretAccessKey: 'sesame' })).toMatch(/refuses the secret key/)
  expect(await run(`contexts/${freshPrefix()}`, server.keys, proxy.endpoint)).toMatch(/lacks conditional writes/)
})

test('after close() nothing is answered, and closing twice is closing once', async () => {
  const backend = await opened(server, freshPrefix())
  await expect(backend.open()).resolves.toBeUndefined()
  await Promise.all([backend.close(), backend.close()])
  await expect(backend.heads(['a'])).rejects.toMatchObject({ code: 'closed' })
  await expect(backendAt(server, freshPrefix()).load('a')).rejects.toMatchObject({ code: 'backend_unavailable' })
})
