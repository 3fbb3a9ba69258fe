import { ContextdError } from '@contextd/protocol'

/** SQLite's result codes that are told apart; the rest of a number says more, and is cut off. */
export const sqliteCode = { busy: 5, readOnly: 8, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notDatabase: 26 } as const

/** What no part of the work would come through. A disk may have room for less, and a damaged page is one context's. */
const codesOfAll: ReadonlySet<number> = new Set([
  sqliteCode.busy,
  sqliteCode.readOnly,
  sqliteCode.ioError,
  sqliteCode.cannotOpen,
  sqliteCode.notDatabase,
])
/** SQLITE_IOERR_WRITE, as of a quota that is used up. */
const writeRefused = 778

/** SQLite's whole number of an error; 0: it is not SQLite's. */
function numberOf(error: unknown): number {
  const number = error instanceof Error && 'errcode' in error ? error.errcode : 0
  return typeof number === 'number' ? number : 0
}

/** What kind of error it is: {@link sqliteCode}. */
const codeOf = (error: unknown): number => numberOf(error) & 0xff

/** Whether another connection holds the file just now. */
export const isBusy = (error: unknown): boolean => codeOf(error) === sqliteCode.busy

/** Whether trying parts of the work again is of no use. */
export const concernsAll = (error: unknown): boolean => codesOfAll.has(codeOf(error))

/** Whether an error at the end of a transaction says that it is not on the disk as a whole: what makes it valid is written last. */
export const isUnwritten = (error: unknown): boolean => codeOf(error) === sqliteCode.full || numberOf(error) === writeRefused

const runtimeMessages: ReadonlyMap<number, string> = new Map([
  [sqliteCode.busy, 'The store is locked by another process. Nothing was written; try again.'],
  [sqliteCode.readOnly, 'The store has become read-only. Nothing was written; make its file writable.'],
  [sqliteCode.ioError, 'The store could not be read or written. Nothing was written; check its disk.'],
  [sqliteCode.corrupt, "The store's file is damaged. Nothing was written; restore it from a copy."],
  [sqliteCode.full, "The store's disk is full. Nothing was written; make room on it."],
  [sqliteCode.notDatabase, "The store's file is damaged. Nothing was written; restore it from a copy."],
])

/** What a failed call is told: held, since nothing was written. Names no file, because it may travel to clients. */
export function unavailable(cause: unknown): ContextdError {
  const message = runtimeMessages.get(codeOf(cause)) ?? 'The store failed. Nothing was written; try again.'
  return new ContextdError('backend_unavailable', message, { cause })
}

/** What a call is told whose writes may or may not be on the disk. */
export function unknownOutcome(cause: unknown): ContextdError {
  return new ContextdError('timeout', 'The store failed while it was writing. The write may have been stored.', {
    details: { outcome: 'unknown' },
    cause,
  })
}

const openMessages: ReadonlyMap<number, string> = new Map([
  [sqliteCode.busy, 'is locked by another process. Stop that process, or use another file.'],
  [sqliteCode.readOnly, 'is read-only. Make it and its folder writable, or use another file.'],
  [sqliteCode.ioError, 'cannot be read or written. Check its disk.'],
  [sqliteCode.corrupt, 'is damaged. Restore it from a copy, or use another file.'],
  [sqliteCode.full, 'cannot be written: its disk is full.'],
  [sqliteCode.cannotOpen, 'cannot be opened. Check that its folder exists, that it is a file, and that this user may read and write both.'],
  [sqliteCode.notDatabase, 'is not an SQLite database. Use another file.'],
])

/** What `open()` tells of a file that cannot be used. */
export function cannotOpen(file: string, cause: unknown): ContextdError {
  if (cause instanceof ContextdError) return cause
  const reason = openMessages.get(codeOf(cause)) ?? `cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`
  return new ContextdError('backend_unavailable', `The SQLite file ${file} ${reason}`, { cause })
}
