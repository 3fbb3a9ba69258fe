import { expect, describe, test } from 'vitest'
import { add, live, set } from '../test/pair.ts'

describe('P8: pending until seen', () => {
  test('a write is shown at once, and its delta is verdict and sight in one', () => {
    const pair = live()
    const id = pair.write(add('a'))
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
    expect(pair.replica.pending).toBe(1)
    pair.tell(pair.send())
    expect(pair.take()).toEqual([`${id} applied`, 'changed'])
    expect(pair.replica.idle).toBe(true)
  })

  test('a delta that confirms exactly what is shown leaves the very same object', () => {
    const pair = live({ a: 0, list: [{ id: 'x', n: 1 }] })
    pair.write({ type: 'set', path: ['list', { id: 'x' }, 'n'], value: 2 })
    pair.write(add('a'))
    const { shown } = pair.replica
    const told = pair.send()
    pair.replica.delta(told.frames[0]!)
    expect(pair.replica.shown).toBe(shown)
    pair.replica.delta(told.frames[1]!)
    expect(pair.replica.shown).toBe(shown)
  })

  test('with a foreign commit in between, what did not change keeps its identity, and the write says rebased', () => {
    const pair = live({ a: 0, b: 0, deep: { x: { y: 1 } } })
    const id = pair.write(add('a'))
    const { shown } = pair.replica
    pair.replica.delta(pair.server.write([add('b')]))
    expect(pair.replica.shown).toEqual({ a: 1, b: 1, deep: { x: { y: 1 } } })
    expect(pair.replica.shown!['deep']).toBe(shown!['deep'])
    pair.tell(pair.send())
    expect(pair.take()).toContain(`${id} applied rebased`)
  })

  test('what is pending is the very same object after a foreign commit elsewhere', () => {
    const pair = live({ a: 0, deep: { x: { y: 1 } } })
    pair.write({ type: 'set', path: ['deep', 'x', 'y'], value: 2 })
    const { shown } = pair.replica
    pair.replica.delta(pair.server.write([add('a')]))
    expect(pair.replica.shown).toEqual({ a: 1, deep: { x: { y: 2 } } })
    expect(pair.replica.shown!['deep']).toBe(shown!['deep'])
  })

  test('a write behind one that changed nothing is rebased when others came in between', () => {
    const pair = live()
    const foreign = pair.server.write([set('a', 5)])
    pair.write(set('a', 5))
    const id = pair.write(add('b'))
    const told = pair.send()
    pair.outcomes(...told.outcomes)
    pair.replica.delta(foreign)
    pair.replica.delta(told.frames[0]!)
    expect(pair.take()).toContain(`${id} applied rebased`)
  })

  test('a write on a state that foreign commits have made is not rebased', () => {
    const pair = live()
    pair.write(add('a'))
    pair.replica.delta(pair.server.write([add('b')]))
    pair.take()
    const id = pair.write(add('a'))
    pair.tell(pair.send())
    expect(pair.take()).toContain(`${id} applied`)
  })

  test('told applied, it settles at once, and stays shown until it is seen', () => {
    const pair = live()
    const id = pair.write(add('a'))
    const { frames } = pair.send()
    pair.outcomes([1, { type: 'applied', head: pair.server.head }])
    expect(pair.take()).toEqual([`${id} applied`, 'changed'])
    expect(pair.replica.idle).toBe(false)
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
    pair.replica.delta(frames[0]!)
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
    expect(pair.replica.idle).toBe(true)
  })

  test('told nothing, it leaves when the version is reached at which it changed nothing', () => {
    const pair = live()
    const foreign = pair.server.write([set('a', 5)])
    const id = pair.write(set('a', 5))
    pair.tell(pair.send())
    expect(pair.take()).toContain(`${id} nothing`)
    expect(pair.replica.shown).toEqual({ a: 5, b: 0 })
    expect(pair.replica.idle).toBe(false)
    pair.replica.delta(foreign)
    expect(pair.replica.idle).toBe(true)
  })

  test('refused, it leaves at once, and later pending is rebased', () => {
    const pair = live()
    pair.server.refuses.set(7, 'forbidden')
    const refused = pair.write(set('a', 7))
    const later = pair.write(add('a'))
    expect(pair.replica.shown).toEqual({ a: 8, b: 0 })
    const told = pair.send()
    pair.outcomes(...told.outcomes)
    expect(pair.take()).toEqual([`${refused} refused forbidden`, 'changed'])
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
    pair.replica.delta(told.frames[0]!)
    expect(pair.take()).toEqual([`${later} applied`, 'changed'])
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
  })

  test('a pending commit that no longer applies is left out of what is shown, and stays until its verdict', () => {
    const pair = live({ items: [{ id: 'x', n: 1 }] })
    const id = pair.write({ type: 'set', path: ['items', { id: 'x' }, 'n'], value: 2 })
    pair.replica.delta(pair.server.write([{ type: 'remove', path: ['items', { id: 'x' }] }]))
    expect(pair.replica.shown).toEqual({ items: [] })
    expect(pair.replica.pending).toBe(1)
    pair.tell(pair.send())
    expect(pair.take()).toContain(`${id} refused conflict`)
  })

  test('after every sync all that is unseen is sent again', () => {
    const pair = live()
    pair.write(add('a'))
    pair.write(add('a'))
    expect(pair.lose()).toHaveLength(2)
    expect(pair.lose()).toBeNull()
    pair.replica.detached()
    pair.attach()
    expect(pair.lose()).toBeNull()
    pair.sync()
    expect(pair.lose()!.map(([seq]) => seq)).toEqual([1, 2])
  })

  test('a sync answer whose record covers a commit is its verdict and its sight', () => {
    const pair = live()
    const id = pair.write(add('a'))
    pair.send()
    pair.replica.detached()
    pair.attach()
    pair.sync()
    expect(pair.take()).toContain(`${id} applied`)
    expect(pair.replica.idle).toBe(true)
    expect(pair.replica.shown).toEqual({ a: 1, b: 0 })
  })

  test('a frame of many commits is applied with one notification', () => {
    const pair = live()
    const frames = Array.from({ length: 5 }, () => pair.server.write([add('a')]))
    const [first] = frames
    pair.take()
    // The same five commits as one frame, as a batch of a server makes it.
    const commits = frames.map((frame) => frame[7][0]!)
    pair.replica.delta([...first!.slice(0, 7), commits] as never)
    expect(pair.take()).toEqual(['changed'])
    expect(pair.replica.shown).toEqual({ a: 5, b: 0 })
    expect(pair.replica.head!.version).toBe(6)
  })
})
