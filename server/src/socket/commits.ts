import {
  ContextdError,
  DecodeError,
  checkContextId,
  checkOperations,
  checkState,
  commitsSchema,
  decode,
  isContextdError,
} from '@contextd/protocol'
import type { CommitMessage, JsonObject, Operation, WireCommit } from '@contextd/protocol'
import { forbidden } from '../authorize.ts'
import type { Action, Grants } from '../authorize.ts'
import type { Answer } from '../commit-queue.ts'
import type { CommitRequest } from '../engine.ts'
import { actorOf } from '../session.ts'
import type { AttachedSession, Stream } from './attached-session.ts'
import type { Connection } from './connection.ts'
import { closed, rateLimited, wireError } from './errors.ts'
import { heldBy, isToldByDelta, outcomeOf } from './verdicts.ts'

/** How long to wait where nothing says when there is room again, ms. */
const someTimeMs = 100
/** Most numbers of a stream that its client has not settled (P4): the record keeps a verdict for each. */
const mostUnsettled = 64

/** A `commit` message of an attached session. */
interface Frame {
  readonly connection: Connection
  readonly session: AttachedSession
  readonly stream: Stream
  readonly message: CommitMessage
  readonly bytes: number
}
/** What a commit wants, once checked. */
type Wanted = Pick<CommitRequest, 'incarnation' | 'operations' | 'remove' | 'initial'>

/**
 * Takes what a session wrote. Every number is answered: by the room's delta, or by a `v` frame. What is held is held from the first such
 * number on, since later commits of the stream must not overtake it.
 *
 * @param bytes length of the message
 * @param refusal why no message is taken now; null: it is
 * @throws {DecodeError} the message does not fit
 */
export function receiveCommits(connection: Connection, payload: unknown, bytes: number, refusal: unknown): void {
  const message = decode(commitsSchema, payload)
  checkSettled(message)
  const { node } = connection
  const session = connection.sessions.get(message.session)
  if (!session)
    return tellAll(
      connection,
      actorOf(connection.userId, message.session),
      message,
      heldBy(closed('The session is not attached to this connection.')),
    )
  if (message.commits.length === 0) return
  try {
    checkContextId(message.contextId, node.limits.idBytes)
  } catch (error) {
    // There is no such stream to record it in; the answer is always the same.
    return tellAll(connection, session.actor, message, { type: 'refused', ...wireError(error) })
  }
  pruneStreams(session)
  const frame: Frame = { connection, session, stream: session.stream(message.contextId), message, bytes }
  const reason = node.closing ? closed('The server is closing.') : (refusal ?? heldBefore(frame) ?? overLimit(frame))
  if (reason !== null) return hold(frame, reason)
  for (const commit of message.commits) frame.stream.inFlight.set(numberOf(frame, commit), commit)
  authorizeAndSubmit(frame)
}

function checkSettled({ settled, commits }: CommitMessage): void {
  const beyond = commits.findIndex(({ seq }) => seq > settled + mostUnsettled)
  if (beyond >= 0) throw new DecodeError(`commits[${beyond}].seq`, `at most ${mostUnsettled} numbers above settled`)
}

function tellAll(
  connection: Connection,
  actor: string,
  { contextId, epoch, commits }: CommitMessage,
  outcome: ReturnType<typeof heldBy>,
): void {
  for (const { seq } of commits) connection.tell(contextId, actor, epoch, seq, outcome)
}

const numberOf = ({ message }: Frame, { seq }: WireCommit): string => `${message.epoch} ${seq}`
const firstOf = ({ message }: Frame): number => Math.min(...message.commits.map(({ seq }) => seq))

/** Answers a whole frame as held, and remembers where. */
function hold(frame: Frame, error: unknown): void {
  const { connection, session, stream, message } = frame
  for (const commit of message.commits)
    if (stream.inFlight.get(numberOf(frame, commit)) === commit) stream.inFlight.delete(numberOf(frame, commit))
  const from = firstOf(frame)
  if (stream.held === null || from <= stream.held.from) {
    const retryAfterMs = isContextdError(error, 'rate_limited') ? error.details.retryAfterMs : someTimeMs
    stream.held = { from, until: performance.now() + retryAfterMs, error }
  }
  tellAll(connection, session.actor, message, heldBy(error))
  connection.node.noteAnswer()
}

/** Why a frame must wait behind one that was held; null: it need not. */
function heldBefore(frame: Frame): unknown {
  const { stream } = frame
  if (stream.held === null) return null
  if (firstOf(frame) > stream.held.from && performance.now() < stream.held.until) return stream.held.error
  stream.held = null
  return null
}

function overLimit(frame: Frame): ContextdError | null {
  const { connection, session, stream, message } = frame
  const { limits } = connection.node
  const more = message.commits.filter((commit) => !stream.inFlight.has(numberOf(frame, commit))).length
  if (limits.inFlight > 0 && stream.inFlight.size + more > limits.inFlight) return rateLimited('inFlight', someTimeMs)
  const wait = session.commits.take(message.commits.length, performance.now())
  if (wait === 0) return null
  connection.node.counts.rateLimited += 1
  return rateLimited('commitsPerSecond', wait)
}

/** Asks the application, and hands in what it allows. Frames whose answer takes time wait for each other, so that none overtakes. */
function authorizeAndSubmit(frame: Frame): void {
  const { connection, stream, message } = frame
  const { node, user } = connection
  let grants: Grants | Promise<Grants>
  try {
    grants = node.access.grants(user, message.contextId, actionsOf(message))
  } catch (error) {
    return failed(frame, error)
  }
  if (!(grants instanceof Promise) && stream.turn === null) return submit(frame, grants)
  const asked = Promise.resolve(grants)
  asked.catch(() => {})
  const turn: Promise<void> = (stream.turn ?? Promise.resolve())
    .then(() => asked)
    .then(
      (granted) => submit(frame, granted),
      (error: unknown) => failed(frame, error),
    )
    .finally(() => {
      if (stream.turn === turn) stream.turn = null
      forgetIdle(frame)
    })
  stream.turn = turn
}

/** The application's hook failed: that is no answer, and nothing is lost. */
function failed(frame: Frame, error: unknown): void {
  const { contextId } = frame.message
  if (!isContextdError(error)) frame.connection.node.engine.logger.error({ contextId, error }, 'authorize failed')
  hold(frame, error)
}

function actionsOf({ commits }: CommitMessage): readonly Action[] {
  const actions = new Set<Action>()
  for (const commit of commits) {
    if (commit.delete) actions.add('delete')
    else if (commit.operations.length > 0) {
      actions.add('write')
      if (commit.incarnation === '') actions.add('create')
    }
  }
  return [...actions]
}

function submit(frame: Frame, grants: Grants): void {
  const { connection, session, message, bytes } = frame
  const { node, user, userId } = connection
  const reason = connection.closed ? closed('The connection is gone.') : heldBefore(frame)
  if (reason !== null) return hold(frame, reason)
  const { contextId, epoch, settled, commits } = message
  const size = Math.ceil(bytes / commits.length)
  for (const commit of commits) {
    node.engine.submit(contextId, {
      ...wantedBy(frame, commit, grants),
      ...(commit.lock && { lock: commit.lock }),
      ...(commit.ifVersion !== undefined && { ifVersion: commit.ifVersion }),
      source: session.streamKey,
      stream: { key: session.streamKey, mintedAt: session.mintedAt, epoch, seq: commit.seq, settled },
      author: { userId, actor: session.actor },
      size,
      user,
      reply: (answer) => answered(frame, commit, answer),
    })
  }
  forgetIdle(frame)
}

/** What a commit is handed in as. A refusal at the edge is handed in too: it takes its number, and is recorded as the verdict. */
function wantedBy(frame: Frame, commit: WireCommit, grants: Grants): Wanted {
  const { incarnation } = commit
  if (commit.delete)
    return grants.has('delete') ? { incarnation, operations: [], remove: true, initial: null } : refused(forbidden('delete'))
  if (commit.operations.length === 0) return { incarnation, operations: [], remove: false, initial: null }
  const allowed = allowedTo(incarnation, grants)
  if (allowed === 'nothing') return refused(forbidden('write'))
  try {
    checkBytes(frame, commit)
    const { limits } = frame.connection.node
    const operations = checkOperations(commit.operations, limits)
    const initial = incarnation === '' ? checkState(commit.initial ?? {}, limits) : null
    return { incarnation, operations: allowed === 'everything' ? operations : onlyIf(allowed, operations), remove: false, initial }
  } catch (error) {
    return refused(error)
  }
}

/** What a writer may do; of one that wrote on an absent context only the step knows whether that would create it. */
function allowedTo(incarnation: string, grants: Grants): 'everything' | 'nothing' | 'write' | 'create' {
  const write = grants.has('write')
  const create = incarnation !== '' || grants.has('create')
  if (write && create) return 'everything'
  if (incarnation !== '' || (!write && !create)) return 'nothing'
  return write ? 'write' : 'create'
}

function onlyIf(allowed: 'write' | 'create', operations: readonly Operation[]): (state: JsonObject | null) => readonly Operation[] {
  return (state) => {
    const needed = state === null ? 'create' : 'write'
    if (needed !== allowed) throw forbidden(needed)
    return operations
  }
}

/** On no incarnation and with something to start from, so that the refusal is the same whether the context exists or not. */
const refused = (error: unknown): Wanted => ({
  incarnation: null,
  operations: () => {
    throw error
  },
  remove: false,
  initial: {},
})

function checkBytes({ connection, message, bytes }: Frame, commit: WireCommit): void {
  const { messageBytes } = connection.node.limits
  if (messageBytes === 0 || bytes <= messageBytes) return
  const own = message.commits.length === 1 ? bytes : Buffer.byteLength(JSON.stringify(commit))
  if (own <= messageBytes) return
  throw new ContextdError('too_large', `The commit has ${own} bytes; the limit is ${messageBytes} (messageBytes). Write less at once.`)
}

function answered(frame: Frame, commit: WireCommit, answer: Answer): void {
  const { connection, session, stream, message } = frame
  const { contextId, epoch } = message
  const { seq } = commit
  const { node } = connection
  // Another sending of the number has come since: that one is answered.
  if (stream.inFlight.get(numberOf(frame, commit)) !== commit) return
  stream.inFlight.delete(numberOf(frame, commit))
  forgetIdle(frame)
  if (answer.type === 'held' && !isContextdError(answer.error))
    node.engine.logger.error({ contextId, error: answer.error }, 'commit failed')
  const outcome = outcomeOf(answer)
  const open = session.contexts.get(contextId)
  if (
    open &&
    outcome.type === 'applied' &&
    outcome.head &&
    isToldByDelta(answer, { remove: commit.delete === 1 }, connection.hears(session, contextId))
  ) {
    open.leaveToDelta({ seq, epoch, head: outcome.head, outcome }, node.fanOut.told(contextId))
  } else connection.tell(contextId, session.actor, epoch, seq, outcome)
  node.noteAnswer()
}

function forgetIdle({ session, stream, message }: Frame): void {
  if (stream.idle && session.streams.get(message.contextId) === stream) session.streams.delete(message.contextId)
}

/** Forgets streams that have nothing to remember, when there are many. */
function pruneStreams({ streams }: AttachedSession): void {
  if (streams.size < 1_000) return
  const now = performance.now()
  for (const [contextId, stream] of streams) {
    if (stream.held !== null && stream.held.until <= now) stream.held = null
    if (stream.idle) streams.delete(contextId)
  }
}
