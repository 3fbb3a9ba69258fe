import { ContextdError } from '@contextd/protocol'
import type { Snapshot } from '@contextd/protocol'
import type { ArchivedContext } from '../archives/archive.ts'
import { Archivist, exportedOf } from '../archives/archivist.ts'
import { forbidden } from '../authorize.ts'
import { jsonIn, readBody, unsupported } from './body.ts'
import { sendJson } from './call.ts'
import type { Call } from './call.ts'
import { etagOf } from './query.ts'

/** `GET …/export`: the context as an archive is given it (P13). */
export async function exportOne(call: Call): Promise<void> {
  const { node, user, contextId } = call
  const { engine, access } = node
  await access.require(user, contextId, 'read')
  await engine.open()
  // What goes out is of the newest definition.
  if (engine.declared(contextId).migrate) await engine.using(contextId, (live) => live.fresh())
  const dump = await engine.backend.dump(contextId)
  if (dump === null) throw new ContextdError('not_found', `There is no context ${contextId}.`, { contextId })
  const exported = exportedOf(contextId, dump)
  sendJson(call, 200, exported, { etag: etagOf(exported) })
}

const restoring = ['write', 'create', 'delete'] as const

/** `POST …/restore`: puts the exported context of the body in place of what is there; without a body, what the server's archive has. */
export async function restoreOne(call: Call): Promise<void> {
  const { node, user, contextId, request } = call
  const { engine, limits, access } = node
  const grants = await access.grants(user, contextId, restoring)
  for (const action of restoring) if (!grants.has(action)) throw forbidden(action)
  const body = await readBody(request, limits.bodyBytes)
  if (body.bytes.length === 0) {
    const context = await engine.restore(contextId)
    return sendJson(call, 200, context, { etag: etagOf(context) })
  }
  if (body.mediaType !== 'application/json') throw unsupported('An exported context is sent as application/json.')
  const context = await restoreFrom(call, jsonIn(body))
  sendJson(call, 200, context, { etag: etagOf(context) })
}

const nothing = (): Promise<void> => Promise.resolve()

/** Puts what was exported in place, whatever it is. @throws {ContextdError} `invalid_state`, `too_large` – it is damaged */
async function restoreFrom({ node, contextId }: Call, exported: unknown): Promise<Snapshot> {
  const { engine } = node
  // Nothing at all is no answer of an archive here, but a damaged one.
  const archive = { export: nothing, restore: () => (exported ?? {}) as ArchivedContext, close: nothing }
  const restored = (await new Archivist({ ...engine.archiving, archive }).restore(contextId, null)) as Snapshot
  if (!engine.declared(contextId).migrate) return restored
  const now = await node.contexts.get(contextId)
  return now ?? restored
}
