import type { CommitBatch, ListQuery, SyncQuery } from '../backend.ts'

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

/** Checks every value of a batch that is bound to a statement. */
export function checkBatch(batch: CommitBatch): void {
  checkText(batch.contextId, 'contextId')
  for (const head of [batch.base, batch.head]) {
    checkText(head.incarnation, 'incarnation')
    checkWhole(head.version, 'version')
    checkText(head.revision, 'revision')
  }
  checkWhole(batch.now, 'now')
  if (batch.snapshot !== null) checkText(batch.snapshot, 'snapshot')
  for (const entry of batch.entries) {
    checkWhole(entry.version, 'version')
    checkWhole(entry.committedAt, 'committedAt')
    checkText(entry.revision, 'revision')
    checkText(entry.baseRevision, 'baseRevision')
    checkText(entry.text, 'text')
  }
  for (const { stream } of batch.members) {
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
