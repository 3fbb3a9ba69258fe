import { at, batchOf, contextId, fact, recordOf, refuse, same, startAt, store } from './kit.ts'
import type { KitCase } from './kit.ts'
import { leasesOver, shortLease, take } from './lock-kit.ts'

const locked = (member: number, key = 'doc'): object => ({ member, answer: { type: 'locked', key } })

/** What commits demand of locks. */
export const lockedCommitCases: readonly KitCase[] = [
  fact('a commit with the token of a lock that is held is stored', async ({ backend, another }) => {
    const { token } = await take(backend, 'a')
    const created = await store(await another(), { members: [{ locks: [{ key: 'doc', token }] }] })
    const { token: second } = await take(backend, 'b', { key: 'doc2' })
    const locks = [
      { key: 'doc2', token: second },
      { key: 'doc', token },
      { key: 'free', token: null },
    ]
    await store(backend, { base: created.head, members: [{ stream: at(1), locks }, { locks: [] }] })
  }),

  fact('a commit with a token that is not the one of the hold is refused, and says which key', async ({ backend }) => {
    const { head: base } = await store(backend)
    const { token } = await take(backend, 'a')
    for (const wrong of [token - 1, token + 1, 0, null]) {
      const batch = batchOf({ base, members: [{ locks: [{ key: 'doc', token: wrong }] }] })
      same(await refuse(backend, batch), { type: 'members', answers: [locked(0)] }, `token ${wrong}`)
    }
    await backend.unlock(contextId, 'doc', 'a', startAt)
    const late = batchOf({ base, members: [{ locks: [{ key: 'doc', token }] }] })
    same(await refuse(backend, late), { type: 'members', answers: [locked(0)] }, 'the hold was ended')
    await take(backend, 'b')
    same(await refuse(backend, late), { type: 'members', answers: [locked(0)] }, 'another holds it')
  }),

  fact('a commit that demands that nobody holds a key is stored only then', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [{ locks: [{ key: 'doc', token: null }] }] })
    await take(backend, 'a')
    const batch = batchOf({ base, members: [{ locks: [{ key: 'doc', token: null }] }] })
    same(await refuse(backend, batch), { type: 'members', answers: [locked(0)] })
    await backend.unlock(contextId, 'doc', 'a', startAt)
    same(await backend.commit(batch), { type: 'committed' })
  }),

  fact('a token is lost with the end of its lease, also when nobody else has taken the lock', async ({ backend, patienceMs }) => {
    const { head: base } = await store(backend)
    const { token } = await take(backend, 'a', { ttlMs: shortLease })
    const now = await leasesOver(backend, patienceMs)
    const batch = batchOf({ base, now, members: [{ locks: [{ key: 'doc', token }] }] })
    same(await refuse(backend, batch), { type: 'members', answers: [locked(0)] })
    await store(backend, { base, now, members: [{ locks: [{ key: 'doc', token: null }] }] })
  }),

  fact('a token of an old hold stays lost after the context was deleted and created', async ({ backend }) => {
    const { token } = await take(backend, 'a')
    const { head: first } = await store(backend)
    await backend.unlock(contextId, 'doc', 'a', startAt)
    const removed = await store(backend, { base: first, remove: true })
    const again = await take(backend, 'b')
    const batch = batchOf({ base: removed.head, members: [{ locks: [{ key: 'doc', token }] }] })
    same(await refuse(backend, batch), { type: 'members', answers: [locked(0)] })
    await store(backend, { base: removed.head, members: [{ locks: [{ key: 'doc', token: again.token }] }] })
  }),

  fact('P6: a member whose lock is lost keeps its whole batch from being stored, and each such member is named', async ({ backend }) => {
    const { head: base } = await store(backend, { members: [{ stream: at(1) }] })
    const { token } = await take(backend, 'a')
    const lost = [{ key: 'doc', token: token + 7 }]
    const batch = batchOf({
      base,
      members: [
        { stream: at(2), locks: [{ key: 'doc', token }] },
        { stream: at(3), locks: lost },
        { stream: at(4) },
        { locks: [{ key: 'other', token: null }, ...lost] },
        { locks: [{ key: 'other', token: 1 }, ...lost] },
      ],
    })
    same(await refuse(backend, batch), { type: 'members', answers: [locked(1), locked(3), locked(4, 'other')] })
    same((await recordOf(backend)).last, 1)
    const rest = batchOf({
      base,
      members: [
        { stream: at(2), locks: [{ key: 'doc', token }] },
        { stream: at(3), verdict: 'refused' },
      ],
    })
    same(await backend.commit(rest), { type: 'committed' })
  }),

  fact('P5: locks are looked at last: after the numbers of streams, and after the head', async ({ backend }) => {
    const { head: stale } = await store(backend)
    const next = await store(backend, { base: stale })
    const { token } = await take(backend, 'a')
    const lost = [{ key: 'doc', token: token + 1 }]
    const gap = batchOf({ base: next.head, members: [{ locks: lost }, { stream: at(2), locks: lost }] })
    same(await refuse(backend, gap), { type: 'members', answers: [{ member: 1, answer: { type: 'gap' } }] })
    const conflict = { type: 'conflict', head: next.head, missed: next.entries }
    same(await refuse(backend, batchOf({ base: stale, members: [{ locks: lost }] })), conflict)
  }),

  fact(
    'P7: a batch of the server given again finds its revision among what it missed, though its lock was given back',
    async ({ backend }) => {
      const { head: base } = await store(backend)
      const { token } = await take(backend, 'a')
      const batch = await store(backend, { base, members: [{ locks: [{ key: 'doc', token }] }] })
      await backend.unlock(contextId, 'doc', 'a', startAt)
      same(await refuse(backend, batch), { type: 'conflict', head: batch.head, missed: batch.entries })
    },
  ),

  fact('P6: a commit that has its verdict gets it again, though its lock is lost since', async ({ backend }) => {
    const { head: base } = await store(backend)
    const { token } = await take(backend, 'a')
    const batch = await store(backend, { base, members: [{ stream: at(1), locks: [{ key: 'doc', token }] }] })
    await backend.unlock(contextId, 'doc', 'a', startAt)
    await take(backend, 'b')
    const repeat = { type: 'members', answers: [{ member: 0, answer: { type: 'repeat', verdict: batch.members[0]!.verdict } }] }
    same(await refuse(backend, batch), repeat)
  }),

  fact('a delete demands of locks what other commits do', async ({ backend }) => {
    const { head: base } = await store(backend)
    const { token } = await take(backend, 'a')
    const remove = { base, remove: true }
    const wrong = batchOf({ ...remove, members: [{ locks: [{ key: 'doc', token: null }] }] })
    same(await refuse(backend, wrong), { type: 'members', answers: [locked(0)] })
    await store(backend, { ...remove, members: [{ locks: [{ key: 'doc', token }] }] })
  }),
]
