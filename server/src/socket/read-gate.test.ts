import { expect, test } from 'vitest'
import { ReadGate } from './read-gate.ts'

/** Reads that end when told to; `started` names those that have begun. */
function reads(gate: ReadGate) {
  const started: number[] = []
  const ends: (() => void)[] = []
  const read = (name: number): Promise<number> =>
    gate.run(async () => {
      started.push(name)
      await new Promise<void>((resolve) => (ends[name] = resolve))
      return name
    })
  return { started, read, end: (name: number) => ends[name]?.() }
}

test('no more reads run at a time than may, and the others follow in order', async () => {
  const { started, read, end } = reads(new ReadGate(2))
  const all = [read(0), read(1), read(2), read(3)]
  expect(started).toEqual([0, 1])
  end(1)
  expect(await all[1]).toBe(1)
  await Promise.resolve()
  expect(started).toEqual([0, 1, 2])
  end(0)
  await all[0]
  await Promise.resolve()
  expect(started).toEqual([0, 1, 2, 3])
  end(2)
  end(3)
  expect(await Promise.all(all)).toEqual([0, 1, 2, 3])
})

test('while it is shut nothing begins, and what waited begins when it is open again', async () => {
  const gate = new ReadGate(2)
  const { started, read, end } = reads(gate)
  gate.shut()
  const all = [read(0), read(1), read(2)]
  await Promise.resolve()
  expect(started).toEqual([])
  gate.open()
  await Promise.resolve()
  expect(started).toEqual([0, 1])
  end(0)
  end(1)
  await Promise.all(all.slice(0, 2))
  await Promise.resolve()
  end(2)
  expect(await all[2]).toBe(2)
})

test('a read that fails makes room for the next', async () => {
  const gate = new ReadGate(1)
  await expect(gate.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await gate.run(async () => 1)).toBe(1)
})
