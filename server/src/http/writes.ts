import { ContextdError, checkOperations, checkState, fromJsonPatch, isObject } from '@contextd/protocol'
import type { JsonObject, JsonPatchOperation, Operation } from '@contextd/protocol'
import { forbidden } from '../authorize.ts'
import type { Grants } from '../authorize.ts'
import type { Answer } from '../commits/commit-queue.ts'
import { jsonIn, readBody, unsupported } from './body.ts'
import type { Body } from './body.ts'
import { sendEmpty, sendJson } from './call.ts'
import type { Call } from './call.ts'
import { decidedBy, request, submit, writtenBy } from './commit.ts'
import type { Wanted, Written } from './commit.ts'
import { conditionsOf } from './conditions.ts'
import type { Conditions } from './conditions.ts'
import { idempotencyOf } from './idempotent-writes.ts'
import { bad, etagOf } from './query.ts'

const json = 'application/json'
const mergePatch = 'application/merge-patch+json'
const jsonPatch = 'application/json-patch+json'
const patches = `${mergePatch}, ${jsonPatch}, ${json}`

/** `PUT`: replaces the whole state, and creates the context. */
export async function put(call: Call): Promise<void> {
  const grants = await mayWrite(call)
  const { body, conditions } = await taken(call)
  if (body.mediaType !== '' && body.mediaType !== json) throw unsupported(`A state is sent as ${json}.`)
  const value = checkState(jsonIn(body), call.node.limits)
  const operations = checkOperations([{ type: 'set', path: [], value }], call.node.limits)
  await write(call, grants, body, { operations, remove: false, initial: {}, conditions, size: body.bytes.length })
}

/** `PATCH`: a merge patch, a JSON Patch, or operations. */
export async function patch(call: Call): Promise<void> {
  const grants = await mayWrite(call)
  const { body, conditions } = await taken(call)
  const wanted = patchOf(call, body)
  await write(call, grants, body, { ...wanted, remove: false, conditions, size: body.bytes.length })
}

/** `DELETE`: resolves when the context is absent. */
export async function remove(call: Call): Promise<void> {
  await call.node.access.require(call.user, call.contextId, 'delete')
  const { body, conditions } = await taken(call)
  const wanted: Wanted = { operations: [], remove: true, initial: null, conditions, size: body.bytes.length }
  const answer = await commit(call, new Set(['delete']), body, wanted)
  sendEmpty(call, 204, isRepeat(decidedBy(call.contextId, answer, conditions)))
}

/** Which of writing and creating the user may do. @throws {ContextdError} `forbidden` – neither */
async function mayWrite({ node, user, contextId }: Call): Promise<Grants> {
  const grants = await node.access.grants(user, contextId, ['write', 'create'])
  if (!grants.has('write') && !grants.has('create')) throw forbidden('write')
  return grants
}

async function taken({ node, request: incoming, query }: Call): Promise<{ readonly body: Body; readonly conditions: Conditions }> {
  const conditions = conditionsOf(incoming, query, node.limits.idBytes)
  return { body: await readBody(incoming, node.limits.bodyBytes), conditions }
}

function patchOf(call: Call, body: Body): Pick<Wanted, 'operations' | 'initial'> {
  const { limits, engine } = call.node
  const { itemKey, initial } = engine.declared(call.contextId)
  switch (body.mediaType) {
    case mergePatch:
      return { operations: [merged(jsonIn(body), limits)], initial }
    case jsonPatch: {
      const operations = jsonIn(body)
      if (!Array.isArray(operations)) throw bad('A JSON Patch is a list of operations.')
      const most = limits.operations
      if (most > 0 && operations.length > most) throw new ContextdError('invalid_operation', `A JSON Patch has at most ${most} operations.`)
      const listed = operations as readonly JsonPatchOperation[]
      return { operations: ({ state }) => checkOperations(fromJsonPatch(state ?? startOf(initial), listed, { itemKey }), limits), initial }
    }
    case json:
      return ownPatch(call, jsonIn(body))
    default:
      throw unsupported(`A patch is sent as one of ${patches}.`, { 'accept-patch': patches })
  }
}

const startOf = (initial: Wanted['initial']): JsonObject => (typeof initial === 'function' ? initial() : initial) ?? {}

function merged(value: unknown, limits: Call['node']['limits']): Operation {
  if (!isObject(value)) throw bad('A merge patch is an object with the keys to change.')
  return checkOperations([{ type: 'merge', path: [], value }], limits)[0]!
}

/** `{ operations | patch, initial? }`: what the other two media types have no place for. */
function ownPatch({ node, contextId }: Call, document: unknown): Pick<Wanted, 'operations' | 'initial'> {
  if (!isObject(document)) throw bad('A patch in application/json is an object: { operations } or { patch }, and initial if it may create.')
  const { operations, patch: value, initial, ...others } = document
  const [other] = Object.keys(others)
  if (other !== undefined) throw bad(`A patch in application/json has operations, patch and initial, but no ${other.slice(0, 40)}.`)
  if ((operations === undefined) === (value === undefined)) throw bad('A patch in application/json has either operations or patch.')
  return {
    operations: operations === undefined ? [merged(value, node.limits)] : checkOperations(operations, node.limits),
    initial: initial === undefined ? node.engine.declared(contextId).initial : checkState(initial, node.limits),
  }
}

async function commit(call: Call, grants: Grants, body: Body, wanted: Wanted): Promise<Answer> {
  const idempotency = idempotencyOf(call, body.bytes)
  const handed = request(call, wanted, grants)
  return idempotency === null ? submit(call, handed, null) : call.node.writeOnce(call, idempotency, handed)
}

async function write(call: Call, grants: Grants, body: Body, wanted: Wanted): Promise<void> {
  const answer = await commit(call, grants, body, wanted)
  const decided = decidedBy(call.contextId, answer, wanted.conditions)
  if (decided !== null) return sendWritten(call, writtenBy(call.contextId, decided), {})
  if (answer.type === 'verdict' && answer.verdict.type !== 'refused')
    await sendRepeat(call, answer.verdict.head?.version ?? 0, answer.verdict.head?.revision)
}

function sendWritten(call: Call, written: Written, headers: { readonly [name: string]: string }): void {
  const { context, delta } = written
  const created = delta.baseVersion === 0 && delta.version === 1
  sendJson(call, created ? 201 : 200, written, { etag: etagOf(context), ...headers })
}

const repeated = { 'idempotent-replayed': 'true' }
const isRepeat = (decided: unknown): typeof repeated | Record<string, never> => (decided === null ? repeated : {})

/**
 * Answers a request that was answered before: as then, as long as the log has that version; else with the context as it is now and an empty delta,
 * as of a write that changes nothing.
 */
async function sendRepeat(call: Call, version: number, revision: string | undefined): Promise<void> {
  const { contextId } = call
  const { contexts } = call.node
  const now = await contexts.get(contextId)
  if (now === null) throw new ContextdError('not_found', `The write was stored, and ${contextId} was deleted since.`, { contextId })
  const then = version === now.version ? now : await contexts.at(contextId, version).catch(() => null)
  if (then !== null && then.revision === revision) {
    const deltas = await contexts.history(contextId, { limit: Math.max(1, now.version - version + 1) })
    const delta = deltas.find((each) => each.version === version && each.revision === revision)
    if (delta) return sendWritten(call, { context: then, delta }, repeated)
  }
  const { revision: newest, updatedAt: committedAt, updatedBy: author } = now
  const delta = { contextId, baseVersion: now.version, version: now.version, revision: newest, changes: [], committedAt, author }
  sendWritten(call, { context: now, delta }, repeated)
}
