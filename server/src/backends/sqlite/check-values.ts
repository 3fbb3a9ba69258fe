import type { Head } from '@contextd/protocol'
import type { CommitBatch, ListQuery, LockRequest, PrunableQuery, PruneBatch, RestoreBatch, SyncQuery } from '../backend.ts'

/*
 * What SQLite would take wrongly, without a word: text is cut at U+0000, a lone surrogate becomes U+FFFD, `undefined` and objects become NULL,
 * numbers with a fraction or beyond 2^53 do not come back. All of these are mistakes of the caller, and are refused before a transaction begins.
 */

/** Checks a text. @throws {TypeError} it would not come back as it was given */
export function checkText(value: unknown, what: string): void {
  if (typeof value !== 'string') throw new TypeError(`${what} must be a string.`)
  if (value.includes('\u0000')) throw new TypeError(`${what} must not contain U+0000.`)
  if (/\p{Surrogate}/u.test(value)) throw new TypeError(`${what} must not contain half a surrogate pair.`)
}

/** Checks a number. @throws {TypeError} it is no whole number from 0 to 2^53 − 1 */
export function checkWhole(value: unknown, what: string): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError(`${what} must be a whole number from 0 on.`)
}

function checkHead({ incarnation, version, revision }: Head): void {
  checkText(incarnation, 'incarnation')
  checkWhole(version, 'version')
  checkText(revision, 'revision')
}

/** Checks every value of a batch that is bound to a statement. */
export function checkBatch(batch: CommitBatch): void {
  checkText(batch.contextId, 'contextId')
  checkHead(batch.base)
  checkHead(batch.head)
  checkWhole(batch.now, 'now')
  checkWhole(batch.schema, 'schema')
  if (batch.snapshot !== null) checkText(batch.snapshot, 'snapshot')
  for (const entry of batch.entries) {
    checkWhole(entry.version, 'version')
    checkWhole(entry.committedAt, 'committedAt')
    checkText(entry.revision, 'revision')
    checkText(entry.baseRevision, 'baseRevision')
    checkText(entry.text, 'text')
  }
  for (const { stream, locks } of batch.members) {
    for (const { key } of locks ?? []) checkText(key, 'lock')
    if (stream === null) continue
    checkText(stream.key, 'key')
    checkWhole(stream.epoch, 'epoch')
    checkWhole(stream.seq, 'seq')
    checkWhole(stream.settled, 'settled')
  }
}

/** Checks every value of a sync that is bound to a statement. */
export function checkSync(query: SyncQuery): void {
  checkText(query.contextId, 'contextId')
  checkText(query.stream.key, 'key')
  checkWhole(query.stream.epoch, 'epoch')
  checkWhole(query.stream.settled, 'settled')
  checkWhole(query.now, 'now')
  if (query.head !== null) checkWhole(query.head.version, 'version')
  if (query.known !== null) checkWhole(query.known.version, 'version')
}

/** Checks every value of a list query that is bound to a statement. */
export function checkList(query: ListQuery): void {
  checkText(query.prefix, 'prefix')
  checkWhole(query.limit, 'limit')
  checkWhole(query.offset, 'offset')
  checkWhole(query.updatedSince, 'updatedSince')
}

/** Checks every value of a request for a lock that is bound to a statement. */
export function checkLock({ contextId, key, hold, ttlMs, now }: LockRequest): void {
  checkText(contextId, 'contextId')
  checkText(key, 'key')
  checkText(hold, 'hold')
  checkWhole(ttlMs, 'ttlMs')
  checkWhole(now, 'now')
}

/** Checks every value of a restore that is bound to a statement. */
export function checkRestore(batch: RestoreBatch): void {
  checkText(batch.contextId, 'contextId')
  if (batch.base !== null) checkHead(batch.base)
  checkHead(batch.head)
  for (const name of ['now', 'createdAt', 'updatedAt', 'schema'] as const) checkWhole(batch[name], name)
  checkText(batch.snapshot, 'snapshot')
  for (const { key, epoch, last, usedAt } of batch.streams) {
    checkText(key, 'key')
    checkWhole(epoch, 'epoch')
    checkWhole(last, 'last')
    checkWhole(usedAt, 'usedAt')
  }
}

/** Checks every value of a query for logs that is bound to a statement. */
export function checkPrunable({ before, maxVersions, limit }: PrunableQuery): void {
  checkWhole(before, 'before')
  checkWhole(maxVersions, 'maxVersions')
  checkWhole(limit, 'limit')
}

/** Checks every value of a prune that is bound to a statement. */
export function checkPrune(batch: PruneBatch): void {
  checkText(batch.contextId, 'contextId')
  if (batch.snapshot !== null) checkText(batch.snapshot, 'snapshot')
}
