import type { BaseClient, JsonObject } from '@contextd/client'
import { act, render, renderHook, screen } from '@testing-library/react'
import { Component, Profiler, useState } from 'react'
import type { ReactNode } from 'react'
import { renderToString } from 'react-dom/server'
import { describe, expect, it, vi } from 'vitest'
import { graceMs } from './context-store.ts'
import { ContextdProvider } from './provider.ts'
import { boards, createSources, start, useSources } from './support.test.ts'
import type { Board } from './support.test.ts'

const test = useSources()
const initialProps: { id: string | null } = { id: null }
const Title = (): ReactNode => boards.useContextd('board:1', (board) => board.title) ?? 'nothing'
const Votes = (): ReactNode => boards.useContextd('board:1', (board) => board.votes)
const Failing = (): ReactNode => {
  boards.useContextd('board:1')
  throw new Error('no')
}
const Row = ({ id }: { id: string }): ReactNode => {
  const open = boards.useContextd(id, (board) => board.items.filter((item) => !item.done))
  return <li>{open?.length ?? '-'}</li>
}
const Page = (): ReactNode => {
  const [rows, setRows] = useState(0)
  return (
    <>
      <button type="button" onClick={() => setRows((count) => (count + 17) % 60)}>
        more or fewer
      </button>
      <ul>
        {Array.from({ length: rows }, (_, index) => (
          <Row key={index} id={`board:${index % 5}`} />
        ))}
      </ul>
    </>
  )
}
const under = (client: BaseClient): ReactNode => (
  <ContextdProvider client={client}>
    <Title />
  </ContextdProvider>
)

describe('useContextd', () => {
  it('gives undefined before the first state, then the state as it changes', () => {
    const { result } = renderHook(() => boards.useContextd('board:1'), { wrapper: test.below })
    expect(result.current).toBeUndefined()
    test.put('board:1', { title: 'New' })
    expect(result.current?.title).toBe('New')
    test.put('board:1', { title: 'Newer' })
    expect(result.current?.title).toBe('Newer')
  })

  it('subscribes once under StrictMode, however many components read the context', () => {
    const view = render(
      <>
        <Votes /> <Votes /> <Votes />
      </>,
      { wrapper: test.belowStrict },
    )
    test.put('board:1', { votes: 7 })
    expect(view.container.textContent).toBe('7 7 7')
    expect(test.counts('board:1')).toEqual({ subscribed: 1, open: 1, left: 0 })
  })

  it('keeps the subscription over an unmount and a remount within the grace time', () => {
    const mount = (): { unmount(): void } => renderHook(() => boards.useContextd('board:1'), { wrapper: test.below })
    mount().unmount()
    test.pass(graceMs - 1)
    const view = mount()
    test.pass(graceMs * 2)
    expect(test.counts('board:1')).toEqual({ subscribed: 1, open: 1, left: 0 })
    view.unmount()
    test.pass(graceMs)
    expect(test.counts('board:1')).toEqual({ subscribed: 1, open: 0, left: 1 })
  })

  it('subscribes again when it comes back after the grace time', () => {
    renderHook(() => boards.useContextd('board:1'), { wrapper: test.below }).unmount()
    test.pass(graceMs)
    const { result } = renderHook(() => boards.useContextd('board:1'), { wrapper: test.below })
    test.put('board:1', { votes: 3 })
    expect(result.current?.votes).toBe(3)
    expect(test.counts('board:1')).toEqual({ subscribed: 2, open: 1, left: 1 })
  })

  it('opens nothing for a render that React throws away', () => {
    render(
      <Boundary>
        <Failing />
      </Boundary>,
      { wrapper: test.below },
    )
    test.forgetErrors()
    expect(test.counts('board:1').subscribed).toBe(0)
    expect(vi.getTimerCount()).toBe(1)
    test.pass(graceMs)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('does not loop on a selector that builds a new object each time', () => {
    const { result } = renderHook(
      () => boards.useContextd('board:1', (board) => ({ open: board.items.filter((item) => !item.done).length })),
      {
        wrapper: test.belowStrict,
      },
    )
    test.put('board:1', start)
    expect(result.current).toEqual({ open: 1 })
  })

  it('does not loop on an equality that always says no', () => {
    const { result } = renderHook(
      () =>
        boards.useContextd(
          'board:1',
          (board) => [board.votes],
          () => false,
        ),
      { wrapper: test.belowStrict },
    )
    test.put('board:1', { votes: 4 })
    expect(result.current).toEqual([4])
  })

  it('keeps the reference of a selected object while it is shallowly equal, also with a selector that is new at every render', () => {
    const { result, rerender } = renderHook(() => boards.useContextd('board:1', (board) => board.items.filter((item) => !item.done)), {
      wrapper: test.below,
    })
    test.put('board:1', start)
    const before = result.current
    test.put('board:1', { votes: 99 })
    expect(result.current).toBe(before)
    rerender()
    expect(result.current).toBe(before)
    test.put('board:1', { items: [] })
    expect(result.current).toEqual([])
  })

  it('asks the given equality, and never about a state that was not there', () => {
    const asked: [number[], number[]][] = []
    const sameLength = (a: number[], b: number[]): boolean => {
      asked.push([a, b])
      return a.length === b.length
    }
    const { result } = renderHook(() => boards.useContextd('board:1', (board) => [board.votes], sameLength), { wrapper: test.below })
    test.put('board:1', { votes: 1 })
    test.put('board:1', { votes: 2 })
    expect(result.current).toEqual([1])
    test.put('board:1', undefined)
    expect(result.current).toBeUndefined()
    test.put('board:1', { votes: 5 })
    expect(result.current).toEqual([5])
    expect(asked.every(([a, b]) => Array.isArray(a) && Array.isArray(b))).toBe(true)
  })

  it('does not call the selector while there is no state', () => {
    const selector = vi.fn<(board: Board) => number>((board) => board.votes)
    const { result } = renderHook(() => boards.useContextd('board:1', selector), { wrapper: test.below })
    expect(result.current).toBeUndefined()
    expect(selector).not.toHaveBeenCalled()
  })

  it('uses what the selector closes over at this render', () => {
    const { result, rerender } = renderHook(({ by }) => boards.useContextd('board:1', (board) => board.votes * by), {
      wrapper: test.below,
      initialProps: { by: 2 },
    })
    test.put('board:1', { votes: 3 })
    expect(result.current).toBe(6)
    rerender({ by: 10 })
    expect(result.current).toBe(30)
  })

  it('renders again only when the selected part changes', () => {
    const renders = vi.fn<() => void>()
    render(
      <Profiler id="title" onRender={renders}>
        <Title />
      </Profiler>,
      { wrapper: test.below },
    )
    test.put('board:1', start)
    const before = renders.mock.calls.length
    for (let votes = 10; votes < 20; votes++) test.put('board:1', { votes })
    test.put('board:1', { items: [] })
    expect(renders).toHaveBeenCalledTimes(before)
    test.put('board:1', { title: 'Other' })
    expect(renders).toHaveBeenCalledTimes(before + 1)
  })

  it('shows all its readers the same state in every render', () => {
    const seen: string[] = []
    const Reader = ({ name }: { name: string }): ReactNode => {
      const votes = boards.useContextd('board:1', (board) => board.votes)
      seen.push(`${name}${votes}`)
      return null
    }
    render(
      <>
        <Reader name="a" />
        <Reader name="b" />
      </>,
      { wrapper: test.below },
    )
    seen.length = 0
    act(() => {
      for (const votes of [1, 2, 3]) test.state('board:1').setState({ value: { ...start, votes } as unknown as JsonObject })
    })
    expect(seen).toEqual(['a3', 'b3'])
  })

  it('follows a changed id and lets go of the one before', () => {
    test.put('board:1', { title: 'One' })
    test.put('board:2', { title: 'Two' })
    const { result, rerender } = renderHook(({ id }) => boards.useContextd(id)?.title, {
      wrapper: test.below,
      initialProps: { id: 'board:1' },
    })
    expect(result.current).toBe('One')
    rerender({ id: 'board:2' })
    expect(result.current).toBe('Two')
    test.put('board:1', { title: 'Unseen' })
    expect(result.current).toBe('Two')
    test.pass(graceMs)
    expect(test.counts('board:1')).toEqual({ subscribed: 1, open: 0, left: 1 })
    expect(test.counts('board:2').open).toBe(1)
  })

  it('gives undefined for null, and opens nothing', () => {
    const { result, rerender } = renderHook(({ id }) => boards.useContextd(id, (board) => board.title), {
      wrapper: test.below,
      initialProps,
    })
    expect(result.current).toBeUndefined()
    test.put('board:1', { title: 'One' })
    rerender({ id: 'board:1' })
    expect(result.current).toBe('One')
    rerender({ id: null })
    expect(result.current).toBeUndefined()
  })

  it('follows a changed client', () => {
    const second = createSources()
    second.behind('board:1').state.setState({ value: { title: 'Theirs' } })
    test.put('board:1', { title: 'Mine' })
    const view = render(under(test.client))
    expect(view.container.textContent).toBe('Mine')
    view.rerender(under(second.client))
    expect(view.container.textContent).toBe('Theirs')
  })

  it('renders what there is on a server', () => {
    expect(renderToString(test.below({ children: <Title /> }))).toBe('nothing')
    test.state('board:1').setState({ value: start as unknown as JsonObject })
    expect(renderToString(test.below({ children: <Title /> }))).toBe('Plan')
    expect(test.counts('board:1').subscribed).toBe(0)
  })
})

describe('many components', () => {
  it('come and go without a word on the console and without leaving a subscription', () => {
    const view = render(<Page />, { wrapper: test.belowStrict })
    for (let round = 0; round < 40; round++) {
      act(() => screen.getByRole('button').click())
      test.put(`board:${round % 5}`, { votes: round, items: [{ id: 'a', done: round % 2 === 0 }] })
    }
    view.unmount()
    test.pass(graceMs)
    for (let index = 0; index < 5; index++) expect(test.counts(`board:${index}`).open).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })
})

/** Shows nothing in place of what fails. */
class Boundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false }
  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true }
  }
  override render(): ReactNode {
    return this.state.failed ? null : this.props.children
  }
}
