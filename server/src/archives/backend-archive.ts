import { ContextdError } from '@contextd/protocol'
import type { JsonObject } from '@contextd/protocol'
import type { ContextBackend, ContextDump } from '../backends/backend.ts'
import { fromStored } from '../commits/known-context.ts'
import type { KnownContext } from '../commits/known-context.ts'
import type { OpenArchive } from './archive.ts'
import { checkOtherStore } from './other-store.ts'
import { decodeStreams, encodeStreams } from './streams.ts'

/** How long an archive keeps the records of streams: as long as it keeps the context, ms. */
const streamsKeptMs = 100 * 365 * 86_400_000

/** Keeps exported contexts in a backend, each as a context of the same id, without its log; `source` is where they come from. */
export function backendArchive(backend: ContextBackend, source: ContextBackend): OpenArchive {
  let checking: Promise<void> | null = null
  const checked = (): Promise<void> => {
    checking ??= checkOtherStore(source, backend).catch((error: unknown) => {
      checking = null
      throw error
    })
    return checking
  }
  return {
    async export({ contextId, incarnation, version, revision, state, createdAt, updatedAt, updatedBy, streams }) {
      await backend.open()
      await checked()
      const { schema, records } = decodeStreams(streams)
      await backend.restore({
        contextId,
        base: null,
        head: { incarnation, version, revision },
        now: updatedAt,
        sessionTtlMs: streamsKeptMs,
        createdAt,
        updatedAt,
        updatedBy,
        schema,
        snapshot: JSON.stringify(state),
        streams: records,
        message: null,
      })
    },
    async restore(contextId) {
      await backend.open()
      const dump = await backend.dump(contextId)
      if (dump === null) return null
      const { head, state, createdAt, updatedAt, updatedBy, schema } = knownOf(contextId, dump)
      return { contextId, ...head, state, createdAt, updatedAt, updatedBy, streams: encodeStreams({ schema, records: dump.streams }) }
    },
    close: () => backend.close(),
  }
}

/** What is kept of a context. @throws {ContextdError} `invalid_state` – it does not fit together */
function knownOf(contextId: string, { stored }: ContextDump): KnownContext & { readonly state: JsonObject } {
  try {
    const known = fromStored(stored)
    if (known.state === null) throw new Error('There is no state.')
    return { ...known, state: known.state }
  } catch (cause) {
    const message = `What the archive has of ${contextId} is damaged: its parts do not fit together.`
    throw new ContextdError('invalid_state', message, { contextId, cause })
  }
}
