import type { ContextBackend } from '../backends/backend.ts'
import { fromStored } from '../known-context.ts'
import type { OpenArchive } from './archive.ts'
import { decodeStreams, encodeStreams } from './streams.ts'

/** How long an archive keeps the records of streams: as long as it keeps the context, ms. */
const streamsKeptMs = 100 * 365 * 86_400_000

/** Keeps exported contexts in a backend, each as a context of the same id, without its log. */
export function backendArchive(backend: ContextBackend): OpenArchive {
  return {
    async export({ contextId, incarnation, version, revision, state, createdAt, updatedAt, updatedBy, streams }) {
      await backend.open()
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
      const { head, state, createdAt, updatedAt, updatedBy, schema } = fromStored(dump.stored)
      if (state === null) return null
      return { contextId, ...head, state, createdAt, updatedAt, updatedBy, streams: encodeStreams({ schema, records: dump.streams }) }
    },
    close: () => backend.close(),
  }
}
