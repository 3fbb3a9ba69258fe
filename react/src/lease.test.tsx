import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Lease } from './lease.ts'

function lease(): { lease: Lease; counts: { opened: number; closed: number } } {
  const counts = { opened: 0, closed: 0 }
  const open = (): (() => void) => {
    counts.opened += 1
    return () => {
      counts.closed += 1
    }
  }
  return { lease: new Lease(open, 1_000), counts }
}

describe('a lease', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('opens for the first holder only', () => {
    const { lease: held, counts } = lease()
    held.hold()
    held.hold()
    expect(counts).toEqual({ opened: 1, closed: 0 })
  })

  it('closes a grace time after the last holder has let go', () => {
    const { lease: held, counts } = lease()
    const [first, second] = [held.hold(), held.hold()]
    first()
    vi.advanceTimersByTime(10_000)
    expect(counts.closed).toBe(0)
    second()
    vi.advanceTimersByTime(999)
    expect(counts.closed).toBe(0)
    vi.advanceTimersByTime(1)
    expect(counts.closed).toBe(1)
  })

  it('stays open when it is taken again within the grace time', () => {
    const { lease: held, counts } = lease()
    held.hold()()
    vi.advanceTimersByTime(999)
    held.hold()
    vi.advanceTimersByTime(10_000)
    expect(counts).toEqual({ opened: 1, closed: 0 })
  })

  it('opens again after it was closed', () => {
    const { lease: held, counts } = lease()
    held.hold()()
    vi.advanceTimersByTime(1_000)
    held.hold()
    expect(counts).toEqual({ opened: 2, closed: 1 })
  })

  it('counts a holder that lets go twice once', () => {
    const { lease: held, counts } = lease()
    held.hold()
    const release = held.hold()
    release()
    release()
    vi.advanceTimersByTime(1_000)
    expect(counts.closed).toBe(0)
  })
})
