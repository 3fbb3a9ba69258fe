import { ContextdError } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { ModelServer } from '../test/model-server.ts'
import { Pair, add, brief, live, set } from '../test/pair.ts'

type Frames = [readonly unknown[], readonly unknown[]]

describe('P9: gaps', () => {
  test.each([
    ['a version too many', (frames: Frames) => [frames[1]]],
    ['another revision below it', (frames: Frames) => [[...frames[0].slice(0, 3), 'other', ...frames[0].slice(4)]]],
    ['another incarnation', (frames: Frames) => [[frames[0][0], 'other', ...frames[0].slice(2)]]],
  ])('a delta with %s is not applied, and brings a sync', (_, choose) => {
    const pair = live()
    const frames = [pair.server.write([add('a')]), pair.server.write([add('a')])] as never
    for (const frame of choose(frames)) pair.replica.delta(frame as never)
    expect(pair.replica.shown).toEqual({ a: 0, b: 0 })
    expect(pair.replica.upToDate).toBe(false)
    pair.sync()
    expect(pair.replica.shown).toEqual({ a: 2, b: 0 })
  })

  test('an older delta is ignored', () => {
    const pair = live()
    const frame = pair.server.write([add('a')])
    pair.replica.delta(frame)
    pair.replica.delta(frame)
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
    expect(pair.replica.takeSync()).toBeNull()
  })

  test('a head that is not mine brings a sync, also one that is older', () => {
    const pair = live()
    const old = pair.server.headFrame()
    pair.replica.toldHead(old)
    expect(pair.replica.takeSync()).toBeNull()
    pair.replica.delta(pair.server.write([add('a')]))
    pair.replica.toldHead(old)
    expect(pair.replica.takeSync()).not.toBeNull()
  })

  test('deltas that overtake the answer wait for it', () => {
    const pair = live()
    pair.server.write([add('a')])
    pair.replica.toldHead(pair.server.headFrame())
    const query = pair.replica.takeSync()!
    const reply = pair.server.sync('me', query)
    const overtaking = pair.server.write([add('a')])
    pair.replica.delta(overtaking)
    expect(pair.replica.shown).toEqual({ a: 0, b: 0 })
    pair.replica.synced(query.ticket, reply)
    expect(pair.replica.shown).toEqual({ a: 2, b: 0 })
    expect(pair.replica.upToDate).toBe(true)
  })

  test('the answer to another sync than the last is dropped', () => {
    const pair = live()
    pair.replica.resync()
    const first = pair.replica.takeSync()!
    const old = pair.server.sync('me', first)
    pair.replica.detached()
    pair.attach()
    pair.server.write([add('a')])
    const second = pair.replica.takeSync()!
    pair.replica.synced(first.ticket, old)
    expect(pair.replica.upToDate).toBe(false)
    pair.replica.synced(second.ticket, pair.server.sync('me', second))
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
  })

  test('a sync that is asked for while one is in flight brings another', () => {
    const pair = live()
    pair.replica.resync()
    const first = pair.replica.takeSync()!
    pair.replica.resync()
    pair.replica.synced(first.ticket, pair.server.sync('me', first))
    expect(pair.replica.takeSync()).not.toBeNull()
  })

  test('what cannot be applied brings the whole state once, and an error when that does not help', () => {
    const pair = live()
    const broken = (): never => {
      const frame = pair.server.write([add('a')])
      return [...frame.slice(0, 7), [[0, 0, [[1, ['no', 'such', 'place'], 1]]]]] as never
    }
    pair.replica.delta(broken())
    const query = pair.replica.takeSync()!
    expect(query.head).toBeNull()
    pair.replica.synced(query.ticket, pair.server.sync('me', query))
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
    pair.replica.delta(broken())
    expect(pair.replica.phase).toBe('error')
    expect(pair.replica.takeSync()).toBeNull()
  })
})

describe('P11: rollback', () => {
  test('what was told applied and not seen is sent again under its number, and its promise keeps its value', () => {
    const pair = live()
    const before = pair.server.dump()
    const id = pair.write(add('a'))
    const { frames } = pair.send()
    pair.outcomes([1, { type: 'applied', head: pair.server.head }])
    expect(frames).toHaveLength(1)
    pair.server.restore(before)
    pair.replica.detached()
    pair.attach()
    pair.sync()
    expect(pair.replica.pending).toBe(1)
    const message = pair.replica.takeCommits()!
    expect(message.epoch).toBe(1)
    expect(message.commits.map(({ seq }) => seq)).toEqual([1])
    pair.tell(pair.server.commit('me', message))
    pair.settle()
    expect(pair.server.state).toEqual({ a: 1, b: 0 })
    expect(pair.events.map(brief).filter((event) => event.startsWith(id))).toEqual([`${id} applied`])
    expect(pair.events.map(brief)).not.toContain('reset rolled_back')
  })

  test('a refusal that comes then is told all the same', () => {
    const pair = live()
    const before = pair.server.dump()
    const id = pair.write(set('a', 7))
    pair.send()
    pair.outcomes([1, { type: 'applied', head: pair.server.head }])
    pair.server.restore(before)
    pair.server.refuses.set(7, 'forbidden')
    pair.replica.detached()
    pair.attach()
    pair.settle()
    expect(pair.events.map(brief).filter((event) => event.startsWith(id))).toEqual([`${id} applied`, `${id} refused forbidden`])
  })

  test('what is pending follows the settled numbers with its own, and the reset is told', () => {
    const pair = live()
    const before = pair.server.dump()
    pair.write(add('a'))
    pair.write(add('a'))
    pair.settle()
    pair.write(add('b'))
    pair.server.restore(before)
    pair.replica.detached()
    pair.attach()
    pair.sync()
    expect(pair.take()).toContain('reset rolled_back')
    expect(pair.replica.shown).toEqual({ a: 0, b: 1 })
    // Nobody has to remember what was settled: the server's record goes on from there.
    expect(pair.lose()!.map(([seq, , operations]) => [seq, operations])).toEqual([[3, 1]])
  })

  test('a number that the server lost and the client no longer holds goes as an empty commit', () => {
    const pair = live()
    const before = pair.server.dump()
    const ids = [pair.write(add('a')), pair.write(set('b', 7)), pair.write(add('a'))]
    pair.server.refuses.set(7, 'forbidden')
    const told = pair.send()
    pair.outcomes(...told.outcomes)
    expect(pair.take()).toContain(`${ids[1]} refused forbidden`)
    pair.server.restore(before)
    pair.replica.detached()
    pair.attach()
    pair.sync()
    expect(pair.lose()!.map(([seq, , operations]) => [seq, operations])).toEqual([
      [1, 1],
      [2, 0],
      [3, 1],
    ])
  })

  test('an outcome of another epoch is not taken', () => {
    const pair = live()
    pair.write(add('a'))
    pair.lose()
    pair.replica.outcomes(5, [[1, { type: 'refused', code: 'forbidden', message: '' }]])
    expect(pair.replica.pending).toBe(1)
  })

  test('fenced and gap bring a sync; a gap of what will be sent again anyway does not', () => {
    const pair = live()
    pair.write(add('a'))
    pair.lose()
    pair.outcomes([1, { type: 'fenced' }])
    expect(pair.sync()).not.toBeNull()
    pair.write(add('a'))
    pair.lose()
    pair.outcomes([1, { type: 'held', code: 'backend_unavailable', message: '' }], [2, { type: 'gap' }])
    expect(pair.replica.takeSync()).toBeNull()
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([1, 2])
    pair.outcomes([2, { type: 'gap' }])
    expect(pair.replica.takeSync()).not.toBeNull()
  })
})

describe('P12: delete and create again', () => {
  test('pending written on the old incarnation is not applied to the new, and the reset is told once', () => {
    const pair = live()
    const id = pair.write(add('a'))
    pair.server.remove()
    pair.server.write([set('z', 1)])
    pair.replica.toldHead(pair.server.headFrame())
    pair.sync()
    expect(pair.replica.shown).toEqual({ z: 1 })
    expect(pair.replica.pending).toBe(1)
    pair.settle()
    expect(pair.server.state).toEqual({ z: 1 })
    expect(pair.events.map(brief).slice(-3)).toEqual(['reset recreated', `${id} refused not_found`, 'changed'])
  })

  test('a delete is told; what is written then creates anew', () => {
    const pair = live()
    pair.replica.toldHead(pair.server.remove())
    pair.sync()
    expect(pair.take()).toEqual(['deleted', 'changed'])
    expect(pair.replica.phase).toBe('deleted')
    expect(pair.replica.shown).toBeUndefined()
    pair.write(set('a', 1))
    pair.settle()
    expect(pair.replica.phase).toBe('live')
    expect(pair.server.state).toEqual({ a: 1 })
  })

  test('a commit that the record says was applied before the delete settles as applied', () => {
    const pair = live()
    const id = pair.write(add('a'))
    pair.send()
    pair.server.remove()
    pair.replica.toldHead(pair.server.headFrame())
    pair.settle()
    expect(pair.events.map(brief)).toContain(`${id} applied`)
    expect(pair.replica.idle).toBe(true)
  })

  test('an own delete settles with its verdict', () => {
    const pair = live()
    const id = pair.remove()
    pair.settle()
    expect(pair.events.map(brief)).toContain(`${id} applied`)
    expect(pair.replica.phase).toBe('deleted')
    expect(pair.replica.idle).toBe(true)
  })
})

describe('access', () => {
  test('forbidden on sync: nothing is shown, and what is pending is refused under its number', () => {
    const pair = live()
    const id = pair.write(add('a'))
    pair.replica.resync()
    const { ticket } = pair.replica.takeSync()!
    pair.replica.syncFailed(ticket, new ContextdError('forbidden', ''))
    expect(pair.replica.phase).toBe('denied')
    expect(pair.replica.shown).toBeUndefined()
    expect(pair.take()).toContain('denied')
    expect(pair.lose()).toHaveLength(1)
    pair.outcomes([1, { type: 'refused', code: 'forbidden', message: '' }])
    expect(pair.take()).toContain(`${id} refused forbidden`)
    expect(pair.replica.idle).toBe(true)
  })

  test('where a sync is denied and needed, what is pending is refused without one', () => {
    const pair = live()
    const id = pair.write(add('a'))
    pair.replica.denied(new ContextdError('forbidden', ''))
    pair.lose()
    pair.outcomes([1, { type: 'fenced' }])
    expect(pair.take()).toContain(`${id} refused forbidden`)
  })

  test('a held failure of a sync is told, and the sync is wanted still', () => {
    const pair = live()
    pair.replica.resync()
    const { ticket } = pair.replica.takeSync()!
    pair.replica.syncFailed(ticket, new ContextdError('backend_unavailable', ''))
    expect(pair.take()).toEqual(['held backend_unavailable'])
    expect(pair.replica.takeSync()).not.toBeNull()
  })

  test('offline with an initial it counts as absent: what is written is applied to what the server has', () => {
    const server = new ModelServer()
    server.write([{ type: 'set', path: [], value: { n: 10 } }])
    const pair = new Pair(server, { initial: { n: 0 } })
    expect(() => pair.write(add('n'))).toThrow(ContextdError)
    pair.replica.countAsAbsent()
    pair.write(add('n'))
    pair.write(add('n'))
    expect(pair.replica.shown).toEqual({ n: 2 })
    pair.attach()
    pair.settle()
    expect(server.state).toEqual({ n: 12 })
    expect(pair.replica.shown).toEqual({ n: 12 })
  })
})
