import { noHead } from '../../backends/backend.ts'
import type { ContextBackend, ListQuery } from '../../backends/backend.ts'
import { batchOf, contextId, fact, same, startAt, store, storeMany } from './kit.ts'
import type { KitCase } from './kit.ts'

/** In code-unit order. */
const ids = ['0', '9:z', 'A', 'A@x', 'Z', 'a', 'a+b', 'a-b', 'a.b', 'a0', 'a:b', 'a@b', 'aB', 'a_', 'a_b', 'aa', 'ab', 'a~b', 'b']

async function idsOf(backend: ContextBackend, query: Partial<ListQuery> = {}): Promise<string[]> {
  const listed = await backend.list({ limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0, ...query })
  return listed.map((item) => item.contextId)
}

async function fill(backend: ContextBackend): Promise<void> {
  for (const id of ids.toSorted(() => 1)) await store(backend, { contextId: id })
}

/** Lists and heads (R9). */
export const listCases: readonly KitCase[] = [
  fact('contexts are listed by id in code-unit order, or in the reverse', async ({ backend }) => {
    await fill(backend)
    same(await idsOf(backend), ids)
    same(await idsOf(backend, { order: 'desc' }), ids.toReversed())
  }),

  fact('a prefix is taken letter by letter', async ({ backend }) => {
    await fill(backend)
    for (const prefix of ['a', 'a_', 'a.', 'a~', 'A', 'b', 'c', '%', '*', 'a*', '[ab]']) {
      same(
        await idsOf(backend, { prefix }),
        ids.filter((id) => id.startsWith(prefix)),
        prefix,
      )
      same(await idsOf(backend, { prefix, order: 'desc' }), ids.filter((id) => id.startsWith(prefix)).toReversed(), prefix)
    }
  }),

  fact("the engine's own contexts, whose ids begin with ~, are neither listed nor stale nor prunable", async ({ backend }) => {
    await store(backend, { contextId: 'a' })
    await store(backend, { contextId: '~own' })
    same(await idsOf(backend), ['a'])
    same(await idsOf(backend, { order: 'desc' }), ['a'])
    same(await idsOf(backend, { prefix: '~' }), [])
    same(
      (await backend.stale(startAt + 3_600_000, 10)).map((stale) => stale.contextId),
      ['a'],
    )
    same(await backend.prunable({ before: startAt + 3_600_000, maxVersions: 0, limit: 10 }), ['a'])
  }),

  fact('a list is cut by offset and limit, after its order', async ({ backend }) => {
    await fill(backend)
    same(await idsOf(backend, { limit: 3 }), ids.slice(0, 3))
    same(await idsOf(backend, { limit: 3, offset: 4 }), ids.slice(4, 7))
    same(await idsOf(backend, { offset: 17 }), ids.slice(17))
    same(await idsOf(backend, { limit: 5, offset: 100 }), [])
    same(await idsOf(backend, { limit: 2, offset: 1, order: 'desc' }), ids.toReversed().slice(1, 3))
    same(await idsOf(backend, { limit: 2, offset: 1, prefix: 'a' }), ids.filter((id) => id.startsWith('a')).slice(1, 3))
  }),

  fact('contexts changed at a time or later are listed', async ({ backend }) => {
    for (const [index, id] of ['a', 'b', 'c'].entries()) await store(backend, { contextId: id, now: startAt + index })
    same(await idsOf(backend, { updatedSince: startAt + 1 }), ['b', 'c'])
    same(await idsOf(backend, { updatedSince: startAt + 3 }), [])
    const [first] = await storeMany(backend, 1, { contextId: 'd', now: startAt })
    await store(backend, { contextId: 'd', base: first!.head, now: startAt + 9 })
    same(await idsOf(backend, { updatedSince: startAt + 2 }), ['c', 'd'])
  }),

  fact('a list says of each context its version, revision and times, and leaves out absent ones', async ({ backend }) => {
    const [, second] = await storeMany(backend, 2)
    const third = await store(backend, { base: second!.head, now: startAt + 4 })
    const gone = await store(backend, { contextId: 'contract:gone' })
    await store(backend, { contextId: 'contract:gone', base: gone.head, remove: true })
    await store(backend, { contextId: 'contract:refused', members: [{ verdict: 'refused' }] })
    const item = { contextId, version: 3, revision: third.head.revision, createdAt: startAt, updatedAt: startAt + 4 }
    same(await backend.list({ limit: 10, offset: 0, order: 'asc', prefix: '', updatedSince: 0 }), [item])
  }),

  fact('heads are answered in the order asked for, also of absent and unknown contexts', async ({ backend }) => {
    const a = await store(backend, { contextId: 'a' })
    const b = await store(backend, { contextId: 'b' })
    const removed = await store(backend, { contextId: 'b', base: b.head, remove: true })
    await backend.commit(batchOf({ contextId: 'c', base: a.head }))
    same(await backend.heads(['b', 'x', 'a', 'c', 'a']), [removed.head, noHead, a.head, noHead, a.head])
    same(await backend.heads([]), [])
  }),
]
