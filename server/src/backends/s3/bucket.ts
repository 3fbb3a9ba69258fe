import { createHash } from 'node:crypto'
import { AwsV4Signer } from 'aws4fetch'
import { bareEtag } from './etag.ts'
import { S3Failure, answerFailure, fetchFailure } from './errors.ts'
import { parseError, parseListing } from './listing.ts'
import type { Listing } from './listing.ts'
import type { S3Keys } from './options.ts'

/** What an object's answer says of it. */
export interface ObjectFacts {
  /** Changes with each write; without quotes. */
  readonly etag: string
  /** Our own note in its metadata, '' when there is none. */
  readonly note: string
}
/** An object that was read. */
export interface ReadObject extends ObjectFacts {
  readonly body: string
}
/** What came of a conditional write: the new etag, or `changed` when the object is not as the condition says. */
export type Written = { readonly type: 'written'; readonly etag: string } | { readonly type: 'changed' }

/** A request. */
interface Ask {
  readonly method: 'GET' | 'PUT' | 'DELETE'
  readonly name?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}
interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

const noteHeader = 'x-amz-meta-contextd'

/**
 * The objects of a bucket. Each call is one request, and is not made again by itself: what that would mean only the caller knows.
 * All throw {@link S3Failure}.
 */
export class Bucket {
  readonly #url: string
  readonly #region: string
  readonly #keys: S3Keys
  readonly #timeoutMs: number
  /** Keys derived from the secret, by day: deriving takes longer than signing. */
  readonly #derived = new Map<string, ArrayBuffer>()
  /** Whether etags of write conditions stand in quotes: as HTTP says, and not everybody reads it so. */
  quotes = true
  /** Requests made so far, for tests and measurements. */
  requests = 0

  constructor(url: string, region: string, keys: S3Keys, timeoutMs: number) {
    this.#url = url
    this.#region = region
    this.#keys = keys
    this.#timeoutMs = timeoutMs
  }

  /** Reads an object; `same` when its etag still is `known`, null when there is none. */
  async read(name: string, known: string | null): Promise<ReadObject | 'same' | null> {
    const answer = await this.#ask({ method: 'GET', name, ...(known !== null && { headers: { 'if-none-match': `"${known}"` } }) })
    if (answer.status === 304) return 'same'
    return isAbsent(answer) ? null : { ...factsOf(answer), body: answer.body }
  }

  /** Reads what is known of an object, without what is in it; null: there is none. */
  async look(name: string): Promise<ObjectFacts | null> {
    // A byte, and no HEAD: `fetch` gives the connection up after one.
    const answer = await this.#ask({ method: 'GET', name, headers: { range: 'bytes=0-0' } })
    return isAbsent(answer) ? null : factsOf(answer)
  }

  /** Writes an object if its etag is `known`; null: if there is none. */
  async write(name: string, known: string | null, body: string, note: string): Promise<Written> {
    const headers = { ...this.#condition(known), 'content-type': 'application/json', ...(note !== '' && { [noteHeader]: note }) }
    const answer = await this.#ask({ method: 'PUT', name, headers, body })
    // 409: another's write was under way. 404: it was removed meanwhile.
    if (answer.status === 412 || answer.status === 409 || isAbsent(answer)) return { type: 'changed' }
    return { type: 'written', etag: etagOf(answer) }
  }

  /** Removes an object if its etag is `known`: stores that do not look at the condition remove it in any case. */
  async remove(name: string, known: string | null): Promise<'removed' | 'changed'> {
    const answer = await this.#ask({ method: 'DELETE', name, ...(known !== null && { headers: this.#condition(known) }) })
    return answer.status === 412 || answer.status === 409 || isAbsent(answer) ? 'changed' : 'removed'
  }

  /** Lists objects by name, a page at a time. */
  async list(prefix: string, token: string | null, most: number): Promise<Listing> {
    const query = { 'list-type': '2', prefix, 'max-keys': String(most), ...(token !== null && { 'continuation-token': token }) }
    const { status, body } = await this.#ask({ method: 'GET', query })
    // A page of a web server, say.
    if (!body.includes('<ListBucketResult')) throw new S3Failure('refused', 'NoListing', status)
    return parseListing(body)
  }

  /** Headers of a write's condition. */
  #condition(known: string | null): Record<string, string> {
    if (known === null) return { 'if-none-match': '*' }
    return { 'if-match': this.quotes ? `"${known}"` : known }
  }

  async #ask(ask: Ask): Promise<Answer> {
    const { method, name, query = {}, body } = ask
    const path = name === undefined ? '' : `/${name.split('/').map(encodeURIComponent).join('/')}`
    const search = Object.entries(query).map(([key, value]) => `${key}=${encodeURIComponent(value)}`)
    const url = `${this.#url}${path}${search.length > 0 ? `?${search.join('&')}` : ''}`
    // Signed with the hash of the body, so that the store sees when it was damaged on its way.
    const hash = createHash('sha256')
      .update(body ?? '')
      .digest('hex')
    const headers = { ...ask.headers, 'x-amz-content-sha256': hash }
    const signer = { method, url, headers, service: 's3', region: this.#region, cache: this.#derived, ...this.#keys }
    const signed = await new AwsV4Signer(signer).sign()
    this.requests += 1
    const answer = await this.#send(url, { method, headers: signed.headers, redirect: 'manual', ...(body !== undefined && { body }) })
    if (isGood(answer.status, answer.body)) return answer
    throw answerFailure(answer.status, parseError(answer.body))
  }

  async #send(url: string, request: RequestInit): Promise<Answer> {
    try {
      const response = await fetch(url, { ...request, signal: AbortSignal.timeout(this.#timeoutMs) })
      return { status: response.status, headers: response.headers, body: await response.text() }
    } catch (error) {
      throw fetchFailure(error)
    }
  }
}

/** Statuses that the calls above know what to make of. */
const isGood = (status: number, body: string): boolean =>
  (status >= 200 && status < 300) ||
  status === 304 ||
  status === 409 ||
  status === 412 ||
  (status === 404 && parseError(body) !== 'NoSuchBucket')

const isAbsent = ({ status }: Answer): boolean => status === 404

function factsOf(answer: Answer): ObjectFacts {
  return { etag: etagOf(answer), note: answer.headers.get(noteHeader) ?? '' }
}

function etagOf({ status, headers }: Answer): string {
  const etag = headers.get('etag')
  // Without one nothing can be written on condition; the write may have been done.
  if (etag === null) throw new S3Failure('lost', 'NoETag', status)
  return bareEtag(etag)
}
