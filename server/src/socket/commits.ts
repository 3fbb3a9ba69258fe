import { ContextdError, DecodeError, checkContextId, commitsSchema, decode, isContextdError } from '@contextd/protocol'
import type { CommitMessage, WireCommit } from '@contextd/protocol'
import { everything } from '../authorize.ts'
import type { Action, Grants } from '../authorize.ts'
import type { Answer } from '../commits/commit-queue.ts'
import { actorOf } from '../session.ts'
import type { AttachedSession, Stream } from './attached-session.ts'
import type { Connection } from './connection.ts'
import { isTimed } from './counters.ts'
import { closed, rateLimited, wireError } from './errors.ts'
import { heldBy, isToldByDelta, outcomeOf } from './verdicts.ts'
import { wantedBy } from './wanted.ts'

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
  /** When it came, ms; null: it is not timed. */
  readonly came: number | null
}

/**
 * Takes what a session wrote. Every number is answered: by the room's delta, or by a `v` frame. What is held is held from the first such
 * number on, since later commits of the stream must not overtake it.
 *
 * @param bytes length of the message
 * @param refusal why no message is taken now; null: it is
 * @param came when it came, ms
 * @throws {DecodeError} the message does not fit
 */
export function receiveCommits(connection: Connection, payload: unknown, bytes: number, refusal: unknown, came: number): void {
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
  const frame: Frame = {
    connection,
    session,
    stream: session.stream(message.contextId),
    message,
    bytes,
    came: isTimed(node.counts, came) ? came : null,
  }
  const reason = node.closing ? closed('The server is closing.') : (refusal ?? heldBefore(frame) ?? overLimit(frame))
  if (reason !== null) return hold(frame, reason)
  for (const commit of message.commits) frame.stream.inFlight.set(commit.seq, commit)
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

const firstOf = ({ message }: Frame): number => Math.min(...message.commits.map(({ seq }) => seq))

/** Answers a whole frame as held, and remembers where. */
function hold(frame: Frame, error: unknown): void {
  const { connection, session, stream, message } = frame
  for (const commit of message.commits) if (stream.inFlight.get(commit.seq) === commit) stream.inFlight.delete(commit.seq)
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
  let unanswered = stream.inFlight.size
  for (const { seq } of message.commits) if (!stream.inFlight.has(seq)) unanswered += 1
  if (limits.inFlight > 0 && unanswered > limits.inFlight) return rateLimited('inFlight', someTimeMs)
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
    grants = node.access.open ? everything : node.access.grants(user, message.contextId, actionsOf(message))
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
  const { limits } = node
  const reason = connection.closed ? closed('The connection is gone.') : heldBefore(frame)
  if (reason !== null) return hold(frame, reason)
  const { contextId, epoch, settled, commits } = message
  const { streamKey: key, mintedAt, actor } = session
  const author = { userId, actor }
  const size = Math.ceil(bytes / commits.length)
  for (const commit of commits) {
    const { incarnation, operations, remove, initial, refusal } = wantedBy(commit, grants, limits, bytesOf(frame, commit))
    const { seq, lock, ifVersion } = commit
    const stream = { key, mintedAt, epoch, seq, settled }
    const reply = (answer: Answer): void => answered(frame, commit, answer)
    const request = { source: key, stream, author, incarnation, operations, remove, initial, size, user, reply }
    const conditional = lock !== undefined || ifVersion !== undefined || refusal !== undefined
    // Most commits have no condition, and are made in one piece.
    node.engine.submit(
      contextId,
      conditional ? { ...request, refusal, ...(lock && { locks: [lock] }), ...(ifVersion !== undefined && { ifVersion }) } : request,
    )
  }
}

/** Length of one commit as a message, as far as it matters: a frame within the limit has none above it. */
function bytesOf({ connection, message, bytes }: Frame, commit: WireCommit): number {
  const within = bytes <= connection.node.limits.messageBytes || message.commits.length === 1
  return within ? bytes : Buffer.byteLength(JSON.stringify(commit))
}

function answered(frame: Frame, commit: WireCommit, answer: Answer): void {
  const { connection, session, stream, message } = frame
  const { contextId, epoch } = message
  const { seq } = commit
  const { node } = connection
  // Another sending of the number has come since: that one is answered.
  if (stream.inFlight.get(seq) !== commit) return
  stream.inFlight.delete(seq)
  if (frame.came !== null && commit === message.commits[0]) node.counts.commitSeconds?.observe((performance.now() - frame.came) / 1_000)
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
