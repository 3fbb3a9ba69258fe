import { ContextdError } from '@contextd/protocol'

/** Redis' codes of commands that it has not begun, and why. The texts go as far as clients: no address, no word of Redis' own. */
const refusals: Readonly<Record<string, string>> = {
  OOM: 'The store is out of memory; give it more, or remove contexts.',
  READONLY: 'The store takes no writes just now: it is a replica.',
  NOREPLICAS: 'The store takes no writes just now: too few of its replicas are connected.',
  MISCONF: 'The store takes no writes: it cannot write to its disk.',
  LOADING: 'The store is still reading its data.',
  BUSY: 'The store is busy with a long script.',
  MASTERDOWN: 'The store is a replica that has lost its primary.',
  CLUSTERDOWN: 'A part of the store is down.',
  TRYAGAIN: 'A part of the store is being moved.',
  MOVED: 'A part of the store is being moved.',
  ASK: 'A part of the store is being moved.',
  CROSSSLOT: 'The store is a cluster that keeps these keys apart.',
  NOAUTH: 'The store refuses our password.',
  WRONGPASS: 'The store refuses our password.',
  NOPERM: 'The store does not allow its user what is needed.',
  WRONGTYPE: 'What is stored of the context is damaged: a key is of another type.',
  DAMAGED: 'What is stored of the context is damaged, or being restored: its parts do not fit together.',
}

/** The first word of an error of Redis (`OOM`), the code of the system's (`ECONNREFUSED`), or ''. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  if ('code' in error && typeof error.code === 'string') return error.code
  return error.name === 'ReplyError' ? (/^[A-Z]+/.exec(error.message)?.[0] ?? '') : ''
}

/** Whether a command was given to a connection and nothing was heard of it. */
export const isTimeout = (error: unknown): boolean => error instanceof Error && error.message === 'Command timed out'

/** There is no connection to give a command to. */
export class NotConnected extends Error {}

/** Whether a command never left this process, or was refused before it did anything. */
function isNotDone(error: unknown): boolean {
  return (
    reasonOf(error) in refusals ||
    error instanceof NotConnected ||
    (error instanceof Error && error.message.startsWith("Stream isn't writeable"))
  )
}

/**
 * What a call is told that failed.
 *
 * The error it comes from is not handed on: it carries the command, with users' data or a password.
 * @param writes the call may have written before its answer was lost
 */
export function toldError(error: unknown, writes: boolean): ContextdError {
  if (error instanceof ContextdError) return error
  if (writes && !isNotDone(error)) {
    return new ContextdError('timeout', 'The connection to the store was lost while it was writing. The write may have been stored.', {
      details: { outcome: 'unknown' },
    })
  }
  return unavailable(refusals[reasonOf(error)] ?? 'The store cannot be reached.', writes)
}

/** The held error of a call of which nothing was done. */
function unavailable(reason: string, writes: boolean): ContextdError {
  return new ContextdError('backend_unavailable', `${reason} ${writes ? 'Nothing was written; try' : 'Try'} again.`)
}

/** What is told after `close()`. */
export const closed = (): ContextdError => new ContextdError('closed', 'The store is closed.')
