import { noHead } from '../../backends/backend.ts'
import { contextId, fact, same, startAt, store } from './kit.ts'
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
