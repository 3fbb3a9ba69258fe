import { noHead } from '../../backends/backend.ts'
import { at, batchOf, contextId, fact, recordOf, refuse, same, startAt, store } from './kit.ts'
import type { KitCase } from './kit.ts'
import { denied, held, holder, leasesOver, longLease, requestOf, shortLease, take, told } from './lock-kit.ts'

const everyContext = { limit: 0, offset: 0, order: 'asc', prefix: '', updatedSince: 0 } as const

/** Leases on keys of a context, and who gets them. */
export const lockCases: readonly KitCase[] = [
  fact('a free lock is taken, also where there is no context, and makes none', async ({ backend }) => {
    const lock = await take(backend, 'a')
    const expected = { key: 'doc', token: startAt, holder, since: startAt }
    same(told(lock), expected)
    same(await held(backend), [expected])
    same([await backend.load(contextId), await backend.dump(contextId), await backend.list(everyContext)], [null, null, []])
    same(await backend.heads([contextId]), [noHead])
    await store(backend)
    same(await held(backend), [expected])
  }),

  fact(
    'a lock that is held is refused to others, who are told of the hold; other keys and contexts are free',
    async ({ backend, another }) => {
      const lock = told(await take(backend, 'a'))
      const other = await another()
      same(await denied(other, 'b', { holder: { userId: null, actor: 'server' } }), lock)
      same(await denied(other, 'b', { extend: true }), lock)
      await take(other, 'b', { key: 'doc2' })
      await take(other, 'b', { contextId: '~cluster' })
      same(await held(backend, '~cluster'), [lock])
      same((await held(other))[0], lock)
    },
  ),

  fact('the same request given twice is one hold, whose lease begins anew', async ({ backend, another }) => {
    const first = await take(backend, 'a', { ttlMs: longLease / 10 })
    const again = await take(await another(), 'a', { now: startAt + 9 })
    same(told(again), told(first))
    same(again.remainingMs > longLease / 10, true, 'the lease is the one of the second request')
  }),

  fact('a hold is extended as long as it is there', async ({ backend }) => {
    const first = await take(backend, 'a', { ttlMs: longLease / 10 })
    const longer = await take(backend, 'a', { extend: true })
    same(told(longer), told(first))
    same(longer.remainingMs > longLease / 10, true)
    const shorter = await take(backend, 'a', { extend: true, ttlMs: longLease / 100 })
    same(shorter.remainingMs <= longLease / 100, true)
  }),

  fact('a hold whose lease is over is gone: it is neither extended nor ended, and others get the lock', async ({ backend, patienceMs }) => {
    const first = await take(backend, 'a', { ttlMs: shortLease })
    const now = await leasesOver(backend, patienceMs)
    same(await held(backend, contextId, now), [])
    same(await denied(backend, 'a', { extend: true, now }), null)
    same(await backend.unlock(contextId, 'doc', 'a', now), false)
    const second = await take(backend, 'b', { now })
    same(second.token > first.token && second.since === now, true, JSON.stringify(second))
    same(await denied(backend, 'a', { extend: true, now }), told(second))
    same(await backend.unlock(contextId, 'doc', 'a', now), false)
    same(await held(backend, contextId, now), [told(second)])
  }),

  fact('the same hold after the end of its lease is a new one, with a token of its own', async ({ backend, patienceMs }) => {
    const first = await take(backend, 'a', { ttlMs: shortLease })
    const now = await leasesOver(backend, patienceMs)
    const second = await take(backend, 'a', { now })
    same([second.token > first.token, second.since], [true, now])
  }),

  fact('a hold is ended by itself, once, and by nobody else', async ({ backend, another }) => {
    const lock = await take(backend, 'a')
    const other = await another()
    same(await other.unlock(contextId, 'doc', 'b', startAt), false)
    same(await other.unlock(contextId, 'doc2', 'a', startAt), false)
    same(await other.unlock('contract:2', 'doc', 'a', startAt), false)
    same(await held(backend), [told(lock)])
    same(await other.unlock(contextId, 'doc', 'a', startAt), true)
    same([await held(backend), await backend.unlock(contextId, 'doc', 'a', startAt)], [[], false])
    await take(backend, 'b')
    same(await backend.unlock(contextId, 'doc', 'a', startAt), false)
  }),

  fact('tokens grow with each new hold of any key of the context, also when clocks go back', async ({ backend, another }) => {
    const other = await another()
    const first = await take(backend, 'a')
    const second = await take(other, 'b', { key: 'doc2' })
    same([first.token, second.token], [startAt, startAt + 1])
    await backend.unlock(contextId, 'doc', 'a', startAt)
    await backend.unlock(contextId, 'doc2', 'b', startAt)
    same((await take(backend, 'c', { now: startAt - 1_000 })).token, startAt + 2)
    same((await take(backend, 'd', { key: 'doc3', now: startAt + 50 })).token, startAt + 50)
    same((await take(backend, 'e', { contextId: 'contract:2' })).token, startAt, 'each context counts for itself')
  }),

  fact('locks and tokens outlive their context', async ({ backend }) => {
    const first = await take(backend, 'a')
    const { head: base } = await store(backend)
    await take(backend, 'b', { key: 'gone' })
    await backend.unlock(contextId, 'gone', 'b', startAt)
    const removed = await store(backend, { base, remove: true })
    same(await held(backend), [told(first)])
    same((await take(backend, 'c', { key: 'gone' })).token, startAt + 2)
    await store(backend, { base: removed.head })
    same((await held(backend)).length, 2)
    same((await take(backend, 'd', { key: 'new' })).token, startAt + 3)
  }),

  fact('locks are listed by key in code-unit order, those of one context', async ({ backend, another }) => {
    const keys = ['a', 'B', 'a.b', 'a_b', 'a0', '0', 'b', 'aa', 'Z']
    for (const key of keys) await take(backend, `hold-${key}`, { key })
    await take(backend, 'x', { contextId: 'contract:12', key: 'x' })
    const listed = await (await another()).locks(contextId, startAt)
    same(
      listed.map(({ key }) => key),
      keys.toSorted((a, b) => (a < b ? -1 : 1)),
    )
    same(await backend.locks('contract:unknown', startAt), [])
  }),

  fact('of those who ask for a free lock at once exactly one gets it', async ({ backend, another }) => {
    const handles = [backend, await another()]
    let last = 0
    for (let round = 0; round < 8; round += 1) {
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, index) => handles[index % 2]!.lock(requestOf(`${round}-${index}`, { now: startAt + round }))),
      )
      const winners = results.flatMap((result) => (result.type === 'held' ? [result.lock] : []))
      same(winners.length, 1, 'one hold is given')
      for (const result of results) if (result.type === 'locked') same(result.by && told(result.by), told(winners[0]!))
      same(winners[0]!.token > last, true)
      last = winners[0]!.token
      const index = results.findIndex(({ type }) => type === 'held')
      same(await backend.unlock(contextId, 'doc', `${round}-${index}`, startAt + round), true)
    }
  }),
]

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
