import { ContextdError } from '@contextd/protocol'
import { describe, expect, test } from 'vitest'
import { ModelServer } from '../test/model-server.ts'
import { Pair, add, brief, live, set } from '../test/pair.ts'

describe('P3: numbers, and writes on an absent context', () => {
  test('the first write on an absent context creates it from initial; the next ones wait for its verdict and name the new incarnation', () => {
    const pair = new Pair(new ModelServer(), { initial: { n: 1 } }).attach()
    pair.settle()
    expect(pair.replica.phase).toBe('absent')
    expect(pair.replica.shown).toEqual({ n: 1 })
    pair.write(add('n'))
    pair.write(add('n'))
    expect(pair.replica.shown).toEqual({ n: 3 })
    const message = pair.replica.takeCommits()!
    expect(message.commits).toMatchObject([{ seq: 1, incarnation: '', initial: { n: 1 } }])
    expect(pair.replica.takeCommits()).toBeNull()
    pair.tell(pair.server.commit('me', message))
    expect(pair.lose()).toEqual([[2, pair.server.head.incarnation, 1]])
  })

  test('when the first is refused, the next one creates', () => {
    const pair = new Pair(new ModelServer()).attach()
    pair.settle()
    pair.server.refuses.set(1, 'forbidden')
    pair.write(set('a', 1))
    pair.write(set('a', 2))
    pair.tell(pair.send())
    expect(pair.lose()).toEqual([[2, '', 1]])
  })

  test('when the first is refused and others have created the context meanwhile, the next one names what they made', () => {
    const pair = new Pair(new ModelServer()).attach()
    pair.settle()
    pair.server.refuses.set(1, 'forbidden')
    pair.write(set('a', 1))
    pair.write(set('b', 2))
    pair.replica.delta(pair.server.write([set('a', 9)]))
    pair.tell(pair.send())
    expect(pair.lose()).toEqual([[2, pair.server.head.incarnation, 1]])
  })

  test('a write after an own delete creates anew', () => {
    const pair = live()
    pair.remove()
    expect(pair.replica.shown).toBeUndefined()
    pair.write(set('a', 1))
    expect(pair.replica.shown).toEqual({ a: 1 })
    expect(pair.lose()).toEqual([
      [1, pair.server.head.incarnation, 0],
      [2, '', 1],
    ])
    pair.replica.detached()
    pair.attach()
    pair.settle()
    expect(pair.server.state).toEqual({ a: 1 })
    expect(pair.replica.shown).toEqual({ a: 1 })
  })

  test('an aborted number goes as an empty commit, and what follows keeps its own', () => {
    const pair = live()
    const first = pair.write(add('a'))
    pair.write(add('b'))
    expect(pair.replica.abort(first)).toBe(true)
    expect(pair.replica.shown).toEqual({ a: 0, b: 1 })
    expect(pair.replica.pending).toBe(1)
    expect(pair.lose()!.map(([seq, , operations]) => [seq, operations])).toEqual([
      [1, 0],
      [2, 1],
    ])
    expect(pair.replica.abort('w2')).toBe(false)
  })

  test('a write that does not apply takes no number', () => {
    const pair = live()
    expect(() => pair.write({ type: 'set', path: ['gone', 'x'], value: 1 })).toThrow(ContextdError)
    expect(pair.replica.idle).toBe(true)
    pair.write(add('a'))
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([1])
  })
})

describe('P4: settled and the window', () => {
  test('settled names the last number before the first that is still held', () => {
    const pair = live()
    for (let n = 0; n < 3; n += 1) pair.write(add('a'))
    const told = pair.send()
    pair.outcomes([2, { type: 'refused', code: 'forbidden', message: '' }])
    pair.write(add('a'))
    expect(pair.replica.takeCommits()!.settled).toBe(0)
    for (const frame of told.frames) pair.replica.delta(frame)
    pair.write(add('a'))
    expect(pair.replica.takeCommits()!.settled).toBe(3)
  })

  test('no more numbers are out than the window, however they are answered', () => {
    const pair = live({ a: 0 }, { inFlight: 2 })
    for (let n = 0; n < 4; n += 1) pair.write(add('a'))
    const told = pair.send()
    expect(told.frames).toHaveLength(2)
    pair.outcomes([2, { type: 'applied', head: pair.server.head }])
    expect(pair.lose()).toBeNull()
    pair.replica.delta(told.frames[0]!)
    pair.replica.delta(told.frames[1]!)
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([3, 4])
  })

  test('a flush is cut below the limit of a message, and a commit above it is refused and its number sent empty', () => {
    const pair = live({}, { messageSize: 2_000 })
    pair.write(set('a', 'x'.repeat(600)))
    pair.write(set('b', 'y'.repeat(600)))
    const tooLarge = pair.write(set('c', 'z'.repeat(3_000)))
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([1])
    expect(pair.lose()!.map(([seq, , operations]) => [seq, operations])).toEqual([
      [2, 1],
      [3, 0],
    ])
    expect(pair.take()).toContain(`${tooLarge} refused too_large`)
    expect(Object.keys(pair.replica.shown!)).toEqual(['a', 'b'])
  })
})

describe('P14: sessions', () => {
  test('a new session numbers what was never sent from 1; what was sent comes back as expired', () => {
    const pair = live()
    const sent = pair.write(add('a'))
    pair.lose()
    const unsent = pair.write(add('b'))
    pair.replica.renewed()
    expect(pair.take()).toContain(`${sent} refused expired`)
    pair.replica.attached('me again')
    const query = pair.replica.takeSync()!
    expect(query).toMatchObject({ epoch: 0, told: 0, settled: 0 })
    pair.replica.synced(query.ticket, pair.server.sync('me again', query))
    const message = pair.replica.takeCommits()!
    expect(message.commits.map(({ seq }) => seq)).toEqual([1])
    const { frames } = pair.server.commit('me again', message)
    pair.replica.delta(frames[0]!)
    expect(pair.take()).toEqual([`${unsent} applied`, 'changed'])
    expect(pair.replica.shown).toEqual({ a: 0, b: 1 })
  })

  test('a sync that answers expired asks for a new session', () => {
    const pair = live()
    pair.replica.resync()
    const query = pair.replica.takeSync()!
    pair.replica.synced(query.ticket, { ...pair.server.sync('me', query), answer: { type: 'expired' } })
    expect(pair.take()).toEqual(['session_expired'])
    expect(pair.replica.takeSync()).toBeNull()
  })

  test('a commit that expired brings a sync', () => {
    const pair = live()
    pair.write(add('a'))
    pair.lose()
    pair.outcomes([1, { type: 'expired' }])
    expect(pair.replica.takeSync()).not.toBeNull()
  })
})

describe('P15: final or held', () => {
  test('held loses nothing: it is told, and the commit and all behind it are sent again', () => {
    const pair = live()
    pair.write(add('a'))
    pair.write(add('a'))
    pair.lose()
    pair.outcomes([1, { type: 'held', code: 'rate_limited', message: '', details: { retryAfterMs: 5 } }])
    expect(pair.take()).toContain('held rate_limited')
    expect(pair.replica.shown).toEqual({ a: 2, b: 0 })
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([1, 2])
  })

  test('five times internal: refused as invalid_message, its number sent empty, and the queue goes on', () => {
    const pair = live()
    const poison = pair.write(add('a'))
    const next = pair.write(add('b'))
    for (let time = 1; time <= 5; time += 1) {
      expect(pair.lose()![0]![0]).toBe(1)
      pair.outcomes([1, { type: 'held', code: 'internal', message: '' }])
    }
    expect(pair.take()).toContain(`${poison} refused invalid_message`)
    expect(pair.lose()!.map(([seq, , operations]) => [seq, operations])).toEqual([
      [1, 0],
      [2, 1],
    ])
    pair.replica.detached()
    pair.attach()
    pair.settle()
    expect(pair.events.map(brief)).toContain(`${next} applied`)
    expect(pair.server.state).toEqual({ a: 0, b: 1 })
  })

  test('a commit that went wrong travels alone until it is known what it is', () => {
    const pair = live()
    for (let n = 0; n < 3; n += 1) pair.write(add('a'))
    pair.lose()
    pair.replica.undecodable()
    pair.replica.detached()
    pair.attach()
    pair.sync()
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([1])
    expect(pair.lose()).toBeNull()
  })
})

test('P15: a commit behind others that went wrong is sent apart from them', () => {
  const pair = live()
  for (let n = 0; n < 3; n += 1) pair.write(add('a'))
  pair.lose()
  pair.outcomes([2, { type: 'held', code: 'internal', message: '' }])
  pair.replica.detached()
  pair.attach()
  pair.sync()
  expect(pair.lose()!.map(([seq]) => seq)).toEqual([1])
  expect(pair.lose()!.map(([seq]) => seq)).toEqual([2])
  expect(pair.lose()).toBeNull()
})

describe('amending (coalesce)', () => {
  test('the newest commit takes other operations while it was not sent', () => {
    const pair = live()
    const id = pair.write(set('a', 1))
    expect(pair.replica.amendable(id)).toEqual([set('a', 1)])
    pair.replica.amend(id, [set('a', 2)])
    expect(pair.replica.shown).toEqual({ a: 2, b: 0 })
    pair.tell(pair.send())
    expect(pair.server.state).toEqual({ a: 2, b: 0 })
    expect(pair.replica.amendable(id)).toBeUndefined()
  })

  test('a commit that was sent, or is not the newest, is not amendable', () => {
    const pair = live()
    const first = pair.write(set('a', 1))
    const second = pair.write(set('b', 1))
    expect(pair.replica.amendable(first)).toBeUndefined()
    pair.lose()
    expect(pair.replica.amendable(second)).toBeUndefined()
  })
})
