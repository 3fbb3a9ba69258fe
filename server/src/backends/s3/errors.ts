import { ContextdError } from '@contextd/protocol'

/** What is known of a request that has no good answer. `refused`: again would be the same · `busy`: nothing was done, again may help · `lost`: it may have been done. */
export type FailureKind = 'refused' | 'busy' | 'lost'

/** A request that has no good answer. It carries no address, no header, no body: they hold users' data and signatures. */
export class S3Failure extends Error {
  readonly kind: FailureKind
  /** Code of the store (`SlowDown`) or of the system (`ECONNREFUSED`), '' when there is none. */
  readonly reason: string
  /** Status of the answer; 0: there was none. */
  readonly status: number

  constructor(kind: FailureKind, reason: string, status: number) {
    super(`${reason || 'no reason'} (${status || 'no answer'})`)
    this.kind = kind
    this.reason = reason
    this.status = status
  }
}

/** Codes of answers to requests that the store has not begun, or has put off. */
const busyReasons: ReadonlySet<string> = new Set([
  'SlowDown',
  'ServiceUnavailable',
  'RequestLimitExceeded',
  'TooManyRequests',
  'ThrottlingException',
  'RequestTimeout',
  'BandwidthLimitExceeded',
])

/** What an answer that is none of the good ones means. */
export function answerFailure(status: number, reason: string): S3Failure {
  if (status === 429 || busyReasons.has(reason)) return new S3Failure('busy', reason || 'SlowDown', status)
  // It is about the way here: a damaged body, or one that was cut.
  if (reason === 'XAmzContentSHA256Mismatch' || reason === 'BadDigest' || reason === 'IncompleteBody')
    return new S3Failure('busy', reason, status)
  return new S3Failure(status >= 500 ? 'lost' : 'refused', reason, status)
}

/** Codes of errors before anything was sent. */
const unsent =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOSTUNREACH|ENETUNREACH|ENETDOWN|UND_ERR_CONNECT_TIMEOUT|CERT_\w+|\w*_CERT\w*|ERR_TLS\w*|ERR_SSL\w*)$/

/** What an error of `fetch` means. */
export function fetchFailure(error: unknown): S3Failure {
  const reason = systemCode(error)
  return new S3Failure(unsent.test(reason) ? 'busy' : 'lost', reason, 0)
}

function systemCode(error: unknown): string {
  if (!(error instanceof Error)) return ''
  if (error.name === 'TimeoutError') return 'ETIMEDOUT'
  if ('code' in error && typeof error.code === 'string') return error.code
  // Several addresses were tried, each with an error of its own.
  const [first] = error instanceof AggregateError ? error.errors : []
  return systemCode(error.cause ?? first)
}

/** The texts go as far as clients: no address, no word of the store's own. */
const told: Readonly<Record<string, string>> = {
  AccessDenied: 'The store does not allow its user what is needed.',
  AllAccessDisabled: 'The store does not allow its user what is needed.',
  InvalidAccessKeyId: 'The store refuses our keys.',
  SignatureDoesNotMatch: 'The store refuses our keys.',
  ExpiredToken: 'The session token for the store has expired.',
  InvalidToken: 'The store refuses our session token.',
  RequestTimeTooSkewed: 'The clock of this machine is off by more than the store allows.',
  NoSuchBucket: 'The bucket of the store is gone.',
  QuotaExceeded: 'The store is full.',
  EntityTooLarge: 'The context has become larger than the store takes.',
  SlowDown: 'The store asks us to slow down.',
  ServiceUnavailable: 'The store is overloaded.',
}

/** What is told when the answer that counts did not come in time. */
export function unavailable({ reason, status }: S3Failure, writes: boolean): ContextdError {
  const what = told[reason] ?? (status === 0 ? 'The store cannot be reached.' : `The store failed (${status}).`)
  return new ContextdError('backend_unavailable', `${what} ${writes ? 'Nothing was written; try' : 'Try'} again.`)
}

/** Others were always faster. */
export const contended = (): ContextdError =>
  new ContextdError('backend_unavailable', 'Others write to the context without a pause. Nothing was written; try again.')

/** A write of which nothing was heard. */
export const unknownOutcome = (): ContextdError =>
  new ContextdError('timeout', 'The store did not say whether it has written. The write may have been stored.', {
    details: { outcome: 'unknown' },
  })

/** What lies in a context's place cannot be read. */
export const damaged = (contextId: string): ContextdError =>
  new ContextdError('backend_unavailable', 'What is stored of the context is damaged, or of a newer contextd.', { contextId })

/** What is told after `close()`. */
export const closed = (): ContextdError => new ContextdError('closed', 'The store is closed.')
