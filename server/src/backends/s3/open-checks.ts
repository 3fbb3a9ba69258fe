import { setTimeout as delay } from 'node:timers/promises'
import { ContextdError } from '@contextd/protocol'
import type { Bucket } from './bucket.ts'
import { S3Failure } from './errors.ts'
import type { Names } from './names.ts'
import { schema } from './stored-object.ts'

const marker = JSON.stringify({ app: 'contextd', schema })
/** An etag that no object has. */
const noEtag = '00000000000000000000000000000000'
/** How often the checks are made, and the pause before the second time: doubled each time, random up to that, ms. */
const mostTries = 4
const firstPauseMs = 50

/**
 * Checks that the bucket can be used, and marks it as ours. All writes are of the same text in the same place, so that they change nothing.
 * @throws {ContextdError} `backend_unavailable` – one line for whoever runs the process
 */
export async function checkBucket(bucket: Bucket, names: Names, address: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await bucket.list(names.beginning(''), null, 1)
      if (await keepsConditions(bucket, names, await markedBy(bucket, names, address))) return
      // Another process may have written the marker meanwhile, with another etag where the store encrypts.
      if (tries === mostTries) throw lacksConditions(address)
    } catch (error) {
      // Some stores fail when several write the same at once.
      if (tries === mostTries || !mayPass(error)) throw cannotOpen(address, error)
    }
    await delay(Math.random() * firstPauseMs * 2 ** tries)
  }
}

/** Whether a failure is the store's own, and of the moment. */
const mayPass = (error: unknown): boolean => error instanceof S3Failure && error.kind !== 'refused' && error.status > 0

/** Finds the marker, or makes it; its etag. */
async function markedBy(bucket: Bucket, names: Names, address: string): Promise<string> {
  for (let tries = 0; tries < 3; tries += 1) {
    const found = await bucket.read(names.marker, null)
    if (found !== null && found !== 'same') {
      if (found.body === marker) return found.etag
      throw cannotUse(`${address} belongs to another program, or to another version of this one. Choose another bucket or prefix.`)
    }
    const written = await bucket.write(names.marker, null, marker, '')
    // Else another process was faster.
    if (written.type === 'written') return written.etag
  }
  throw cannotUse(`${address} does not keep what is written.`)
}

/** Whether the store writes only where a condition says so: else commits would be lost without a word. */
async function keepsConditions(bucket: Bucket, names: Names, etag: string): Promise<boolean> {
  const write = async (known: string | null): Promise<boolean> => (await bucket.write(names.marker, known, marker, '')).type === 'written'
  bucket.quotes = true
  const refuses = !(await write(null)) && !(await write(noEtag))
  if (refuses && (await write(etag))) return true
  // Some compare the etag letter by letter with one that has no quotes.
  bucket.quotes = false
  return refuses && !(await write(noEtag)) && (await write(etag))
}

/** Whether the store looks at the condition of a DELETE, as few do. */
export async function keepsOnCondition(bucket: Bucket, names: Names): Promise<boolean> {
  await bucket.write(names.probe, null, marker, '')
  const kept = (await bucket.remove(names.probe, noEtag)) === 'changed' && (await bucket.look(names.probe)) !== null
  if (kept) await bucket.remove(names.probe, null)
  return kept
}

const lacksConditions = (address: string): ContextdError =>
  cannotUse(
    `${address} lacks conditional writes (If-Match and If-None-Match of PUT), without which commits would be lost. Use another store.`,
  )

const cannotUse = (message: string): ContextdError => new ContextdError('backend_unavailable', message)

const reasons: Readonly<Record<string, string>> = {
  AccessDenied: 'does not allow its user what is needed: s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject. Extend its policy.',
  InvalidAccessKeyId: 'refuses the access key. Check AWS_ACCESS_KEY_ID.',
  SignatureDoesNotMatch: 'refuses the secret key. Check AWS_SECRET_ACCESS_KEY.',
  ExpiredToken: 'refuses the session token: it has expired. Set a new AWS_SESSION_TOKEN.',
  InvalidToken: 'refuses the session token. Check AWS_SESSION_TOKEN.',
  RequestTimeTooSkewed: 'refuses our time. Set the clock of this machine.',
  NoSuchBucket: 'does not exist. Make it, or check its name.',
  InvalidBucketName: 'does not exist: it cannot be the name of a bucket.',
  PermanentRedirect: 'is in another region. Check AWS_REGION.',
  AuthorizationHeaderMalformed: 'is in another region. Check AWS_REGION.',
  NotImplemented: 'lacks what is needed. Use another store.',
  SlowDown: 'is overloaded. Try again later.',
  ServiceUnavailable: 'is overloaded. Try again later.',
  ENOTFOUND: 'cannot be found: there is no host of that name (ENOTFOUND).',
}

/** What `open()` tells of a bucket that cannot be used: one line, without keys. */
function cannotOpen(address: string, error: unknown): ContextdError {
  if (error instanceof ContextdError) return error
  if (!(error instanceof S3Failure)) throw error
  const { reason, status } = error
  if (reason in reasons) return cannotUse(`${address} ${reasons[reason]}`)
  if (status === 301 || status === 307) return cannotUse(`${address} ${reasons['PermanentRedirect']}`)
  if (status === 403) return cannotUse(`${address} ${reasons['AccessDenied']}`)
  const code = /^\w+$/.test(reason) ? reason : ''
  if (status === 0) return cannotUse(`${address} cannot be reached${code && ` (${code})`}. Check that it is there, and its endpoint.`)
  return cannotUse(`${address} does not answer as an S3 store (${[status, code].filter(Boolean).join(' ')}). Check its endpoint.`)
}
