import { DecodeError, decode, detachSchema, isContextdError, leaveSchema } from '@contextd/protocol'
import { receiveCommits } from './commits.ts'
import type { Connection } from './connection.ts'
import { rateLimited, wireError } from './errors.ts'
import { JsonText, messageBytesOf } from './packets.ts'
import { attach, list, sync } from './requests.ts'
import { TokenBucket } from './token-bucket.ts'

type Acknowledge = (reply: unknown) => void
type Request = (connection: Connection, payload: unknown) => Promise<object>

const requests: { readonly [event: string]: Request } = { attach, sync, list }
const ours: ReadonlySet<string> = new Set([...Object.keys(requests), 'commit', 'detach', 'leave'])

/** Takes what comes in on a connection: within its rate, decoded, each to its handler. */
export function receiver(connection: Connection): (args: unknown[], next: () => void) => void {
  const { messagesPerSecond } = connection.node.limits
  const rate = new TokenBucket(messagesPerSecond, performance.now())
  // Who goes on at this rate against every answer is cut off.
  const patience = new TokenBucket(messagesPerSecond, performance.now())
  return (args, next) => {
    if (connection.closed) return
    const now = performance.now()
    const wait = rate.take(1, now)
    if (wait > 0) {
      connection.node.counts.rateLimited += 1
      if (patience.take(1, now) > 0) return connection.cut()
    }
    const [event, payload] = args
    if (typeof event === 'string' && ours.has(event)) {
      connection.node.counts.messages.add(event)
      dispatch(connection, event, payload, args, wait, now)
    } else if (connection.socket.listenerCount(String(event)) === 0 || event === 'error') connection.node.counts.unknownEvents += 1
    else if (wait === 0) next()
  }
}

function dispatch(connection: Connection, event: string, payload: unknown, args: readonly unknown[], wait: number, now: number): void {
  const refusal = wait > 0 ? rateLimited('messagesPerSecond', wait) : null
  try {
    if (event === 'commit') receiveCommits(connection, payload, messageBytesOf(args), refusal, now)
    else if (event === 'leave') leave(connection, payload)
    else if (event === 'detach') connection.detach(decode(detachSchema, payload).session)
    else request(connection, event, payload, args.at(-1), refusal)
  } catch (error) {
    undecodable(connection, error)
  }
}

/** Ends what costs: it is taken at any rate. */
function leave(connection: Connection, payload: unknown): void {
  const { session, contextId } = decode(leaveSchema, payload)
  const attached = connection.sessions.get(session)
  if (attached) connection.leave(attached, contextId)
}

/** A request is acknowledged with its reply, or with why there is none. @throws {DecodeError} nothing is to be acknowledged */
function request(connection: Connection, event: string, payload: unknown, last: unknown, refusal: unknown): void {
  if (typeof last !== 'function') throw new DecodeError(event, 'an acknowledgement')
  const acknowledge = last as Acknowledge
  if (refusal !== null) return acknowledge({ error: wireError(refusal) })
  requests[event]!(connection, payload).then(
    (reply) => acknowledge(new JsonText(JSON.stringify(reply))),
    (error: unknown) => {
      if (error instanceof DecodeError) {
        acknowledge({ error: { code: 'invalid_message', message: error.message } })
        return undecodable(connection, error)
      }
      if (!isContextdError(error)) connection.node.engine.logger.error({ event, error }, 'request failed')
      acknowledge({ error: wireError(error) })
    },
  )
}

function undecodable(connection: Connection, error: unknown): void {
  const { logger } = connection.node.engine
  if (error instanceof DecodeError) logger.debug({ at: error.at }, 'a frame that cannot be decoded; its socket is closed')
  else logger.error({ error }, 'a frame failed; its socket is closed')
  connection.reject()
}
