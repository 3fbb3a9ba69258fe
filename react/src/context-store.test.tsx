import { describe, expect, it, vi } from 'vitest'
import { contextStore, graceMs } from './context-store.ts'
import { createSources } from './support.test.ts'

describe('a context store', () => {
  it('is one for each client and id', () => {
    const [first, second] = [createSources(), createSources()]
    const store = contextStore(first.client, 'board:1')
    expect(contextStore(first.client, 'board:1')).toBe(store)
    expect(contextStore(first.client, 'board:2')).not.toBe(store)
    expect(contextStore(second.client, 'board:1')).not.toBe(store)
  })

  it('is forgotten a grace time after its last holder is gone', () => {
    vi.useFakeTimers()
    const { client } = createSources()
    const store = contextStore(client, 'board:1')
    store.hold()()
    vi.advanceTimersByTime(graceMs - 1)
    expect(contextStore(client, 'board:1')).toBe(store)
    vi.advanceTimersByTime(1)
    expect(contextStore(client, 'board:1')).not.toBe(store)
    vi.useRealTimers()
  })

  it('calls each subscription with the state and the one before, until it is ended', () => {
    const { client, behind } = createSources()
    const store = contextStore(client, 'board:1')
    const listener = vi.fn<(state: unknown, previous: unknown) => void>()
    const ends = [store.subscribe(listener), store.subscribe(listener)]
    behind('board:1').state.setState({ value: { votes: 1 } })
    expect(listener.mock.calls).toEqual([
      [{ votes: 1 }, undefined],
      [{ votes: 1 }, undefined],
    ])
    ends[0]?.()
    behind('board:1').state.setState({ value: { votes: 2 } })
    expect(listener.mock.calls.slice(2)).toEqual([[{ votes: 2 }, { votes: 1 }]])
    ends[1]?.()
    behind('board:1').state.setState({ value: { votes: 3 } })
    expect(listener).toHaveBeenCalledTimes(3)
  })

  it('is a read-only zustand store: its methods need no this', () => {
    const { client, behind } = createSources()
    const { getState, getInitialState, subscribe } = contextStore(client, 'board:1')
    behind('board:1').state.setState({ value: { votes: 1 } })
    expect([getState(), getInitialState()]).toEqual([{ votes: 1 }, { votes: 1 }])
    expect(() => subscribe(() => {})()).not.toThrow()
  })
})
