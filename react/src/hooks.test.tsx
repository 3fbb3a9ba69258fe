import type { BaseClient } from '@contextd/client'
import { act, render, renderHook } from '@testing-library/react'
import type { ReactNode } from 'react'
import { describe, expect, it } from 'vitest'
import { graceMs } from './context-store.ts'
import { ContextdProvider } from './provider.ts'
import { useConnection } from './use-connection.ts'
import { useContextd } from './use-contextd.ts'
import { useContextdClient } from './use-contextd-client.ts'
import { useContextdHandle } from './use-contextd-handle.ts'
import { useContextdMutation } from './use-contextd-mutation.ts'
import { useContextdStatus } from './use-contextd-status.ts'
import { boards, start, useSources } from './support.test.ts'

const test = useSources()
const Title = (): ReactNode => boards.useContextd('board:1', (board) => board.title) ?? 'nothing'
const Starter = (): ReactNode => {
  boards.useContextdHandle('board:1', { initial: start })
  return null
}

describe('useContextdHandle', () => {
  it('gives every component the same handle while the id is the same, and opens nothing', () => {
    const { result, rerender } = renderHook(({ id }) => [boards.useContextdHandle(id), boards.useContextdHandle(id)] as const, {
      wrapper: test.belowStrict,
      initialProps: { id: 'board:1' },
    })
    const [first] = result.current
    expect(result.current[1]).toBe(first)
    rerender({ id: 'board:1' })
    expect(result.current[0]).toBe(first)
    expect(test.counts('board:1').subscribed).toBe(0)
    rerender({ id: 'board:2' })
    expect(result.current[0].id).toBe('board:2')
  })

  it('leaves the context when the last component that had it is gone', () => {
    const { unmount } = renderHook(() => boards.useContextdHandle('board:1'), { wrapper: test.belowStrict })
    test.pass(graceMs * 2)
    expect(test.counts('board:1').left).toBe(0)
    unmount()
    test.pass(graceMs)
    expect(test.counts('board:1').left).toBe(1)
  })

  it('gives `initial` to who reads the id in the same render, and to who read it before', () => {
    const first = render(
      <>
        <Starter />
        <Title />
      </>,
      { wrapper: test.below },
    )
    expect(first.container.textContent).toBe('Plan')
    first.unmount()

    test.renew()
    const second = render(
      <>
        <Title />
        <Starter />
      </>,
      { wrapper: test.below },
    )
    expect(second.container.textContent).toBe('Plan')
  })

  it('gives `initial` to who has been reading the id for a while, without a second subscription', () => {
    const view = render(<Title />, { wrapper: test.below })
    expect(view.container.textContent).toBe('nothing')
    view.rerender(
      <>
        <Title />
        <Starter />
      </>,
    )
    expect(view.container.textContent).toBe('Plan')
    test.put('board:1', { title: 'Other' })
    expect(view.container.textContent).toBe('Other')
    expect(test.counts('board:1').open).toBe(1)
    view.unmount()
    test.pass(graceMs)
    expect(test.counts('board:1')).toEqual({ subscribed: 2, open: 0, left: 2 })
  })

  it('keeps the handle of a component when options come from another one', () => {
    const { result, rerender } = renderHook(
      ({ more }) => {
        const mine = boards.useContextdHandle('board:1')
        const theirs = boards.useContextdHandle(more ? 'board:1' : 'board:2', { initial: start })
        const alike = boards.useContextdHandle(more ? 'board:1' : 'board:2', { initial: start })
        return { mine, theirs, alike }
      },
      { wrapper: test.belowStrict, initialProps: { more: false } },
    )
    const { mine } = result.current
    rerender({ more: true })
    expect(result.current.mine).toBe(mine)
    expect(result.current.theirs.id).toBe('board:1')
    const { theirs } = result.current
    expect(result.current.alike).toBe(theirs)
    rerender({ more: true })
    expect(result.current.theirs).toBe(theirs)
  })
})

describe('useContextdMutation', () => {
  it('gives one function for good, which calls what was rendered last with the handle of the last id', () => {
    const calls: unknown[] = []
    const { result, rerender } = renderHook(
      ({ id, tag }) =>
        boards.useContextdMutation(id, (handle, by: number) => {
          calls.push([handle.id, tag, by])
          return by * 2
        }),
      { wrapper: test.belowStrict, initialProps: { id: 'board:1', tag: 'first' } },
    )
    const mutate = result.current
    expect(mutate(1)).toBe(2)
    rerender({ id: 'board:2', tag: 'second' })
    expect(result.current).toBe(mutate)
    mutate(3)
    expect(calls).toEqual([
      ['board:1', 'first', 1],
      ['board:2', 'second', 3],
    ])
  })
})

describe('useContextdStatus', () => {
  it('opens the context and follows its status', () => {
    const { result } = renderHook(() => useContextdStatus('board:1'), { wrapper: test.belowStrict })
    expect(result.current.phase).toBe('loading')
    expect(test.counts('board:1')).toEqual({ subscribed: 1, open: 1, left: 0 })
    act(() => test.status('board:1').setState({ phase: 'live', pending: 2 }))
    expect(result.current).toMatchObject({ phase: 'live', pending: 2 })
  })
})

describe('useConnection and useContextdClient', () => {
  it('follow the provider’s client', () => {
    const { result } = renderHook(() => ({ connection: useConnection(), client: useContextdClient() }), { wrapper: test.belowStrict })
    expect(result.current).toEqual({ connection: { name: 'idle' }, client: test.client })
    act(() => test.connection.setState({ name: 'connected', role: 'solo' }, true))
    expect(result.current.connection).toEqual({ name: 'connected', role: 'solo' })
  })
})

describe('without a client', () => {
  it.each([
    ['useContextd', () => useContextd('board:1')],
    ['useContextdHandle', () => useContextdHandle('board:1')],
    ['useContextdMutation', () => useContextdMutation('board:1', () => 0)],
    ['useContextdStatus', () => useContextdStatus('board:1')],
    ['useConnection', () => useConnection()],
    ['useContextdClient', () => useContextdClient()],
  ] as [string, () => unknown][])('%s says its name and what to do', (name, hook) => {
    expect(() => renderHook(hook)).toThrow(TypeError)
    expect(() => renderHook(hook)).toThrow(new RegExp(`^${name}: there is no client\\. .*<ContextdProvider client=`))
    test.forgetErrors()
  })

  it('the provider refuses what is not a client', () => {
    expect(() => render(<ContextdProvider client={{} as BaseClient} />)).toThrow(/ContextdProvider: `client` is not a client/)
    test.forgetErrors()
  })
})

describe('createContextdHooks', () => {
  it('gives the same functions', () => {
    expect(boards).toEqual({
      ContextdProvider,
      useContextd,
      useContextdHandle,
      useContextdClient,
      useContextdMutation,
      useContextdStatus,
      useConnection,
    })
  })
})
