import { ContextdError } from '@contextd/protocol'
import { sendEmpty, sendJson, sendList } from './call.ts'
import type { Call } from './call.ts'
import { bad, etagOf, headIn, tagsIn, wholeIn } from './query.ts'

/** Most contexts or deltas of one answer. */
const mostListed = 10_000
const defaultListed = 100

/** `GET /v1/contexts/{id}`: the context as it is; with `since`, what is new. */
export async function read(call: Call): Promise<void> {
  const { node, user, contextId, query, request } = call
  await node.access.require(user, contextId, 'read')
  const since = query.text('since')
  if (since !== undefined) return sync(call, since)
  const context = await node.contexts.get(contextId)
  if (context === null) throw missing(contextId)
  const etag = etagOf(context)
  const known = request.headers['if-none-match']
  if (known !== undefined && (known.trim() === '*' || tagsIn(known).includes(`${context.version}-${context.revision}`))) {
    return sendEmpty(call, 304, { etag })
  }
  sendJson(call, 200, context, { etag })
}

const missing = (contextId: string): ContextdError => new ContextdError('not_found', `There is no context ${contextId}.`, { contextId })

async function sync(call: Call, since: string): Promise<void> {
  const from = headIn(since.replace(/^"(.*)"$/, '$1')) ?? wholeIn(since)
  if (from === null) throw bad('since must be a version, or a version and its revision as an ETag has them: 12-k2Jd4f.')
  const answer = await call.node.contexts.sync(call.contextId, from)
  const head = answer.type === 'full_context' ? answer.context : answer.type === 'delta' ? answer.delta : answer
  sendJson(call, 200, answer, { etag: etagOf(head) })
}

/** What a prefix of ids may be made of; no context has another. */
const prefixForm = /^[A-Za-z0-9._:\-@+~]*$/

/** `GET /v1/contexts`: contexts by id. */
export async function list(call: Call): Promise<void> {
  const { node, user, query } = call
  const prefix = query.text('prefix') ?? ''
  const limit = query.whole('limit', 1, mostListed) ?? defaultListed
  const offset = query.whole('offset', 0) ?? 0
  const order = query.word('order', ['asc', 'desc']) ?? 'asc'
  const updatedSince = query.whole('updatedSince', 0) ?? 0
  await node.access.require(user, prefix, 'list')
  const found = prefixForm.test(prefix) ? await node.contexts.list({ prefix, limit, offset, order, updatedSince }) : []
  await sendList(call, 'contexts', found)
}

/** `GET …/history`: the retained deltas, newest first. */
export async function history(call: Call): Promise<void> {
  const { node, user, contextId, query } = call
  const limit = query.whole('limit', 1, mostListed) ?? defaultListed
  await node.access.require(user, contextId, 'read')
  await sendList(call, 'deltas', await node.contexts.history(contextId, { limit }))
}

/** `GET …/versions/{n}`: the context as it was. */
export async function version(call: Call): Promise<void> {
  const { node, user, contextId, steps } = call
  const number = wholeIn(steps[1]!)
  if (number === null || number === 0) throw bad('A version is a whole number of at least 1.')
  await node.access.require(user, contextId, 'read')
  const context = await node.contexts.at(contextId, number)
  sendJson(call, 200, context, { etag: etagOf(context) })
}

/** `GET …/events`: a stream of what is new. */
export async function events(call: Call): Promise<void> {
  const { node, user, contextId, query, request } = call
  const last = request.headers['last-event-id'] ?? query.text('since')
  const from = typeof last === 'string' && last !== '' ? headIn(last) : null
  if (typeof last === 'string' && last !== '' && from === null) throw bad('Last-Event-ID must be the id of an event of this stream.')
  await node.access.require(user, contextId, 'read')
  await node.openStream(call, from)
}

/** `POST /v1/cleanup`: expires contexts and prunes deltas, once. */
export async function cleanup(call: Call): Promise<void> {
  const { node, user, query } = call
  const limit = query.whole('limit', 1)
  await node.access.require(user, '', 'delete')
  sendJson(call, 200, await node.contexts.cleanup(limit === undefined ? {} : { limit }))
}
