import { ContextdError, attachSchema, checkContextId, decode, listSchema, syncSchema } from '@contextd/protocol'
import type { AttachReply, Head, SyncReply, SyncRequest } from '@contextd/protocol'
import { forbidden } from '../authorize.ts'
import type { Grants } from '../authorize.ts'
import { isSessionOf, mintSession } from '../session.ts'
import type { AttachedSession, OpenContext } from './attached-session.ts'
import type { Connection } from './connection.ts'
import { closed } from './errors.ts'

/** Opens a session on this connection: a new one, or one of this user that was elsewhere before. */
export async function attach(connection: Connection, payload: unknown): Promise<AttachReply> {
  const { session: asked } = decode(attachSchema, payload)
  const { node, userId } = connection
  if (node.closing) throw closed('The server is closing.')
  const now = node.engine.clock.now()
  if (asked !== null && !isSessionOf(userId, asked)) {
    throw new ContextdError('forbidden', 'The session is not one of this user. Attach with null to get a new one.')
  }
  const session = connection.attach(asked ?? mintSession(now, userId))
  return {
    session: session.id,
    actor: session.actor,
    userId,
    sessionTtlMs: node.engine.sessionTtlMs,
    ageMs: Math.max(0, Math.trunc(now - session.mintedAt)),
    messageBytes: node.limits.messageBytes,
  }
}

/** Joins a context, and brings the session's replica to head. */
export async function sync(connection: Connection, payload: unknown): Promise<SyncReply> {
  const request = decode(syncSchema, payload)
  const { node } = connection
  if (node.closing) throw closed('The server is closing.')
  const session = connection.session(request.session)
  checkContextId(request.contextId, node.limits.idBytes)
  const open = connection.open(session, request.contextId)
  open.syncing += 1
  try {
    return await joinAndRead(connection, session, open, request)
  } finally {
    open.syncing -= 1
    if (!open.joined && open.syncing === 0 && session.contexts.get(request.contextId) === open) connection.leave(session, request.contextId)
  }
}

async function joinAndRead(connection: Connection, session: AttachedSession, open: OpenContext, request: SyncRequest): Promise<SyncReply> {
  const { node, user } = connection
  const { contextId } = request
  const grants: Grants = await node.access.grants(user, contextId, ['read', 'write'])
  if (!grants.has('read')) {
    connection.deny(contextId, forbidden('read'))
    throw forbidden('read')
  }
  return connection.reads.run(async () => {
    // The room first, then the read: what is committed in between comes as a delta, and waits in the client.
    if (!connection.closed && !open.left) await connection.join(contextId)
    if (connection.closed || open.left) throw closed('The context was left.')
    const stream = {
      key: session.streamKey,
      mintedAt: session.mintedAt,
      epoch: request.epoch,
      told: request.told,
      settled: request.settled,
    }
    const reply = await node.engine.sync({ contextId, head: request.head, stream })
    if (open.left) throw closed('The context was left.')
    open.joined = true
    const known = session.streams.get(contextId)
    if (known) known.held = null
    const head = headOf(reply, request.head)
    if (head) node.fanOut.told(contextId)?.synced(head)
    return { ...reply, access: grants.has('write') ? 'write' : 'read' }
  })
}

/** The head that an answer leads to; null: to none. */
function headOf({ answer }: Omit<SyncReply, 'access'>, from: Head | null): Head | null {
  if (answer.type === 'expired') return null
  if (answer.type !== 'delta') return answer.head
  const last = answer.commits.at(-1)
  return from && last ? { incarnation: from.incarnation, version: from.version + answer.commits.length, revision: last[0] } : from
}

/** What a prefix of ids may be made of; no context has another. */
const prefixForm = /^[A-Za-z0-9._:\-@+~]*$/

/** Lists contexts by the start of their ids. */
export async function list(connection: Connection, payload: unknown): Promise<{ contexts: readonly object[] }> {
  const { prefix = '', limit } = decode(listSchema, payload)
  const { node, user } = connection
  await node.access.require(user, prefix, 'list')
  if (!prefixForm.test(prefix)) return { contexts: [] }
  const found = await connection.reads.run(() => node.engine.list({ prefix, ...(limit !== undefined && { limit }) }))
  return {
    contexts: found.map(({ contextId, version, revision, createdAt, updatedAt }) => ({
      contextId,
      version,
      revision,
      createdAt,
      updatedAt,
    })),
  }
}
